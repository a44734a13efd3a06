"""What exchanges of a pair keep to."""

import math

import numpy as np
import pytest

from boards import spread, undivided
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.improve import pair_kernel
from kvplace.solver.kernels import interpreted

# Searches call them compiled, as parts of others: each by itself would take long to compile.
carry_out, exchange = map(interpreted, (pair_kernel.carry_out, pair_kernel.exchange))
pressure_of, scratch_of = map(interpreted, (pair_kernel.pressure_of, pair_kernel.scratch_of))
left_enough = interpreted(pair_kernel.left_enough)


def test_of_many_models_the_turn_says_which_are_drawn():
    instance = undivided(5, gpus=2, models=24, memory=(300, 320), size=(4, 14))
    board = spread(instance, 5)
    for turn in range(30):
        packing = pack_rows(instance.columns, np.array(board.gpu_of))
        before = packing.pressure().max()
        made = exchange(packing, 0, 1, turn, 1e-9, scratch_of(packing))
        assert packing.pressure().max() < before or not made
        again = pack_rows(instance.columns, packing.gpu_of(instance.n))
        assert packing.pressure() == pytest.approx(again.pressure(), rel=1e-12)


def test_what_takes_memory_must_leave_some_to_spare():
    instance = undivided(1, gpus=2, models=4, memory=(60, 61))
    packing = pack_rows(instance.columns, np.zeros(4, dtype=np.int64), np.array([2, 2]))
    free = int(packing.free[0])
    assert left_enough(packing, 0, -(free - 2), 0)
    assert not left_enough(packing, 0, -(free - 1), 0)
    packing.spare[:] = 0
    assert left_enough(packing, 0, -(free - 1), 0)
    assert not left_enough(packing, 0, -free, 0)
    packing.kept[0] = free
    assert left_enough(packing, 0, 0, 0)
    assert not left_enough(packing, 0, 0, -1)
    packing.spare[:] = free + 100
    assert left_enough(packing, 0, 1, 0)


def test_an_exchange_that_has_no_room_or_meets_its_like_is_not_made():
    instance = undivided(4, gpus=2, models=6, memory=(60, 61), size=(8, 12))
    packing = pack_rows(instance.columns, np.array([0, 0, 0, 1, 1, 1]))
    packing.group[:] = [0, 1, 2, 0, 3, 4]
    none, start = np.full(2, -1), packing.start
    slot = {int(packing.item[at]): at for at in range(start[0], start[0] + 3)}
    assert carry_out(packing, 0, 1, np.array([slot[0], -1]), none) == 0
    assert packing.gpu_of(6).tolist() == [0, 0, 0, 1, 1, 1]
    assert carry_out(packing, 0, 1, np.array([slot[1], -1]), none) == 1
    assert packing.gpu_of(6).tolist() == [0, 1, 0, 1, 1, 1]
    packing.spare[:] = 1000
    slot = next(at for at in range(start[0], start[0] + 2) if packing.item[at] == 2)
    assert carry_out(packing, 0, 1, np.array([slot, -1]), none) == 0
    assert pressure_of(packing, 0) == pytest.approx(packing.pressure()[0])


def test_a_gpu_without_room_is_infinitely_full_and_an_empty_one_is_not():
    instance = undivided(4, gpus=2, models=3)
    packing = pack_rows(instance.columns, np.zeros(3, dtype=np.int64))
    assert pressure_of(packing, 1) == 0.0
    packing.free[0] = 0
    assert pressure_of(packing, 0) == math.inf
