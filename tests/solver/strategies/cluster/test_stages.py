"""The stages that better the best assignment of a cluster, and those that prove it, one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from boards import assert_kept_up, drawn_boards
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.exact import close_gap
from kvplace.solver.large_neighbourhood import warm
from kvplace.solver.strategies.assigned import ask_program, rank
from kvplace.solver.strategies.cluster import stages
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.params import ClusterParams, Params
from kvplace.solver.strategies.stages import Settings
from oracle_splits import solve_by_force

ONE = 1 + 1e-9
BOTH = Objective.REQUESTS, Objective.PRESSURE
QUICK = {
    "packed": 10, "packed_per_model": 1,
    "fillings": 2, "kicks": 50,
}  # fmt: skip
"""Knobs of little effort."""
PLAIN = {"lower": stages.lower, "eject": stages.eject}
"""Stages in Python; `balance` may exchange a gain of the maximum for none."""
COMPILED = {"refill": stages.refill, "iterate": stages.iterate}
"""Stages that wait for kernels."""


def searches(seed, count, *, objectives=BOTH, watch=None, iterations=None, **knobs):
    """Yield random searches, each with a random valid assignment as its best."""
    params = replace(Params(), cluster=replace(ClusterParams(), **{**QUICK, **knobs}))
    for _, problem, board in drawn_boards(seed, count, objectives=objectives, valid=True):
        settings = Settings(watch=watch or Watch(), iterations=iterations, params=params)
        search = ClusterSearch(problem, settings)
        search.board = Assignment(search.instance, board.where)
        yield problem, search


def unruled(problem):
    """The problem without what its bounds leave out."""
    models = tuple(replace(model, resources={}) for model in problem.models)
    return replace(problem, models=models, rules=())


def interrupted():
    watch = Watch()
    watch.interrupt()
    return watch


@pytest.mark.parametrize("name", [*PLAIN, *COMPILED])
def test_a_stage_never_worsens_and_keeps_its_books(name):
    stage, better = {**PLAIN, **COMPILED}[name], 0
    for problem, search in searches(name, 12):
        before, low = search.best.worth(), search.low
        stage(search)
        assert search.best.worth() <= before
        assert search.low == low
        assert_kept_up(search.best)
        evaluation = evaluate(problem, search.placement)
        assert not evaluation.violations
        assert evaluation.value == pytest.approx(search.value, rel=1e-9)
        better += search.best.worth() < before
    assert better >= 2


@pytest.mark.parametrize("name", [*PLAIN])
@pytest.mark.parametrize("limit", [0, 3])
def test_a_stage_makes_no_more_steps_than_allowed(name, limit):
    for _, search in searches(name, 5, iterations=limit):
        {**PLAIN, **COMPILED}[name](search)
        assert search.steps <= limit


@pytest.mark.parametrize("name", [*PLAIN, *COMPILED, "balance", "decide", "rank"])
def test_an_interrupt_leaves_the_assignment(name):
    for _, search in searches(name, 3, watch=interrupted()):
        where = list(search.best.where)
        (rank if name == "rank" else getattr(stages, name))(search)
        assert search.best.where == where
        assert search.steps == 0
        assert search.low <= search.value * ONE or any(search.best.flaws)


@pytest.mark.parametrize("name", COMPILED)
def test_a_limit_is_not_spent_on_compiling(name, monkeypatch):
    asked = []
    monkeypatch.setattr(warm, "kernels_ready", lambda *kernels: asked.append(kernels) or False)
    for _, search in searches(name, 3, watch=Watch(1000.0)):
        where = list(search.best.where)
        COMPILED[name](search)
        assert search.best.where == where
        assert search.steps == 0
    assert len(asked) == 3


def test_the_program_chooses_options_at_targets_it_does_not_call_impossible():
    told = set()
    for _, search in searches("chosen", 8):
        starts = search.instance.columns.starts[:-1]
        found = stages._chosen(search, search.value * ONE)
        assert (found is None) == (search.value == 0)
        if found is None:
            continue
        assert (np.add.reduceat(found, starts) >= 1 - 1e-6).all()
        assert stages._chosen(search, search.value * 1e-6) is None
        told.add(search.instance.pressures)
    assert len(told) > 1


@pytest.mark.parametrize("name", ["eject", "refill"])
def test_the_same_seed_and_round_do_the_same(name):
    found = []
    for _ in range(2):
        for _, search in searches(name, 3):
            search.round, search.knobs = 1, replace(search.knobs, packed=4, packed_per_model=0)
            {**PLAIN, **COMPILED}[name](search)
            found.append((search.best.where, search.steps))
    assert found[:3] == found[3:]


def test_all_ways_of_a_tiny_cluster_are_the_truth():
    for problem, search in searches("all", 6):
        truth = solve_by_force(problem)
        stages.enumerate_all(search)
        if not search.closed:  # given up
            continue
        assert search.value == pytest.approx(truth.value, rel=1e-9)
        broken = sum(
            violation.amount for violation in evaluate(problem, search.placement).preferences
        )
        assert broken == pytest.approx(sum(truth.breaches))


def test_all_ways_are_tried_from_an_assignment_that_is_not_valid():
    found = 0
    for problem, search in searches("invalid", 8):
        search.board = Assignment(search.instance, [()] * search.instance.n)
        truth = solve_by_force(problem)
        stages.enumerate_all(search)
        if search.closed:
            found += 1
            assert search.value == pytest.approx(truth.value, rel=1e-9)
    assert found > 4


def test_what_the_program_is_asked_holds():
    closed = 0
    for problem, search in searches("ask", 10, objectives=(Objective.PRESSURE,)):
        if not search.value:
            continue
        optimum = solve_by_force(unruled(problem)).value
        low, where = search.low, list(search.best.where)
        ask_program(search)
        assert search.best.where == where
        assert low <= search.low <= optimum * ONE
        closed += search.low >= search.value / ONE
        if search.proof.certificate is not None:
            assert check_certificate(problem, search.proof.certificate) == ""
    assert closed >= 1


def test_deciding_targets_meets_the_optimum_from_both_sides():
    met, total = 0, 0
    for problem, search in searches("decide", 10, objectives=(Objective.PRESSURE,)):
        free = unruled(problem)
        plain = ClusterSearch(free, search.settings)
        plain.board = Assignment(plain.instance, search.best.where)
        truth = solve_by_force(free)
        if not truth.value or not plain.best.valid:
            continue
        before = plain.best.worth()
        stages.decide(plain)
        assert plain.best.worth() <= before
        assert plain.low <= truth.value * ONE
        assert plain.value >= truth.value / ONE
        assert not evaluate(free, plain.placement).violations
        total += 1
        met += plain.value <= plain.low * (1 + 1e-6)
    assert met >= 0.5 * total


def test_covers_go_on_while_they_lower_the_value(monkeypatch):
    monkeypatch.setattr(stages, "dividable", lambda _: True)
    [(_, search)] = searches("covers", 1, objectives=(Objective.PRESSURE,))
    worse, better = search.best, search.best.copy()
    better.worth = lambda: (0.0,)
    worse.worth, answers = lambda: (1.0,), [better, better]
    monkeypatch.setattr(close_gap, "lower_by_known_sets", lambda *_: answers.pop())
    stages.cover(search)
    assert answers == []
    assert search.best is better


def test_deciding_gives_back_the_time_it_kept():
    [(_, search)] = searches("time", 1, objectives=(Objective.PRESSURE,), watch=Watch(1000.0))
    search.watch.keep(100.0)
    stages.decide(search)
    assert 880 < search.watch.left < 900


@pytest.mark.parametrize("objective", BOTH)
def test_balancing_keeps_the_maximum_and_every_rule(objective):
    moved = 0
    for problem, search in searches("balance", 10, objectives=(objective,)):
        flaws, value = search.best.flaws, search.value
        before = sorted(search.best.pressure, reverse=True)
        stages.balance(search)
        assert search.best.flaws <= flaws
        assert search.value <= value
        assert sorted(search.best.pressure, reverse=True) <= before
        assert not evaluate(problem, search.placement).violations
        moved += search.steps
        assert search.steps <= search.balance_steps
    assert moved > 5


def test_ranks_are_those_that_nothing_balances_better():
    ranked = 0
    for _, search in searches("rank", 10, ranked=200_000):
        stages.enumerate_all(search)
        if not search.closed or not search.value:
            continue
        value, flaws = search.value, search.best.flaws
        before = sorted(search.best.pressure, reverse=True)
        rank(search)
        assert search.value == pytest.approx(value, rel=1e-9)
        assert search.best.flaws == flaws
        assert [round(p, 12) for p in sorted(search.best.pressure, reverse=True)] <= [
            round(p * ONE, 12) for p in before
        ]
        assert 1 <= search.ranks <= search.instance.g
        ranked += search.ranks == search.instance.g
    assert ranked >= 5


def test_packing_ends_where_the_gap_asked_for_is_met():
    for _, search in searches("gap", 6):
        search.gap = math.inf
        if not search.closed:
            continue
        where = list(search.best.where)
        for stage in (stages.eject, stages.refill):
            stage(search)
        assert search.best.where == where
        assert search.steps == 0


@pytest.mark.parametrize("limit", [None, 60.0])
def test_a_bound_asked_for_beside_a_stage_changes_nothing_until_it_is_taken(limit):
    raised = 0
    for problem, search in searches("beside", 12, watch=Watch(limit), tiny=0):
        if not search.value or search.low == math.inf:
            continue
        where, low = list(search.best.where), search.low
        ask, take, _ = stages.tighten_beside(search)
        ask()
        assert search.best.where == where
        assert search.low == low
        take()
        raised += search.low > low
        truth = solve_by_force(unruled(problem))
        assert search.low <= truth.value * ONE
    assert raised >= 2


def test_fillings_that_all_break_a_rule_do_not_go_on_for_ever(monkeypatch):
    """They overflowed a number of a kernel: a cluster with rules ended in an internal error."""
    asked = []
    monkeypatch.setattr(stages, "ready", lambda *_: True)
    monkeypatch.setattr(stages, "_lower_by_filling", lambda *given: asked.append(given[2]))
    for _, search in searches(5, 1, watch=Watch(1000)):
        search._low, search.round = search.value / 2, 1
        for _ in range(40):
            stages.refill(search)
    assert len(asked) > 25
    assert asked[-1] < 2**31
