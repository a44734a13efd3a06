"""Bound <= optimum <= value on tiny fleets of mixed memory, judged by brute force."""

import math
import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.hardware import Fleet
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Status, Stop
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.best_fit_decreasing import bisect_target, pack
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve
from oracle import exact_profile, solve_exactly
from tiny import GIB, byte_problem, byte_problems, random_problem

ROUNDING = Fraction(1, 10**12)
TRUSTED = Fraction(OPTIMAL_GAP)


def judge(problem, result):
    """Assert all that brute force can say of a result."""
    truth, proof = solve_exactly(problem), result.proof
    if proof.certificate is not None:
        assert check_certificate(problem, proof.certificate) == ""
        assert proof.certificate.threshold >= proof.value
    if not truth.feasible:
        assert result.placement is None
        return
    assert result.status is not Status.INFEASIBLE
    assert Fraction(proof.value) <= truth.optimum * (1 + (0 if proof.certificate else TRUSTED))
    if result.placement is None:
        return
    profile = exact_profile(problem, result.placement)
    assert profile is not None
    assert abs(Fraction(result.value) - profile[0]) <= ROUNDING * profile[0]
    assert profile >= truth.profile
    if result.status is Status.OPTIMAL:
        assert profile[0] <= truth.optimum * (1 + 2 * TRUSTED)
    if result.stop is Stop.OPTIMAL:
        assert result.status is Status.OPTIMAL


@settings(max_examples=120, deadline=None)
@given(byte_problems())
def test_bytes(problem):
    judge(problem, solve(problem, solver="reference", time_limit=5))


@pytest.mark.parametrize("seed", range(4))
def test_fleets_of_every_kind(seed):
    draw = random.Random(seed)
    for _ in range(150):
        problem = random_problem(draw)
        judge(problem, solve(problem, solver="reference", time_limit=5))


@pytest.mark.heavy
@pytest.mark.parametrize("solver", ["reference", "auto"])
def test_a_hundred_thousand_fleets(solver):
    draw = random.Random(solver)
    for _ in range(100_000):
        problem = random_problem(draw)
        judge(problem, solve(problem, solver=solver, time_limit=5))


BOTH = pytest.mark.parametrize("solver", ["reference", "auto"])


@BOTH
def test_zero_loads_leave_nothing_to_do(solver):
    found = solve(byte_problem([10, 10], [(4, 0.0)] * 3), solver=solver)
    assert (found.status, found.value, found.gap) == (Status.OPTIMAL, 0.0, 0.0)


@BOTH
def test_memory_that_binds_exactly(solver):
    # 9 of 10 and 7 + 2 of 10 bytes: one byte stays free on each GPU.
    found = solve(byte_problem([10, 10], [(9, 1.0), (7, 1.0), (2, 1.0)]), solver=solver)
    assert found.placement == Placement.single({"m0": "g0", "m1": "g1", "m2": "g1"}) or (
        found.placement == Placement.single({"m0": "g1", "m1": "g0", "m2": "g0"})
    )
    assert found.value == 2.0 * GIB
    assert found.evaluation.profile() == (2.0 * GIB, 1.0 * GIB)
    # Two bytes less, and nothing fits.
    none = solve(byte_problem([10, 8], [(9, 1.0), (7, 1.0), (2, 1.0)]), solver=solver)
    assert none.placement is None
    assert none.status in {Status.INFEASIBLE, Status.UNKNOWN}


@BOTH
def test_a_model_that_fits_nowhere_is_proved_so(solver):
    found = solve(byte_problem([10, 7], [(10, 1.0), (1, 1.0)]), solver=solver)
    assert (found.status, found.stop) == (Status.INFEASIBLE, Stop.INFEASIBLE)
    assert math.isinf(found.bound)
    assert found.proof.certificate is not None
    kept = solve(byte_problem([10], [(8, 1.0, 3)]), solver=solver)
    assert kept.status is Status.INFEASIBLE


def test_a_model_without_bytes_and_load_makes_no_tight_fleet_infeasible():
    # 4 + 2 + 0 of 7 bytes with 1 to be left, and 3 + 2 of 6.
    rows = [(0, 0.0), (4, 30518.0, 1), (2, 0.0), (3, 0.0), (2, 0.2)]
    judge(byte_problem([7, 6], rows), solve(byte_problem([7, 6], rows), solver="auto"))


@BOTH
def test_one_byte_and_one_model(solver):
    found = solve(byte_problem([1], [(0, 1.0)]), solver=solver)
    assert (found.status, found.value) == (Status.OPTIMAL, 1.0 * GIB)
    assert solve(byte_problem([1], [(1, 0.0)]), solver=solver).status is Status.INFEASIBLE


@BOTH
def test_equal_models_are_spread(solver):
    found = solve(byte_problem([20] * 3, [(4, 1.0)] * 6), solver=solver)
    assert found.evaluation.profile() == (2.0 * GIB / 12,) * 3


@BOTH
def test_leximax_the_rest_is_balanced_though_one_model_is_hot(solver):
    # The hot model decides the maximum alone, 60 / 16; the four others go two and two.
    problem = byte_problem([20] * 3, [(4, 60.0)] + [(4, 1.0)] * 4)
    found = solve(problem, solver=solver)
    assert found.status is Status.OPTIMAL
    assert found.evaluation.profile() == (60 * GIB / 16, 2 * GIB / 12, 2 * GIB / 12)


@BOTH
def test_the_larger_gpu_takes_the_larger_load(solver):
    # 12 - 2 = 10 bytes for 5, and 6 - 1 = 5 bytes for 1.
    found = solve(byte_problem([6, 12], [(2, 5.0), (1, 1.0)]), solver=solver)
    assert found.placement == Placement.single({"m0": "g1", "m1": "g0"})


@settings(max_examples=80, deadline=None)
@given(byte_problems())
def test_construct_fails_only_where_no_order_packs_the_weights(problem):
    arrays = load_instance(problem)
    found = bisect_target(arrays)
    packed = pack(arrays, math.inf)
    assert (found is None) == (packed is None)
    if found is None:
        return
    value, plain = (
        Assignment.single(arrays, found).worst(),
        Assignment.single(arrays, packed).worst(),
    )
    assert value <= plain
    assert math.isfinite(value)


@settings(max_examples=80, deadline=None)
@given(byte_problems(), st.integers(1, 40))
def test_one_more_gpu_never_hurts(problem, memory):
    gpu = replace(problem.fleet.gpus[0], id="further", memory_bytes=memory, reserve_bytes=0)
    node = replace(problem.fleet.nodes[0], name="further", gpus=(gpu,))
    larger = Problem(problem.models, Fleet((*problem.fleet.nodes, node)), problem.objective)
    before, after = solve_exactly(problem), solve_exactly(larger)
    assert not before.feasible or after.profile <= (*before.profile, Fraction(0))
    old = solve(problem, solver="reference", time_limit=5)
    assume(old.placement is not None)
    new = solve(larger, solver="reference", start=old.placement, time_limit=5)
    assert new.value <= old.value
    assert new.bound <= old.value * (1 + 1e-12)
