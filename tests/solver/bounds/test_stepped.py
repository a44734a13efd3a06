"""The stepped bound: what whole steps of free memory cost."""

import random

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.bounds.price_functions import raise_bound
from kvplace.solver.bounds.stepped import Stepped
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from kvplace.solver.solve import solve
from oracle import solve_exactly
from tiny import GIB, byte_problem


def gib_problem(memories, rows):
    """A requests problem of whole GiB, in whose unit its loads are."""
    return byte_problem([m * GIB for m in memories], [(size * GIB, rate) for size, rate in rows])


def test_a_load_needs_whole_steps_by_hand():
    # 4 GiB are free in all, so the fluid bound is 6 / 4. Below K = 2 a load of 2 needs more than
    # 1 GiB, and so 2, on the GPU where it is: 6 GiB free for three of them.
    problem = gib_problem([10, 10, 10], [(8, 2.0), (8, 2.0), (8, 2.0), (1, 0.0), (1, 0.0)])
    arrays = load_instance(problem)
    bound = raise_bound(Stepped(), problem, arrays, 1.5, 2.0, Watch())
    assert bound.value == pytest.approx(2.0, rel=1e-9)
    assert bound.value < 2.0
    assert check_certificate(problem, bound.certificate) == ""
    assert float(solve_exactly(problem).optimum) == 2.0


def test_company_of_a_model_is_found_exactly_by_hand():
    # Beside the hot model whole steps alone prove 1.5: there 2 GiB stay free for its load of 3.
    # But what fills the other 4 GiB beside it carries 0.2 or more: (3 + 0.2) / 2.
    rows = [(4, 3.0), (4, 0.2), (3, 0.3), (3, 0.4), (3, 0.4)]
    problem = gib_problem([10, 10], rows)
    arrays = load_instance(problem)
    bound = raise_bound(Stepped(), problem, arrays, 1.44, 1.6, Watch())
    assert bound.value == pytest.approx(1.6, rel=1e-8)
    assert check_certificate(problem, bound.certificate) == ""
    assert float(solve_exactly(problem).optimum) == pytest.approx(1.6)


def test_weights_of_odd_bytes_have_no_steps():
    problem = byte_problem([10 * GIB] * 2, [(4 * GIB + 1, 1.0), (4 * GIB, 1.0), (3 * GIB, 1.0)])
    assert raise_bound(Stepped(), problem, load_instance(problem), 0.1, 1.0, Watch()) is None


def test_a_dense_fleet_of_whole_gib_is_proved_by_certificate():
    # 64 models on 8 GPUs, too dense for the configuration program to finish.
    draw = random.Random(3)
    rows = [(draw.randint(4, 14), draw.choice([0.2, 0.3, 0.5, 1.0])) for _ in range(62)]
    rows += [(9, 111.5), (14, 396.8)]
    free = 640 - sum(size for size, _ in rows) - 44
    while free:  # to 44 GiB free, of which a GPU needs one at least
        at = draw.randrange(62)
        size = rows[at][0] + (1 if free > 0 else -1)
        if 3 <= size <= 15:
            rows[at] = (size, rows[at][1])
            free += -1 if free > 0 else 1
    result = solve(gib_problem([80] * 8, rows), iterations=20)
    assert result.proof.method in {"lifted", "configuration"}
    assert result.gap < 0.01
