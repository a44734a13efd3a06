"""The unbounded knapsack on a grid, beside every multiset there is."""

import random
from itertools import combinations_with_replacement

import numpy as np
import pytest

from kvplace.solver.column_generation.class_knapsack import fill


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
        assert table.columns(room, 1) == [members]


@pytest.mark.parametrize("seed", range(8))
def test_dear_sets_fit_and_the_dearest_is_among_them(seed):
    prices = drawn(seed, 20)
    table = fill(prices, 20)
    found = table.columns(20, 6)
    assert len(found) <= 6
    assert all(sum(members) <= 20 for members in found)
    if table.worth[20]:
        assert max(sum(prices[x] for x in members) for members in found) == table.worth[20]


def test_by_hand():
    # Two levels of 3 at price 5 each and one of 1 at 1 in a room of 7: 11.
    table = fill(np.array([0, 1, 1, 5, 5, 5, 5, 5]), 7)
    assert table.worth.tolist() == [0, 1, 2, 5, 6, 7, 10, 11]
    assert table.best(7) == (1, 3, 3)
