"""The strategy for undivided models: what each way of asking for a bound is asked of."""

import random

import pytest

from kvplace.bench.families import build
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.result import Status
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import LargeParams, Params
from tiny import byte_problem


def pairs(seed, gpus=12):
    """A fleet of two models per GPU, as in the ADRS benchmark."""
    draw = random.Random(seed)
    rows = [(draw.randint(10, 29), draw.randint(1, 9), draw.randint(5, 9)) for _ in range(2 * gpus)]
    return build([80.0] * gpus, *zip(*rows, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_size_classes_raise_the_bound_of_fleets_too_large_for_the_program(seed):
    problem = pairs(seed)
    best = solve(problem)
    assert best.status is Status.OPTIMAL
    large = Params(large=LargeParams(models=0, sparse_models=0))
    with_classes = solve(problem, params=large)
    without = solve(problem, params=large, without=["configuration-bound"])
    assert without.bound < with_classes.bound <= best.value * (1 + 1e-9)
    assert check_certificate(problem, with_classes.proof.certificate) == ""
    calls = {gain.name: gain.calls for gain in with_classes.stages}
    assert calls["configuration-bound"] == 1


def test_a_hot_model_needs_no_stage_but_the_start():
    problem = byte_problem([100, 100], [(10, 90.0), (10, 1.0), (10, 1.0)])
    result = solve(problem)
    assert (result.status, result.proof.method) == (Status.OPTIMAL, "single-model")
    assert [gain.name for gain in result.stages] == ["start", "balance", "leximax"]


def test_a_gap_asked_for_ends_the_search():
    result = solve(pairs(1), gap=0.9)
    assert result.gap <= 0.9
    assert "iterated-local-search" not in [gain.name for gain in result.stages]
