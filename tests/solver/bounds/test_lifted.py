"""Lifted bound: what a hot model shares its GPU with."""

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.bounds.lifted import Lifted
from kvplace.solver.bounds.price_functions import raise_bound
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import GIB, byte_problem


def gib_problem(memories, rows):
    """A requests problem of whole GiB, in whose unit its loads are."""
    return byte_problem([m * GIB for m in memories], [(size * GIB, rate) for size, rate in rows])


def test_room_beside_a_hot_model_is_lost_by_hand():
    # The hot model of 4 GiB and load 6 is at 1 if alone on 10 GiB. Below K = 2 it needs more than
    # 7, which leaves no room for the others' 4; so they share the other GPU: 3 / (10 - 8).
    problem = gib_problem([10, 10], [(4, 6.0), (4, 1.5), (4, 1.5)])
    arrays = load_instance(problem)
    bound = raise_bound(Lifted(), problem, arrays, 9 / 8, 1.6, Watch())
    assert bound.method == "lifted"
    assert bound.value == pytest.approx(1.5, rel=1e-7)
    assert bound.value < 1.5
    assert check_certificate(problem, bound.certificate) == ""
    assert float(solve_exactly(problem).optimum) == 1.5


def test_a_fleet_without_hot_models_is_not_lifted():
    problem = gib_problem([10, 10], [(2, 1.0)] * 6)
    assert raise_bound(Lifted(), problem, load_instance(problem), 0.75, 1.0, Watch()) is None
