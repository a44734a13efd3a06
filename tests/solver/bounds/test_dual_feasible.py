"""Dual feasible functions: no set that fits is priced above its GPU, and what they prove."""

import random

import numpy as np
import pytest

from boards import undivided
from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.bounds.dual_feasible import ROUNDINGS, DualFeasible, _rounding, _threshold
from kvplace.solver.bounds.price_functions import raise_bound
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import byte_problem, random_problem

FUNCTIONS = {
    **{f"u({k})": _rounding(k) for k in ROUNDINGS},
    **{f"step {step}": _threshold(step) for step in (0.0, 0.1, 0.25, 0.4, 0.5)},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_set_that_fits_a_share_is_priced_at_that_share_or_below(name):
    function, draw = FUNCTIONS[name], random.Random(name)
    for _ in range(300):
        parts = np.array([draw.random() ** 2 for _ in range(draw.randint(1, 6))])
        share = draw.choice([1.0, 0.5, 0.75])
        parts *= share * draw.uniform(0.3, 1.0) / parts.sum()
        assert function(parts).sum() <= function(np.array([share]))[0] + 1e-9
        assert (function(parts) >= 0).all()
    assert function(np.array([1.0]))[0] == 1.0


def test_three_models_above_half_of_two_gpus_by_hand():
    # At 1 each takes 6 of 10, so two GPUs hold two of them.
    problem = byte_problem([10, 10], [(4, 1.0)] * 3)
    instance = load_instance(problem)
    optimum = float(solve_exactly(problem, leximax=False).optimum)
    found = raise_bound(DualFeasible(), problem, instance, optimum / 3, optimum, Watch())
    assert found.method == "dual-feasible"
    assert check_certificate(problem, found.certificate) == ""
    assert optimum / 2 <= found.value <= optimum


@pytest.mark.parametrize("seed", range(3))
def test_what_is_proved_is_below_the_optimum_and_checks(seed):
    draw, proved = random.Random(seed), 0
    for _ in range(40):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        instance = load_instance(problem)
        optimum = float(truth.optimum) if truth.feasible else 0.0
        if not optimum or not DualFeasible().supports(instance):
            continue
        found = raise_bound(DualFeasible(), problem, instance, optimum / 4, optimum, Watch())
        if found is not None:
            proved += 1
            assert found.value <= optimum * (1 + 1e-9)
            assert check_certificate(problem, found.certificate) == ""
    assert proved > 2


def test_a_target_that_is_met_is_never_called_impossible():
    for seed in range(10):
        instance = undivided(seed, gpus=4, models=10)
        assert DualFeasible().prove(instance, 1e9) is None
