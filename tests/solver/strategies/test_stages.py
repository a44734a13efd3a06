"""The engine: its names, what is left out, and what each stage is said to have brought."""

import random
from dataclasses import fields

import pytest

from kvplace.core.result import Status
from kvplace.errors import InputError
from kvplace.solver.solve import solve
from kvplace.solver.strategies import large, params
from kvplace.solver.strategies.cluster import strategy as cluster
from kvplace.solver.strategies.stages import NEEDED, STAGES, Settings
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


@pytest.mark.parametrize("kind", [params.UndividedParams, params.ClusterParams, params.LargeParams])
def test_every_knob_has_a_unit_a_finding_and_a_line_of_its_own(kind):
    for knob in fields(kind):
        assert knob.metadata["unit"]
        assert knob.metadata["found"]
        assert knob.name in kind.__doc__


def test_placing_anew_ends_with_the_descent_over_pairs():
    names = [stage.name for stage in cluster.BEGINNING]
    assert cluster.STRATEGY.once[: len(names)] == cluster.BEGINNING
    assert names[-2:] == ["parallel-exchanges", "pair-exchanges"]
