"""The engine: its names, what is left out, and what each stage is said to have brought."""

import math
import random
from threading import Event, get_ident

import pytest

from kvplace.core.result import Status
from kvplace.errors import InputError
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from kvplace.solver.strategies.cluster import strategy as cluster
from kvplace.solver.strategies.large import strategy as large
from kvplace.solver.strategies.stages import (
    NEEDED,
    STAGES,
    Beside,
    Settings,
    Stage,
    Strategy,
    run_stages,
    run_strategy,
)
from kvplace.solver.strategies.undivided import strategy as undivided
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import random_problem

STRATEGIES = (undivided.STRATEGY, cluster.STRATEGY, large.STRATEGY)


def test_every_stage_has_a_name_and_every_name_a_stage():
    named = {
        stage.name
        for strategy in STRATEGIES
        for stage in (*strategy.once, *strategy.rounds, *strategy.last)
    }
    assert named == set(STAGES)
    assert list(STAGES) == sorted(STAGES)


@pytest.mark.parametrize("name", ["nonsense", *NEEDED])
def test_what_cannot_be_left_out_is_refused(name):
    with pytest.raises(InputError, match="no stage that can be left out"):
        Settings(without=frozenset([name]))


@pytest.mark.parametrize("name", [name for name in STAGES if name not in NEEDED])
def test_without_a_stage_nothing_wrong_is_said(name):
    draw = random.Random(name)
    for _ in range(12):
        problem = random_problem(draw, 3, 5)
        truth = solve_exactly(problem, leximax=False)
        result = solve(problem, without=[name])
        assert name not in [gain.name for gain in result.stages]
        if result.placement is not None:
            assert result.bound <= float(truth.optimum) * (1 + 1e-9)
        assert result.status is not Status.INFEASIBLE or not truth.feasible
    for _ in range(6):
        problem = random_split_problem(draw, models=3)
        truth = solve_by_force(problem)
        result = solve(problem, without=[name], iterations=20)
        if result.placement is not None:
            assert result.bound <= truth.value * (1 + 1e-9)
        assert result.status is not Status.INFEASIBLE or not truth.feasible


def test_gains_add_up_to_the_result():
    draw = random.Random(3)
    for problem in [random_problem(draw, 3, 6) for _ in range(20)]:
        result = solve(problem)
        assert sum(gain.steps for gain in result.stages) == result.iterations
        for gain in result.stages:
            assert gain.calls >= 1
            assert gain.seconds >= 0
            assert 0 < gain.lowered <= 1
            assert gain.raised >= 1


def run_beside(**given):
    """Run a stage with a question beside it; return what happened, in order, and the search."""
    events = []

    def begin(search):
        events.append("begin")
        here = get_ident()

        def question():
            assert get_ident() != here
            events.append("question")

        return question, lambda: events.append("take"), lambda: events.append("end")

    problem = random_problem(random.Random(1), 3, 6)
    watch, without = Watch(given.pop("limit", None)), given.pop("without", frozenset())
    search = undivided.UndividedSearch(problem, Settings(math.inf, watch=watch, without=without))
    beside = Beside("configuration-bound", begin, given.pop("supports", lambda _: True))
    run = Stage("domain-filling", lambda _: events.append("stage"), closed=True, beside=beside)
    run_stages(search, [run])
    return events, search


def test_a_question_is_asked_in_a_thread_and_its_answer_taken_after_the_stage():
    events, search = run_beside()
    assert events[0] == "begin"
    assert sorted(events[1:3]) == ["question", "stage"]
    assert events[3:] == ["take"]
    assert sorted(search.gains) == ["configuration-bound", "domain-filling"]


def test_a_question_is_ended_where_a_limited_search_has_nothing_left_to_prove():
    for limit, ended in ((None, 0), (60.0, 1)):
        events, search = run_beside(limit=limit)
        assert search.closed
        assert events.count("end") == ended
        assert events[-1] == "take"


@pytest.mark.parametrize(
    "given", [{"without": frozenset(["configuration-bound"])}, {"supports": lambda _: False}]
)
def test_a_stage_runs_alone_where_the_question_is_left_out(given):
    events, search = run_beside(**given)
    assert events == ["stage"]
    assert list(search.gains) == ["domain-filling"]


def test_a_stage_knows_when_the_question_beside_it_has_an_answer():
    begun, known, seen = Event(), Event(), []

    def question():
        begun.wait(10)

    def run(search):
        seen.append(search.asking)
        begun.set()
        search.beside.result()
        seen.append(search.asking)

    search = undivided.UndividedSearch(random_problem(random.Random(1), 3, 6), Settings())
    assert not search.asking
    beside = Beside("configuration-bound", lambda _: (question, known.set, None), lambda _: True)
    run_stages(search, [Stage("domain-filling", run, closed=True, beside=beside)])
    assert seen == [True, False]
    assert known.is_set()


def test_an_error_of_the_question_is_not_lost():
    def fail():
        raise MemoryError

    search = undivided.UndividedSearch(random_problem(random.Random(1), 3, 6), Settings())
    beside = Beside("configuration-bound", lambda _: (fail, fail, fail), lambda _: True)
    with pytest.raises(MemoryError):
        run_stages(search, [Stage("domain-filling", lambda _: None, closed=True, beside=beside)])


@pytest.mark.parametrize(("limit", "left"), [(None, [math.inf] * 3), (100.0, [75, 75, 100])])
def test_rounds_leave_time_to_the_last_stages(limit, left):
    seen = []
    stage = Stage("balance", lambda s: seen.append(s.watch.left), closed=True)
    search = undivided.UndividedSearch(
        random_problem(random.Random(2), 3, 6), Settings(watch=Watch(limit))
    )
    run_strategy(search, Strategy((), [stage], [stage], lambda _: 2, kept=lambda _: 0.25))
    assert seen == pytest.approx(left, abs=20)
