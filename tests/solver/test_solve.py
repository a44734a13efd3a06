"""The door: what it refuses, why it says it stopped, and what it lets out."""

import math
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Status, Stop
from kvplace.errors import InputError, InternalError
from kvplace.solver.clock import Watch
from kvplace.solver.large_neighbourhood import warm
from kvplace.solver.solve import SOLVERS, _search, refine, solve, stop_of
from kvplace.solver.strategies.stages import Settings
from tiny import byte_problem

ROWS = [(4, 3.0), (4, 2.0), (3, 1.0), (2, 5.0), (2, 0.0)]


@pytest.fixture
def problem():
    return byte_problem([12, 11], ROWS)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_gives_a_valid_plan_with_a_bound_below_it(problem, solver):
    result = solve(problem, solver=solver)
    assert result.solver == solver
    assert not evaluate(problem, result.placement).violations
    assert result.bound <= result.value * (1 + 1e-9)
    assert result.value == result.evaluation.value


def test_no_solver_is_worse_than_the_rule_of_thumb(problem):
    value = {solver: solve(problem, solver=solver).value for solver in SOLVERS}
    assert value["auto"] <= value["reference"] <= value["prism-greedy"] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "magic"}, "'magic' is no solver"),
        ({"without": ["magic"]}, "'magic' is no stage"),
        ({"objective": "magic"}, "magic"),
        ({"start": Placement.single({"m0": "g0"})}, "'m1' has no GPU"),
    ],
)
def test_what_is_unknown_is_refused(problem, options, words):
    with pytest.raises(InputError, match=words):
        solve(problem, **options)


def test_why_it_stopped(problem):
    best = solve(problem)
    evaluation = best.evaluation
    proof = Bound(evaluation.value * 0.9, "fluid")
    free, spent = Watch(), Watch(0.0)
    assert best.status is Status.OPTIMAL
    assert stop_of(problem, evaluation, best.proof, 0.0, free) is Stop.OPTIMAL
    assert stop_of(problem, evaluation, proof, 0.2, free) is Stop.GAP
    assert stop_of(problem, evaluation, proof, 0.2, spent) is Stop.GAP
    assert stop_of(problem, evaluation, proof, 0.0, free) is Stop.LOCAL_OPTIMUM
    assert stop_of(problem, evaluation, proof, 0.0, free, limited=True) is Stop.ITERATION_LIMIT
    assert stop_of(problem, evaluation, proof, 0.0, spent, limited=True) is Stop.TIME_LIMIT
    assert stop_of(problem, None, Bound(math.inf, "fluid"), 0.0, free) is Stop.INFEASIBLE
    assert stop_of(problem, None, proof, 0.0, spent) is Stop.TIME_LIMIT


def test_a_plan_that_fails_its_evaluation_is_not_let_out(problem, monkeypatch):
    wrong = Placement.single({f"m{j}": "g1" for j in range(len(ROWS))})
    monkeypatch.setattr("kvplace.solver.baselines.schedulers.prism", lambda _: wrong)
    with pytest.raises(InternalError, match="failed its re-evaluation"):
        solve(problem, solver="prism-greedy")


def test_models_without_demand_are_spread_by_free_memory():
    idle = byte_problem([30, 30], [(9, 0.0), (8, 0.0), (3, 0.0), (2, 0.0)])
    result = solve(idle)
    assert result.value == 0
    free = [gpu.free_bytes for gpu in result.evaluation.gpus]
    assert max(free) - min(free) <= 4


def test_a_target_of_copies_takes_no_more_than_it_needs(problem):
    copied = replace(problem.models[0], replicas=Replicas(1, 2, target=1e300))
    kept = replace(problem.models[0], replicas=Replicas(1, 2))
    for model, most in ((copied, 1), (kept, 2)):
        models = (model, *problem.models[1:])
        result = solve(Problem(models, problem.fleet, problem.objective))
        assert 1 <= sum(replica.model == "m0" for replica in result.placement) <= most


def test_refining_without_steps_changes_nothing(problem):
    start = solve(problem, solver="prism-greedy").placement
    assert refine(problem, start, iterations=0).placement == start
    assert refine(problem, start).value <= evaluate(problem, start).value


@pytest.mark.parametrize(("limit", "compiled"), [(0.0, False), (60.0, True)])
def test_without_time_for_kernels_many_models_are_placed_without(limit, compiled):
    fleet = byte_problem([400] * 80, [(30 + j % 7, 1.0 + j % 5) for j in range(650)])
    search = _search(fleet, Settings(watch=Watch(limit)), compiled=True)
    assert (type(search).__name__ == "LargeSearch") is compiled
    found = solve(fleet, time_limit=limit) if not compiled else None
    assert found is None or (found.placement is not None and found.stop is Stop.TIME_LIMIT)


@pytest.mark.parametrize(
    ("limit", "ready", "compiled"), [(None, False, True), (9.0, False, False), (9.0, True, True)]
)
def test_some_hundred_models_do_not_wait_for_kernels_within_a_limit(
    monkeypatch, limit, ready, compiled
):
    monkeypatch.setattr(warm, "kernels_ready", lambda _: ready)
    fleet = byte_problem([400] * 120, [(30 + j % 7, 1.0 + j % 5) for j in range(650)])
    search = _search(fleet, Settings(watch=Watch(limit)), compiled=True)
    assert (type(search).__name__ == "LargeSearch") is compiled
