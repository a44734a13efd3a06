"""Random numbers for kernels."""

import numpy as np
import pytest

from kvplace.solver.chance import drawn, drawn_part, seeded


@pytest.mark.parametrize("below", [1, 2, 3, 7, 1000])
def test_random_numbers_are_below_their_limit_and_even(below):
    chance = np.array([12345], dtype=np.uint64)
    found = [drawn(chance, below) for _ in range(3000)]
    assert 0 <= min(found) <= max(found) < below
    if below <= 7:
        counts = np.bincount(found, minlength=below)
        assert abs(counts - 3000 / below).max() < 5 * (3000 / below) ** 0.5
    again = np.array([12345], dtype=np.uint64)
    assert [drawn(again, below) for _ in range(3000)] == found


def test_random_parts_are_parts_of_one():
    chance = np.array([99], dtype=np.uint64)
    parts = [drawn_part(chance) for _ in range(3000)]
    assert 0.0 <= min(parts) < 0.01
    assert 0.99 < max(parts) < 1.0
    assert abs(sum(parts) / 3000 - 0.5) < 0.03


def test_seeds_begin_apart():
    assert len({int(seeded(seed)[0]) for seed in range(100)}) == 100
    assert seeded(3) == seeded(3)
