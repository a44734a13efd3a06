"""Compiled covers beside the covers in Python and beside brute force."""

import random
from itertools import combinations

import numpy as np
import pytest

from kvplace.solver.exact.set_cover_kernel import MOST_MODELS, tight_cover


def cover(sizes, capacity, count, sets=2000, nodes=5000):
    """A cover priced by size."""
    sizes, capacity = np.array(sizes, dtype=float), np.array(capacity, dtype=float)
    return tight_cover(sizes, sizes, capacity, capacity, np.array(count), sets, nodes)


def packable(sizes, rooms):
    """Whether whole sizes fit some rooms."""
    if not sizes:
        return True
    first, *rest = sizes
    for at, room in enumerate(rooms):
        if first <= room and room not in rooms[:at]:
            left = [*rooms[:at], room - first, *rooms[at + 1 :]]
            if packable(rest, left):
                return True
    return False


@pytest.mark.parametrize("seed", range(40))
def test_a_cover_is_found_where_there_is_one_and_only_there(seed):
    draw = random.Random(seed)
    capacity, count = [draw.randint(8, 14), draw.randint(15, 20)], [draw.randint(1, 2), 1]
    sizes = [draw.randint(1, 9) for _ in range(draw.randint(3, 9))]
    rooms = [c for c, many in zip(capacity, count, strict=True) for _ in range(many)]
    found = cover(sizes, capacity, count)
    assert (found is not None) == packable(sorted(sizes, reverse=True), rooms)
    if found is not None:
        assert sorted(j for _, models in found for j in models) == list(range(len(sizes)))
        assert all(sum(sizes[j] for j in models) <= capacity[t] for t, models in found)
        used = [t for t, _ in found]
        assert all(used.count(t) <= count[t] for t in range(2))


def test_prices_that_cost_more_than_all_gpus_are_refused_at_once():
    prices = np.array([6.0, 6.0])
    one, worth = np.array([10.0]), np.array([10.0])
    assert tight_cover(np.array([5.0, 5.0]), prices, one, worth, np.array([1]), 100, 100) is None


def test_too_many_models_sets_or_nodes_are_given_up():
    assert cover([1] * (MOST_MODELS + 1), [100.0], [1]) is None
    assert cover([1] * 12, [6.0], [2], sets=5) is None
    assert cover([5, 5, 5, 5], [10.0], [2], nodes=0) is None


def test_sixty_four_models_are_bits_of_one_integer():
    found = cover([2] * MOST_MODELS, [128.0], [1])
    assert sorted(found[0][1]) == list(range(MOST_MODELS))


def test_sets_that_lose_too_much_are_not_needed():
    # Two GPUs of 10: any set below 9 loses more than the two bytes that there are to lose.
    sizes = [6, 4, 5, 3]
    found = cover(sizes, [10.0], [2])
    assert sorted(sum(sizes[j] for j in models) for _, models in found) == [8, 10]
    pairs = [c for c in combinations(range(4), 2) if 8 <= sum(sizes[j] for j in c) <= 10]
    assert all(tuple(sorted(models)) in pairs for _, models in found)
