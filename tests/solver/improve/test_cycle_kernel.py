"""Cyclic exchanges: found where no pair suits, sums stay exact, nothing else gets worse."""

import numpy as np
import pytest

from boards import windowed
from kvplace.solver.assignment.packed import Items, pack_items, pack_rows
from kvplace.solver.improve.cycle_kernel import relieve_by_cycles


def drawn(seed, models, memory, windows, types):
    """Return columns of loads that are alike."""
    return windowed(
        seed, models, memory,
        lambda chance, shape: chance.uniform(0, 2, shape),
        lambda chance, shape: chance.uniform(0, 1.2, shape),
        windows, types,
    ).columns  # fmt: skip


def relieve(packing, target, turn=0, block=64, width=22):
    order = np.arange(len(packing.models))
    blocks = -(-len(order) // block)
    return relieve_by_cycles(packing, order, block, width, target, turn, 0, blocks)


def hand():
    """Return a packing that only a turn of three GPUs brings to 1.0, and what is on which GPU.

    Three hours, and on each GPU one model that stays. GPU 0 is short of the first hour, and what
    it can give only GPU 1 has room for, whose small model only GPU 2 can take, and so on.
    """
    stay = [[0.0, 0.9, 0.9], [0.9, 0.0, 0.9], [0.9, 0.9, 0.0]]
    moves = [[0.1, 0.95, 0.1], [0.1, 0.1, 0.95], [0.95, 0.1, 0.1]]
    time = np.array(stay + moves)
    loads = np.concatenate([np.zeros((6, 1)), time], axis=1)[:, None]
    items = Items(np.ones(6, np.int64), np.zeros(6, np.int64), loads, 1)
    memory, kinds = np.full(3, 100), np.zeros(3, np.int64)
    return items, memory, kinds, np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("turn", [0, 1, 5])
def test_three_gpus_exchange_where_no_two_suit_each_other(turn):
    items, memory, kinds, gpu_of = hand()
    packing = pack_items(items, memory, kinds, gpu_of)
    assert packing.pressure() == pytest.approx([1.85] * 3)
    assert relieve(packing, 1.05, turn) == 1
    assert packing.pressure() == pytest.approx([1.0] * 3)
    found = packing.gpu_of(6)
    assert found[:3].tolist() == found[[5, 3, 4]].tolist()


def test_models_of_one_group_do_not_meet():
    items, memory, kinds, gpu_of = hand()
    group = np.arange(6)
    group[3] = group[1]
    packing = pack_items(items, memory, kinds, gpu_of, group=group)
    relieve(packing, 1.05)
    found = packing.gpu_of(6)
    assert found[3] != found[1]


@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("block", [3, 7, 64])
def test_sums_stay_exact_and_nothing_rises_above_the_worst(types, block):
    made = 0
    for seed in range(8):
        columns = drawn(seed, 90, [60, 50] * 9, 1 + seed % 3, types)
        chance = np.random.RandomState(seed)
        packing = pack_rows(columns, np.arange(90) % 18)
        for turn in range(4):
            pressure = packing.pressure()
            worst, target = pressure.max(), float(np.quantile(pressure, 0.6))
            order = chance.permutation(18)
            made += relieve_by_cycles(packing, order, block, 16, target, turn, 0, -(-18 // block))
            now = packing.pressure()
            assert now.max() <= worst * (1 + 1e-12)
            gpu_of = packing.gpu_of(columns.n)
            assert gpu_of.min() >= 0
            again = pack_rows(columns, gpu_of)
            assert packing.free.tolist() == again.free.tolist()
            assert packing.kept.tolist() == again.kept.tolist()
            assert packing.loads == pytest.approx(again.loads, rel=1e-12)
    assert made > 10


def test_what_must_stay_free_stays_free():
    columns = drawn(3, 60, [60] * 12, 2, 1)
    gpu_of = np.arange(60) % 12
    first = pack_rows(columns, gpu_of)
    spare = np.minimum(first.free, 12)
    packing = pack_rows(columns, gpu_of, spare=spare)
    before = packing.free.copy()
    for turn in range(4):
        relieve(packing, float(np.quantile(packing.pressure(), 0.5)), turn)
    assert (packing.free >= np.minimum(spare, before)).all()
