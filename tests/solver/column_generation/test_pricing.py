"""The pool of sets: valid worths, and dear columns."""

import random
from itertools import combinations

import numpy as np
import pytest

from kvplace.solver.column_generation.pricing import ACCURACY, Pool, Room, slack


def pool_of(sizes, memory):
    return Pool([Room(sizes[None], np.array([float(room)])) for room in memory])


def drawn(seed, n=9):
    draw = random.Random(seed)
    sizes = np.array([float(draw.randint(2, 9)) for _ in range(n)])
    prices = np.array([draw.choice([0.0, 1.0, 2.5, 4.0]) for _ in range(n)])
    return sizes, prices


def fitting(sizes, memory):
    """Return every set that fits."""
    n = range(len(sizes))
    every = (c for k in range(1, len(sizes) + 1) for c in combinations(n, k))
    return [c for c in every if sizes[list(c)].sum() <= memory]


@pytest.mark.parametrize("seed", range(10))
def test_worths_are_valid_and_the_pool_holds_what_is_dearer(seed):
    sizes, prices = drawn(seed)
    memory = np.array([12.0, 20.0])
    pool = pool_of(sizes, memory)
    best = [max(prices[list(c)].sum() for c in fitting(sizes, room)) for room in memory]
    for part in (0.5, 0.9, 1.0):
        worths = np.array(best) * part
        true, exact = pool.refill(prices, worths)
        assert (true >= np.array(best) * (1 - 1e-9)).all()
        assert exact
        dearer = pool.dearer(prices, worths)
        for type_, members in dearer:
            assert sizes[list(members)].sum() <= memory[type_]
            floor = worths[type_] + slack(prices, float(worths[type_]))
            assert prices[list(members)].sum() > floor
        assert bool(dearer) == (part < 1 and max(best) > 0)
        used = [j for _, members in dearer for j in members]
        assert all(used.count(j) <= 2 for j in used)


def test_the_slack_is_the_accuracy_of_prices():
    prices = np.array([1.0, 5.0])
    assert slack(prices, 2.0) == ACCURACY * 2.0
    assert slack(prices, 0.0) == ACCURACY * 5e-3


@pytest.mark.parametrize("asked", range(3))
def test_worths_stay_valid_where_the_search_for_sets_ends_early(asked):
    sizes, prices = drawn(1)
    answers = iter([False] * asked)
    room = Room(sizes[None], np.array([20.0]))
    pool = Pool([room], stopped=lambda: next(answers, True))
    best = max(prices[list(c)].sum() for c in fitting(sizes, 20))
    true, _ = pool.refill(prices, np.array([best / 2]))
    assert true[0] >= best * (1 - 1e-9)
