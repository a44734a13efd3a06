"""Exchanges under several pressures, beside all ways to share out what two GPUs hold."""

import numpy as np

from boards import windowed
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.improve import pair_kernel, pair_ways
from kvplace.solver.kernels import interpreted

# Searches call them compiled, as parts of others: each by itself would take long to compile.
exchange, scratch_of = map(interpreted, (pair_kernel.exchange, pair_kernel.scratch_of))
add_up, change_of = map(interpreted, (pair_ways.add_up, pair_ways.change_of))
draw_ways, room_for_ways = map(interpreted, (pair_ways.draw_ways, pair_ways.room_for_ways))


def drawn(seed, models=8, types=1):
    """Return columns of two GPUs of two sizes, and a packing of all models."""
    columns = windowed(
        seed, models, [90, 80],
        lambda chance, shape: chance.uniform(0, 2, shape),
        lambda chance, shape: chance.uniform(0, 1.2, shape),
        3, types,
    ).columns  # fmt: skip
    return columns, pack_rows(columns, np.arange(models) % 2)


def worst(packing):
    return float(packing.pressure().max())


def test_where_the_best_way_would_let_a_group_meet_the_next_is_made():
    made = 0
    for seed in range(12):
        columns, packing = drawn(seed)
        packing.group[:] = np.maximum(np.arange(columns.n) - 1, 0)
        for _ in range(3):
            before = worst(packing)
            done = exchange(packing, 0, 1, 0, 1e-9, scratch_of(packing))
            made += done
            assert worst(packing) < before or not done
            gpu_of = packing.gpu_of(columns.n)
            assert gpu_of[0] != gpu_of[1]
    assert made > 0


def test_of_many_models_some_are_drawn_that_may_change_sides():
    for seed in range(6):
        _, packing = drawn(seed, 20)
        ways, chance = room_for_ways(packing, np.empty(0)), np.array([seed + 1], np.uint64)
        mine, movable = draw_ways(packing, 0, 1, worst(packing), chance, ways)
        assert movable == pair_ways.MOVABLE
        slots = ways.slots.tolist()
        assert len(set(slots)) == len(slots)
        assert all(slot < packing.start[1] for slot in slots[:mine])
        assert all(slot >= packing.start[1] for slot in slots[mine:])
        assert slots[:mine] == sorted(slots[:mine], reverse=True)


def test_the_largest_excess_of_a_way_says_whether_it_is_below_the_target():
    for seed in range(6):
        columns, packing = drawn(seed)
        target = 0.9 * worst(packing)
        ways, chance = room_for_ways(packing, np.empty(0)), np.array([seed + 1], np.uint64)
        mine, movable = draw_ways(packing, 0, 1, target, chance, ways)
        found = add_up(mine, movable, 0.0, 0.0, 0.0, ways)
        for way in range(1 << movable):
            gpu_of = packing.gpu_of(columns.n)
            for side, slots in enumerate(change_of(way, mine, movable, ways)):
                gpu_of[packing.item[slots[slots >= 0]]] = 1 - side
            below = worst(pack_rows(columns, gpu_of)) < target * (1 - 1e-12)
            assert below <= found
            assert (ways.excess[way] < 0) == below or not found
