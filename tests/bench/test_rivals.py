"""Rivals on tiny cases: they find the optimum, their bounds hold, and nobody is trusted."""

import math
from importlib.util import find_spec

import pytest

from kvplace.bench import solvers
from kvplace.bench.families import Case, build, family
from kvplace.bench.rivals.narrow import Answer, Decision, narrow
from kvplace.bench.rivals.shapes import allowed, relabelled
from kvplace.bench.solvers import RIVALS, absent, call
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve

EXACT = ("cp-sat", "highs")


def needed(solver):
    """Skip where the rival's package is not installed."""
    if absent(solver):
        pytest.skip(absent(solver))


def tiny():
    # Two GPUs of 10 GiB, three models of 4 GiB and load 1: one GPU holds two of them, KVPR
    # 2 / (10 - 8) = 1. The fluid bound is 3 / (20 - 12) = 3/8, so somebody has to think.
    return Case("tiny", build([10, 10], [4, 4, 4], [1, 1, 1], [1, 1, 1]))


@pytest.mark.parametrize("solver", RIVALS)
def test_a_rival_finds_the_optimum_of_a_tiny_case(solver):
    needed(solver)
    outcome = call(solver, tiny(), time_limit=20.0)
    assert outcome.value == 1.0
    assert outcome.bound <= outcome.value
    assert outcome.proved == (solver in EXACT)
    assert outcome.evidence == "claim"
    assert outcome.trace[-1][1] == outcome.value


@pytest.mark.parametrize("solver", EXACT)
def test_an_exact_rival_proves_the_known_optima(solver):
    needed(solver)
    for case in list(family("adrs", [0]))[2:4]:
        outcome = call(solver, case, time_limit=20.0)
        assert outcome.value == pytest.approx(case.optimum, rel=1e-9)
        assert outcome.proved
        assert outcome.bound <= case.optimum * (1 + 1e-9)


@pytest.mark.parametrize("solver", EXACT)
def test_mixed_memory_and_memory_that_binds(solver):
    needed(solver)
    # The model of 9 GiB fits the larger GPU only, and then the one of 5 only the smaller.
    problem = build([12, 6], [9, 5, 1], [1, 1, 1], [1, 1, 1])
    outcome = call(solver, Case("mixed", problem), time_limit=5.0)
    assert outcome.value == pytest.approx(solve(problem).value, rel=1e-9)
    assert outcome.proved


@pytest.mark.skipif(find_spec("ortools") is None, reason="ortools is not installed")
def test_cp_sat_and_highs_run_in_one_run_of_the_bench():
    # Their libraries cannot be loaded together; a regression would fail the second import.
    assert math.isfinite(call("highs", tiny(), time_limit=2.0).value)
    assert math.isfinite(call("cp-sat", tiny(), time_limit=2.0).value)
    assert math.isfinite(call("highs", tiny(), time_limit=2.0).value)


def test_a_rival_without_its_package_is_absent_with_a_reason(monkeypatch):
    monkeypatch.setattr(solvers, "find_spec", lambda _: None)
    assert absent("cp-sat").startswith("ortools is not installed; it needs the extra 'bench': ")
    assert absent("auto") == ""


def test_a_rival_that_loses_a_model_or_overfills_gains_nothing(monkeypatch):
    def cheat(arrays, watch, seed, tell):
        tell(1e-6, 1e-6)
        return Answer([0] * arrays.n, 1e-6)

    problem = build([10, 10], [6, 6], [1, 1], [1, 1])
    monkeypatch.setattr(solvers, "_load", lambda _: cheat)
    outcome = call("highs", Case("full", problem), time_limit=1.0)
    assert outcome.value == math.inf
    assert not outcome.proved
    assert outcome.evidence.startswith("failed: ")


def test_narrowing_ends_with_value_and_bound_of_an_exact_decider():
    # Weights 3, 3, 1, 1 with loads 4, 1, 4, 1 on two GPUs of 10 GiB: the best is to part the
    # loads of 4, {3, 1} with loads 4 + 1 and 6 GiB left on both: 5/6.
    arrays = load_instance(build([10, 10], [3, 3, 1, 1], [4, 1, 4, 1], [1, 1, 1, 1]))
    optimum = 5 / 6

    def decide(target, start, seconds):
        return Decision(start, impossible=target < optimum)

    told = []
    answer = narrow(arrays, decide, Watch(5.0), lambda *what: told.append(what))
    assert Assignment.single(arrays, answer.gpu_of).worst() == pytest.approx(optimum, rel=1e-12)
    assert optimum * (1 - 1e-6) <= answer.bound <= optimum * (1 + 1e-12)
    assert told[0][1] > 0


@pytest.mark.parametrize(("name", "seed"), [("20x50", 0), ("20x50", 1), ("stress", 2)])
def test_narrowing_starts_where_the_reference_ends(name, seed):
    for case in list(family(name, [seed]))[:3]:
        arrays = load_instance(case.problem)
        watch = Watch()

        def decide(*_, watch=watch):
            watch.interrupt()
            return Decision(None)

        answer = narrow(arrays, decide, watch, lambda *_: None)
        reference = solve(case.problem, solver="reference").value
        assert Assignment.single(arrays, answer.gpu_of).worst() == pytest.approx(
            reference, rel=1e-12
        )


def test_equal_gpus_are_numbered_by_their_first_model():
    arrays = load_instance(build([10, 10, 5], [4, 3, 2], [3, 2, 1], [1, 1, 1]))
    assert allowed(arrays) == [[0, 2], [0, 1, 2], [0, 1, 2]]
    assert relabelled(arrays, [1, 0, 2]) == [0, 1, 2]
    for gpu_of in ([1, 1, 0], [2, 1, 1], [1, 2, 0]):
        renamed = relabelled(arrays, gpu_of)
        assert all(g in gpus for g, gpus in zip(renamed, allowed(arrays), strict=True))
        assert (
            Assignment.single(arrays, renamed).worst() == Assignment.single(arrays, gpu_of).worst()
        )
