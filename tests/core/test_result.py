"""What a result says of itself."""

import math

import pytest

from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.core.result import OPTIMAL_GAP, Result, Status, Stop, relative_gap
from tiny import byte_problem


@pytest.mark.parametrize(
    ("value", "bound", "gap"),
    [
        (3.0, 2.0, 0.5),
        (2.0, 2.0, 0.0),
        (2.0, 2.0000001, 0.0),  # by rounding
        (0.0, 0.0, 0.0),
        (1.0, 0.0, math.inf),
        (math.inf, 2.0, math.inf),
        (math.inf, 0.0, math.inf),
        (math.inf, math.inf, 0.0),
    ],
)
def test_relative_gap(value, bound, gap):
    assert relative_gap(value, bound) == gap


def result(gpu, bound):
    """The result of one model of load 1 (in bytes: 2**30) on one GPU of 10 bytes, 4 of them its."""
    problem = byte_problem([10], [(4, 6.0)])  # value 6 / (6 / 2**30) = 2**30
    placement = Placement.single({"m0": gpu}) if gpu else None
    evaluation = evaluate(problem, placement) if placement else None
    proof = Bound(bound, "trivial")
    return Result(problem, placement, evaluation, proof, Stop.LOCAL_OPTIMUM, "s", 0, 0, 0.0)


@pytest.mark.parametrize(
    ("gpu", "bound", "status"),
    [
        ("g0", 2.0**30, Status.OPTIMAL),
        ("g0", 2.0**30 / (1 + OPTIMAL_GAP / 2), Status.OPTIMAL),
        ("g0", 2.0**30 / (1 + 2 * OPTIMAL_GAP), Status.FEASIBLE),
        ("g0", 0.0, Status.FEASIBLE),
        (None, math.inf, Status.INFEASIBLE),
        (None, 1.0, Status.UNKNOWN),
    ],
)
def test_status(gpu, bound, status):
    found = result(gpu, bound)
    assert found.status is status
    assert found.bound == bound
    assert found.value == (2.0**30 if gpu else math.inf)
    assert found.gap == relative_gap(found.value, bound)


def test_values_are_the_words_of_the_interface():
    assert {str(status) for status in Status} == {"optimal", "feasible", "infeasible", "unknown"}
