"""Pairs shared out anew: sums stay exact, the excess falls, GPUs that are cool stay."""

import numpy as np
import pytest

from boards import windowed
from kvplace.solver.assignment.packed import Items, pack_items, pack_rows
from kvplace.solver.improve.pair_annealing import Heat, anneal


def drawn(seed, models, memory, windows, types):
    """Return columns of loads that are alike."""
    return windowed(
        seed, models, memory,
        lambda chance, shape: chance.uniform(0, 2, shape),
        lambda chance, shape: chance.uniform(0, 1.2, shape),
        windows, types,
    ).columns  # fmt: skip


def even(packing, target, order=None, block=64, above=0.0, weights=None, turn=0, temperature=0.0):
    g = len(packing.models)
    heat = Heat(
        np.ones(g) if weights is None else weights,
        target, max(target, above), temperature, 8, turn,
    )  # fmt: skip
    return anneal(packing, np.arange(g) if order is None else order, block, heat, 0, -(-g // block))


def excess(packing, target):
    each = packing.loads.copy()
    each[:, : packing.kv] /= packing.free[:, None]
    return float((np.maximum(each / target - 1, 0) ** 2).sum())


def room_excess(packing, target, room):
    """Return the excess where memory counts in parts of the room of a GPU."""
    each = packing.loads / target - 1
    kv = packing.kv
    each[:, :kv] = (packing.loads[:, :kv] / target - packing.free[:, None]) / room
    return float((np.maximum(each, 0) ** 2).sum())


def hours(*time):
    """Return a packing of two GPUs of 100 bytes with two models of one byte each by the hour."""
    loads = np.concatenate([np.zeros((4, 1)), np.array(time)], axis=1)[:, None]
    items = Items(np.ones(4, np.int64), np.zeros(4, np.int64), loads, 1)
    return pack_items(
        items, np.full(2, 100), np.zeros(2, np.int64), np.array([0, 0, 1, 1])
    )  # fmt: skip


def test_models_that_peak_together_are_parted():
    packing = hours([0.6, 0.1], [0.6, 0.1], [0.1, 0.6], [0.1, 0.6])
    assert packing.pressure() == pytest.approx([1.2, 1.2])
    assert even(packing, 0.7) == 1
    assert packing.pressure() == pytest.approx([0.7, 0.7])


def test_excess_falls_even_where_both_stay_above_the_target():
    packing = hours([0.6, 0.1], [0.6, 0.1], [0.1, 0.6], [0.1, 0.6])
    assert even(packing, 0.5) == 1
    assert packing.pressure() == pytest.approx([0.7, 0.7])


def test_gpus_below_what_is_asked_for_look_for_nobody():
    packing = hours([0.6, 0.1], [0.6, 0.1], [0.1, 0.6], [0.1, 0.6])
    assert even(packing, 0.7, above=1.3) == 0


def test_a_weight_lets_one_gpu_rise_for_another():
    # In the second hour the first GPU gives 0.3, and the second takes 0.4 of what is cheaper there.
    packing = hours([0.5, 0.6], [0.5, 0.6], [0.5, 0.3], [0.5, 0.3])
    weights = np.array([64.0, 1.0])
    assert even(packing, 0.85, weights=weights) == 1
    assert packing.pressure()[0] < 1.2


def test_memory_is_never_exceeded_and_groups_stay_apart():
    loads = np.array([[0.0, 0.9], [0.0, 0.9], [0.0, 0.1], [0.0, 0.1]])[:, None]
    items = Items(np.array([30, 30, 65, 9]), np.zeros(4, np.int64), loads, 1)
    place = (np.full(2, 100), np.zeros(2, np.int64), np.array([0, 0, 1, 1]))
    packing = pack_items(items, *place)
    assert even(packing, 0.5) == 1
    assert (packing.free >= 1).all()
    packing = pack_items(items, *place, group=np.array([0, 1, 0, 0]))
    even(packing, 0.5)
    gpu_of = packing.gpu_of(4)
    assert gpu_of[0] not in gpu_of[2:]


@pytest.mark.parametrize("memory", [100, 200])
def test_two_models_alone_change_sides_where_that_is_another_way(memory):
    loads = np.array([[45.0], [60.0]])[:, None]
    items = Items(np.ones(2, np.int64), np.zeros(2, np.int64), loads, 1)
    packing = pack_items(items, np.array([memory, 100]), np.zeros(2, np.int64), np.array([0, 1]))
    assert even(packing, 0.5) == (1 if memory > 100 else 0)
    assert packing.gpu_of(2).tolist() == ([1, 0] if memory > 100 else [0, 1])


@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("block", [3, 7, 64])
def test_sums_stay_exact_and_the_excess_falls(types, block):
    made = 0
    for seed in range(8):
        columns = drawn(seed, 90, [60, 50] * 9, 1 + seed % 3, types)
        chance = np.random.RandomState(seed)
        packing = pack_rows(columns, np.arange(90) % 18)
        for turn in range(4):
            target = float(np.quantile(packing.pressure(), 0.6))
            before = excess(packing, target)
            done = even(packing, target, chance.permutation(18), block, turn=turn)
            made += done
            now = excess(packing, target)
            assert now < before if done else now == before
            gpu_of = packing.gpu_of(columns.n)
            assert gpu_of.min() >= 0
            again = pack_rows(columns, gpu_of)
            assert again.free.tolist() == packing.free.tolist()
            assert again.kept.tolist() == packing.kept.tolist()
            assert again.loads == pytest.approx(packing.loads, rel=1e-12)
    assert made


def test_parts_of_the_blocks_do_what_the_whole_does():
    columns = drawn(5, 120, [60] * 24, 2, 1)
    packings = [pack_rows(columns, np.arange(120) % 24) for _ in range(2)]
    target = float(np.quantile(packings[0].pressure(), 0.5))
    heat = Heat(np.ones(24), target, target, 1e-3, 4, 0)
    whole = anneal(packings[0], np.arange(24), 4, heat, 0, 6)
    parts = sum(anneal(packings[1], np.arange(24), 4, heat, at, at + 2) for at in (4, 0, 2))
    assert whole == parts > 0
    assert packings[0].gpu_of(120).tolist() == packings[1].gpu_of(120).tolist()


def test_the_best_of_all_ways_is_found():
    for seed in range(30):
        columns = drawn(seed, 8, [90, 80], 2, 1 + seed % 2)
        packing = pack_rows(columns, np.arange(8) % 2)
        target = 0.8 * float(packing.pressure().min())
        least = np.inf
        for way in range(256):
            other = pack_rows(columns, np.array([way >> at & 1 for at in range(8)]))
            if (other.free >= np.maximum(other.kept, 1)).all():
                least = min(least, room_excess(other, target, packing.free.mean()))
        for turn in range(4):
            even(packing, target, turn=turn)
        assert room_excess(packing, target, packing.free.mean()) <= least * (1 + 1e-3) + 1e-9


def test_with_a_temperature_excess_rises_now_and_then():
    columns = drawn(7, 60, [60] * 12, 2, 1)
    packing = pack_rows(columns, np.arange(60) % 12)
    target = float(np.quantile(packing.pressure(), 0.3))
    for turn in range(8):
        even(packing, target, turn=turn)
    before, rose = excess(packing, target), False
    for turn in range(8):
        even(packing, target, turn=turn, temperature=1.0)
        rose = rose or excess(packing, target) > before
    assert rose


def test_what_must_stay_free_stays_free():
    columns = drawn(3, 60, [60] * 12, 2, 1)
    gpu_of = np.arange(60) % 12
    first = pack_rows(columns, gpu_of)
    spare = np.minimum(first.free, 12)
    packing = pack_rows(columns, gpu_of, spare=spare)
    before = packing.free.copy()
    for turn in range(4):
        even(packing, float(np.quantile(packing.pressure(), 0.5)), turn=turn)
    assert (packing.free >= np.minimum(spare, before)).all()
