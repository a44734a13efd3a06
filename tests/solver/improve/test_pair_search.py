"""The search by sizes, and what exchanges of a pair keep to."""

import math

import numpy as np
import pytest

from boards import spread, undivided
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.improve import pair_kernel, pair_search
from kvplace.solver.kernels import interpreted

# Searches call them compiled, as parts of others: each by itself would take long to compile.
carry_out, exchange = map(interpreted, (pair_kernel.carry_out, pair_kernel.exchange))
pressure_of, scratch_of = map(interpreted, (pair_kernel.pressure_of, pair_kernel.scratch_of))
left_enough, nearest = map(interpreted, (pair_search.left_enough, pair_search.nearest))
size_scratch = interpreted(pair_search.size_scratch)


def starts(seed, models=7, keep=0):
    """A packing of two GPUs, the hotter first; None where none was drawn."""
    instance = undivided(seed, gpus=2, models=models, memory=(70, 90), size=(4, 14), keep=keep)
    board = spread(instance, seed)
    if board is None or not board.worst() > 0:
        return None
    hot = board.pressure.index(board.worst())
    return instance, pack_rows(instance.columns, np.array(board.gpu_of)), hot, 1 - hot


@pytest.mark.parametrize("keep", [0, 4])
def test_the_search_by_sizes_finds_exchanges_that_hold_what_they_promise(keep):
    gained = 0
    for seed in range(40):
        drawn = starts(seed, keep=keep)
        if drawn is None:
            continue
        instance, packing, hot, cold = drawn
        goal = float(packing.pressure().max()) * (1 - 1e-9)
        out, back = np.full(3, -1), np.full(3, -1)
        if not nearest(packing, hot, cold, goal, 0, size_scratch(256), out, back):
            continue
        gained += 1
        moved = packing.gpu_of(instance.n)
        given, taken = (packing.item[some[some >= 0]] for some in (out, back))
        moved[given], moved[taken] = cold, hot
        assert pack_rows(instance.columns, moved).pressure().max() < goal
    assert gained > 10


def test_by_size_three_models_go_at_once_the_last_slot_first():
    better = 0
    for seed in range(60):
        drawn = starts(seed, models=9)
        if drawn is None:
            continue
        _, packing, hot, cold = drawn
        goal = float(packing.pressure().max()) * (1 - 1e-9)
        out, back = np.full(3, -1), np.full(3, -1)
        if nearest(packing, hot, cold, goal, 0, size_scratch(256), out, back):
            better += bool((out >= 0).sum() == 3 or (back >= 0).sum() == 3)
            assert out.tolist() == sorted(out.tolist(), reverse=True)
            assert back.tolist() == sorted(back.tolist(), reverse=True)
    assert better > 0


@pytest.mark.parametrize("width", [8, 16, 64])
def test_where_not_all_subsets_fit_the_turn_says_which_are_looked_at(width):
    instance = undivided(5, gpus=2, models=24, memory=(300, 320), size=(4, 14))
    board = spread(instance, 5)
    for turn in range(30):
        packing = pack_rows(instance.columns, np.array(board.gpu_of))
        before = packing.pressure().max()
        made = exchange(packing, 0, 1, turn, 1e-9, scratch_of(packing, width))
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
