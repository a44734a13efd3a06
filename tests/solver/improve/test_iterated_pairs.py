"""Kicks between pair exchanges: repeatable, within their limits, and never worse at the end."""

import numpy as np
import pytest

from boards import spread, undivided
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.chance import seeded
from kvplace.solver.clock import Watch
from kvplace.solver.improve.iterated_pairs import KICKS, _search, iterate_pairs
from kvplace.solver.improve.pair_kernel import pressure_of


def start(seed=1, gpus=6, models=24):
    instance = undivided(seed, gpus=gpus, models=models, memory=(90, 120))
    board = spread(instance, seed)
    return instance.columns, pack_rows(instance.columns, np.array(board.gpu_of))


@pytest.mark.parametrize("seed", range(3))
def test_the_best_is_left_and_everything_is_kept_up(seed):
    columns, packing = start(seed)
    before = packing.pressure().max()
    made = iterate_pairs(packing, 0.0, 2 * KICKS, seed, 1e-9, Watch())
    assert made >= 2 * KICKS
    assert packing.pressure().max() < before
    again = pack_rows(columns, packing.gpu_of(columns.n))
    for name in ("free", "kept", "models"):
        assert getattr(packing, name).tolist() == getattr(again, name).tolist()
    assert packing.loads == pytest.approx(again.loads, rel=1e-12)
    for g in range(len(packing.models)):
        row = slice(packing.start[g], packing.start[g] + packing.models[g])
        assert packing.load[row].tolist() == columns.load[packing.item[row]].tolist()
        assert pressure_of(packing, g) == pytest.approx(packing.pressure()[g], rel=1e-12)


def test_one_seed_gives_one_plan_and_another_may_not():
    plans = []
    for seed in (5, 5, 6):
        columns, packing = start()
        iterate_pairs(packing, 0.0, KICKS, seed, 1e-9, Watch())
        plans.append(packing.gpu_of(columns.n).tolist())
    assert plans[0] == plans[1]
    assert len(set(map(tuple, plans))) <= 2


def test_a_goal_that_is_met_and_no_time_end_it():
    _, packing = start()
    plan = packing.item.tolist()
    assert iterate_pairs(packing, float(packing.pressure().max()), KICKS, 1, 1e-9, Watch()) == 0
    assert iterate_pairs(packing, 0.0, KICKS, 1, 1e-9, Watch(0.0)) == 0
    assert iterate_pairs(packing, 0.0, 0, 1, 1e-9, Watch()) == 0
    assert packing.item.tolist() == plan


def test_models_of_one_group_never_meet():
    columns, packing = start(2, gpus=4, models=16)
    gpu_of = packing.gpu_of(columns.n)
    pairs = [(a, b) for a in range(16) for b in range(a) if gpu_of[a] != gpu_of[b]][:4]
    for group, (a, b) in enumerate(pairs):
        if packing.group[a] == a and packing.group[b] == b:
            packing.group[a] = packing.group[b] = 100 + group
    iterate_pairs(packing, 0.0, KICKS, 3, 1e-9, Watch())
    after = packing.gpu_of(columns.n)
    for g in range(4):
        held = packing.group[np.flatnonzero(after == g)]
        assert len(set(held.tolist())) == len(held)


def test_what_is_to_spare_stays_free_where_memory_is_taken():
    columns, packing = start(3)
    free = packing.free.copy()
    packing.spare[:] = free - 1
    iterate_pairs(packing, 0.0, KICKS, 3, 1e-9, Watch())
    after = pack_rows(columns, packing.gpu_of(columns.n)).free
    assert (after >= np.minimum(free, packing.spare)).all()


def test_a_search_that_is_halted_ends_within_its_kicks():
    columns, packing = start()
    found = float(packing.pressure().max())
    halted, endless = np.ones(1, dtype=np.int64), 2**60
    best = packing.copy()
    _search(packing, best, found, endless, seeded(1), 0.0, 1e-9, halted)
    again = pack_rows(columns, packing.gpu_of(columns.n))
    assert packing.free.tolist() == again.free.tolist()
