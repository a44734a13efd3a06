"""Every price function: its certificate checks, and it never exceeds the optimum."""

import random

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.bounds.price_functions import price_functions, raise_bound
from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import byte_problem, random_problem

FUNCTIONS = {type(function).__name__: function for function in price_functions()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_price_function_never_exceeds_the_optimum(name):
    draw, found = random.Random(name), 0
    for _ in range(200):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        if not truth.feasible or not truth.optimum:
            continue
        instance, optimum = load_instance(problem), float(truth.optimum)
        low = min(optimum / 2, simple_bound(instance).value)
        bound = raise_bound(FUNCTIONS[name], problem, instance, low, optimum * 1.1, Watch())
        if bound is None:
            continue
        found += 1
        assert bound.method == FUNCTIONS[name].method
        assert low < bound.value <= optimum * (1 + 1e-12)
        assert check_certificate(problem, bound.certificate) == ""
    assert found > 20


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_nothing_that_the_fluid_bound_does_not(name):
    # Six models of 10 and six GPUs of 100 bytes: one each is the fluid bound.
    problem = byte_problem([100] * 6, [(10, 1.0)] * 6)
    instance = load_instance(problem)
    low = simple_bound(instance).value
    assert raise_bound(FUNCTIONS[name], problem, instance, low, low, Watch()) is None


def test_dual_feasible_functions_count_models_that_share_no_gpu():
    # Three models of 6 bytes on two GPUs of 10: two must share, at 12 bytes of weights; with 4
    # bytes each, the third shares and leaves 2 bytes for both loads.
    problem = byte_problem([10, 10], [(4, 1.0), (4, 1.0), (4, 1.0)])
    instance = load_instance(problem)
    function = FUNCTIONS["DualFeasible"]
    truth = float(solve_exactly(problem).optimum)
    bound = raise_bound(function, problem, instance, simple_bound(instance).value, truth, Watch())
    assert bound.value == pytest.approx(truth, rel=1e-6)
