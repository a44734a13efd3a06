"""The unbounded knapsack on a grid, beside every multiset there is."""

import random
from itertools import combinations_with_replacement

import numpy as np
import pytest

from kvplace.solver.column_generation.class_knapsack import Tables, fill


def by_force(prices, room):
    """Return the highest price of sizes 1, 2, ... that fit a room, any number alike."""
    best = 0
    for count in range(room + 1):
        for chosen in combinations_with_replacement(range(1, room + 1), count):
            if sum(chosen) <= room:
                best = max(best, sum(prices[level] for level in chosen))
    return best


def drawn(seed, room=9):
    draw = random.Random(seed)
    return np.array([0, *np.cumsum([draw.choice([0, 0, 1, 3, 7]) for _ in range(room)])])


@pytest.mark.parametrize("seed", range(12))
def test_every_room_is_worth_what_brute_force_says(seed):
    prices = drawn(seed, 8)
    table = fill(prices, 8)
    for room in range(9):
        assert table.worth[room] == by_force(prices.tolist(), room)


@pytest.mark.parametrize("seed", range(12))
def test_a_dearest_set_fits_and_has_that_price(seed):
    prices = drawn(seed, 20)
    table = fill(prices, 20)
    for room in range(21):
        members = table.best(room)
        assert sum(members) <= room
        assert sum(prices[level] for level in members) == table.worth[room]
        assert list(members) == sorted(members)


def test_by_hand():
    # Two levels of 3 at price 5 each and one of 1 at 1 in a room of 7: 11.
    table = fill(np.array([0, 1, 1, 5, 5, 5, 5, 5]), 7)
    assert table.worth.tolist() == [0, 1, 2, 5, 6, 7, 10, 11]
    assert table.best(7) == (1, 3, 3)


@pytest.mark.parametrize("seed", range(12))
def test_a_room_is_worth_at_most_one_split_shard_and_others_by_brute_force(seed):
    width, room = 9, 8
    prices = [drawn(seed, room), drawn(seed + 100, room), drawn(seed + 200, room)]
    rooms = np.array([room, width + 7, 2 * width + room])
    table = Tables(np.concatenate(prices), width, rooms, nested=False)
    whole = [by_force(prices[0].tolist(), size) for size in range(width)]
    for kind, (numbered, most) in enumerate(zip(rooms.tolist(), (8, 7, 8), strict=True)):
        split = np.maximum.accumulate(np.maximum(prices[kind], prices[0]))
        best = max(whole[most], *(int(split[x]) + whole[most - x] for x in range(1, most + 1)))
        assert table.worth(np.array([numbered])).tolist() == [best]
        found = table.columns(numbered, 5)
        assert len(found) <= 5
        assert all(sum(c % width for c in members) <= most for members in found)
        kinds = [[c // width for c in members if c >= width] for members in found]
        assert all(some in ([], [kind]) for some in kinds)
        if best:
            assert max(sum(table.prices[c] for c in members) for members in found) == best


@pytest.mark.parametrize("seed", range(12))
def test_a_room_is_worth_what_its_gpus_hold_of_each_kind_by_brute_force(seed):
    width, levels = 9, (5, 7, 8)
    prices = [drawn(seed + 100 * kind, width - 1) for kind in range(3)]
    rooms = np.array([kind * width + level for kind, level in enumerate(levels)])
    table = Tables(np.concatenate(prices), width, rooms, nested=True)
    for kind, (room, level) in enumerate(zip(rooms.tolist(), levels, strict=True)):
        dearest = np.max(prices[: kind + 1], axis=0)
        worth = by_force(dearest.tolist(), level)
        assert table.worth(np.array([room])).tolist() == [worth]
        for members in table.columns(room, 9):
            assert sum(class_ % width for class_ in members) <= level
            assert max(class_ // width for class_ in members) <= kind
            assert sum(table.prices[class_] for class_ in members) <= worth
        sets = table.columns(room, 9)
        assert max((sum(table.prices[c] for c in one) for one in sets), default=0) == worth
