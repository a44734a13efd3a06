"""Best fit decreasing under a bisected target: valid, tight, and the same for any order."""

import math

import pytest
from hypothesis import given, settings

from boards import undivided
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.best_fit_decreasing import ORDERS, bisect_target, pack
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import byte_problem, byte_problems


@settings(max_examples=150, deadline=None)
@given(byte_problems())
def test_what_is_packed_is_valid_and_not_below_the_optimum(problem):
    truth = solve_exactly(problem, leximax=False)
    instance = load_instance(problem)
    found = bisect_target(instance)
    if found is None:
        return
    assert truth.feasible
    value = Assignment.single(instance, found).worst()
    assert math.isfinite(value)
    assert value >= float(truth.optimum) * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_packing_at_a_target_is_at_or_below_it(seed):
    instance = undivided(seed, gpus=4, models=12, keep=3)
    best = Assignment.single(instance, bisect_target(instance)).worst()
    for part in (1.0, 1.1, 2.0, 10.0):
        found = pack(instance, best * part)
        if found is not None:
            assert Assignment.single(instance, found).worst() <= best * part * (1 + 1e-9)
    assert pack(instance, best * 0.2) is None


def test_by_hand():
    # At 1 sizes are 4 + 6 and 5 + 5 of 10, so two GPUs are full to the last byte.
    problem = byte_problem([10, 10], [(4, 0.0), (6, 0.0), (5, 0.0), (4, 0.0)])
    assert bisect_target(load_instance(problem)) is None  # a byte must stay free
    roomy = load_instance(byte_problem([11, 11], [(4, 0.0), (6, 0.0), (5, 0.0), (4, 0.0)]))
    gpu_of = bisect_target(roomy)
    assert Assignment.single(roomy, gpu_of).worst() == 0


def test_a_wider_interval_ends_sooner():
    instance = undivided(3, gpus=3, models=8, memory=(80, 80))
    exact = Assignment.single(instance, bisect_target(instance)).worst()
    rough = Assignment.single(instance, bisect_target(instance, tolerance=0.5)).worst()
    assert exact <= rough
    assert set(ORDERS) == {"size", "weights", "load"}
