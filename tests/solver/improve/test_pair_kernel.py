"""Compiled exchanges under several pressures: sums stay exact, and no better exchange is missed."""

import numpy as np
import pytest

from boards import windowed
from kvplace.solver.assignment.packed import Items, pack_items, pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.construct.compiled_starts import most_room_first
from kvplace.solver.improve.iterated_pairs import iterate_pairs
from kvplace.solver.improve.pair_kernel import relieve
from kvplace.solver.improve.parallel_pairs import Improver
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.kernels import Crew
from kvplace.units import GIB


def drawn(seed, models, memory, windows=2, types=1):
    """Return an instance with a few hot models."""
    return windowed(
        seed, models, memory,
        lambda chance, shape: np.minimum(chance.pareto(2, shape), 3),
        lambda chance, shape: np.minimum(chance.pareto(2, shape), 3) * 0.6,
        windows, types,
    )  # fmt: skip


def after(columns, gpu_of):
    return pack_rows(columns, gpu_of).pressure().max()


def best_by_force(columns):
    """Return the least larger pressure of all ways to share out models between two GPUs."""
    ways = np.arange(1 << columns.n)[:, None] >> np.arange(columns.n) & 1
    return min(after(columns, way) for way in ways)


@pytest.mark.parametrize("types", [1, 2])
def test_a_pair_exchanges_until_no_way_to_share_out_is_better(types):
    made = 0
    for seed in range(25):
        chance = np.random.RandomState(seed)
        columns = drawn(seed, 7, [60, 50], windows=1 + seed % 3, types=types).columns
        gpu_of = chance.randint(0, 2, columns.n)
        packing = pack_rows(columns, gpu_of)
        if not np.isfinite(packing.pressure()).all():
            continue
        expected = best_by_force(columns)
        pair = np.array([0]), np.array([1])
        while relieve(packing, *pair, 1, 0.0, seed, 1e-9, 0, 1):
            made += 1
        again = pack_rows(columns, packing.gpu_of(columns.n))
        assert packing.free.tolist() == again.free.tolist()
        assert packing.kept.tolist() == again.kept.tolist()
        assert packing.loads == pytest.approx(again.loads, rel=1e-12)
        assert packing.pressure().max() == pytest.approx(expected, rel=1e-9)
    assert made > 5


def test_of_gpus_that_are_nearly_full_only_exchanges_that_gain_are_made():
    made = 0
    for seed in range(60):
        chance = np.random.RandomState(seed)
        sizes = 10 * GIB + chance.randint(0, 1 << 13, 8)
        gpu_of = np.arange(8) % 2
        left = chance.randint(1, 1 << 15, 2)
        memory = np.bincount(gpu_of, sizes).astype(np.int64) + left
        loads = chance.uniform(0, 1e6, (8, 1, 2)) * [1, 1e-8]
        items = Items(sizes, np.zeros(8, np.int64), loads, 1)
        packing = pack_items(items, memory, np.zeros(2, np.int64), gpu_of)
        before = packing.pressure().max()
        if relieve(packing, np.array([0]), np.array([1]), 1, 0.0, 0, 1e-9, 0, 1):
            assert packing.pressure().max() < before
            made += 1
    assert made > 5


@pytest.mark.parametrize("types", [1, 2])
def test_a_fleet_is_improved_and_loses_nobody(types):
    instance = drawn(3, 400, [90] * 20 + [60] * 20, windows=3, types=types)
    columns = instance.columns
    level = fluid_level(columns)
    assert level > 0
    plans = []
    for threads in (1, 2):
        packing = most_room_first(columns, level)[0]
        before = packing.pressure().max()
        improver = Improver(packing, level, 0, Crew(threads), Watch(None))
        improver.balance()
        improver.relieve(level, 20.0, 20.0)
        assert packing.pressure().max() < before
        gpu_of = packing.gpu_of(columns.n)
        assert gpu_of.min() >= 0
        assert packing.pressure() == pytest.approx(pack_rows(columns, gpu_of).pressure())
        plans.append(gpu_of.tolist())
    assert plans[0] == plans[1]


@pytest.mark.parametrize("types", [1, 2])
def test_a_search_with_kicks_is_never_worse_and_comes_out_the_same(types):
    columns = drawn(5, 60, [90] * 6 + [60] * 6, windows=2, types=types).columns
    level = fluid_level(columns)
    start = most_room_first(columns, level)[0].gpu_of(columns.n)
    plans = []
    for _ in range(2):
        packing = pack_rows(columns, start)
        before = packing.pressure().max()
        assert iterate_pairs(packing, level, 2_000, 7, 1e-9, Watch(None)) >= 2_000
        assert packing.pressure().max() < before
        gpu_of = packing.gpu_of(columns.n)
        again = pack_rows(columns, gpu_of)
        assert packing.pressure() == pytest.approx(again.pressure())
        assert packing.free.tolist() == again.free.tolist()
        assert packing.kept.tolist() == again.kept.tolist()
        plans.append(gpu_of.tolist())
    assert plans[0] == plans[1]
    assert pack_rows(columns, start).pressure().max() == before
