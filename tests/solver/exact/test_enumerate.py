"""Every placement of a tiny fleet: where memory is full to the last bytes, nothing else settles."""

import math
import random

import pytest

from kvplace.core.result import Status
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.exact.enumerate import Enumeration
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve
from oracle import solve_exactly
from tiny import byte_problem, random_problem


def enumerated(instance, value=math.inf, nodes=60_000, watch=None):
    """Return the value of the best placement found, and whether all were tried."""
    search = Enumeration(instance, nodes=nodes)
    search.run((0.0,), (value,), watch or Watch())
    if search.best is None:
        return None, search.complete
    return Assignment.single(
        instance, [copies[0][0] for copies in search.best]
    ).worst(), search.complete


def test_all_placements_say_what_brute_force_says():
    draw = random.Random(8)
    for _ in range(200):
        problem = random_problem(draw)
        instance = load_instance(problem)
        truth = solve_exactly(problem)
        value, complete = enumerated(instance)
        assert complete
        assert (value is not None) == truth.feasible
        if value is not None:
            assert value == pytest.approx(float(truth.optimum), rel=1e-9)
            assert enumerated(instance, value) == (None, True)


def test_giving_up_is_said():
    instance = load_instance(byte_problem([40, 40, 30], [(3 + j, 1.0 + j) for j in range(9)]))
    assert enumerated(instance, nodes=50)[1] is False


def test_a_time_limit_ends_it():
    instance = load_instance(byte_problem([90] * 6, [(3 + j, 1.0 + j) for j in range(20)]))
    assert enumerated(instance, watch=Watch(0.0))[1] is False


def test_weights_that_fit_no_way_are_proved_not_to():
    # Found by fuzzing (500/1070): 14 bytes of weights for 13 that may be used, by 7, 4, 2 and 1.
    rows = [(1, 7.0), (7, 0.0), (4, 0.0), (0, 7.0), (2, 0.2), (0, 1.0)]
    assert solve(byte_problem([5, 3, 8], rows)).status is Status.INFEASIBLE


@pytest.mark.parametrize(
    ("memories", "rows"),
    [
        # Found by fuzzing (500/4181): one model leaves a single byte free.
        (
            [967199649915299, 605394175108446],
            [(448540909892747, 0.07), (448540909892747, 333.3), (605394175108445, 1.1)],
        ),
        # Found by fuzzing (500/152): the same beside GPUs of other sizes.
        (
            [54760833024, 52613349376, 85899345920],
            [(36507222016, 0.5), (54760833023, 0.7), (36507222016, 1e7), (36507222016, 1e-4)],
        ),
    ],
)
def test_a_gpu_full_but_for_a_byte_leaves_no_gap(memories, rows):
    problem = byte_problem(memories, rows)
    found = solve(problem)
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(float(solve_exactly(problem).optimum), rel=1e-12)
