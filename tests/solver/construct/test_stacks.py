"""Patterns of one link domain fit it, use nothing twice, and are the best where that is known."""

import random
from itertools import combinations

import numpy as np
import pytest

from kvplace.solver.construct.stacks import Shelf, fill


def shelf(width, heights, rest=None):
    """Return a shelf with a model for each height, of which 0 is none."""
    models = [j for j, height in enumerate(heights) if height]
    rest = np.zeros((len(heights), 0)) if rest is None else np.array(rest, dtype=float)
    return Shelf(
        width,
        np.array(models, dtype=np.int64),
        np.array([10 * j + width for j in models], dtype=np.int64),
        np.array([heights[j] for j in models], dtype=np.int64),
        rest[models],
    )


def filled(shelves, worth, room, *, left=None, rest=None, tries=3):
    """Fill a domain; return the pattern, what is left, and the options fixed."""
    left = np.ones(len(worth), dtype=np.int64) if left is None else np.array(left)
    fixed = np.full(len(worth), -1, dtype=np.int64)
    rest = np.zeros((len(room), 0)) if rest is None else rest
    pattern = fill(shelves, np.array(worth, dtype=float), left, fixed, np.array(room), rest, tries)
    return pattern, left, fixed


def test_one_gpu_is_a_knapsack():
    draw = random.Random(1)
    for _ in range(40):
        heights = [draw.randint(1, 30) for _ in range(7)]
        worth = [draw.uniform(0.5, 2.0) for _ in heights]
        pattern, left, _ = filled([shelf(1, heights)], worth, [50])
        best = max(
            sum(worth[j] for j in some)
            for size in range(8)
            for some in combinations(range(7), size)
            if sum(heights[j] for j in some) <= 50
        )
        assert pattern.worth == pytest.approx(best)
        assert sorted(j for j, _, _ in pattern.copies) == np.flatnonzero(left == 0).tolist()


@pytest.mark.parametrize("widths", [(4, 2, 1), (8, 4, 2, 1), (6, 4, 1), (3,), (2, 1)])
def test_a_pattern_fits_and_takes_what_is_left_alone(widths):
    draw = random.Random(sum(widths))
    for _ in range(25):
        count, gpus, entries = 12, draw.choice([widths[0], 8]), draw.choice([0, 2])
        left = [draw.randint(0, 2) for _ in range(count)]
        need = [[draw.uniform(0, 0.4) for _ in range(entries)] for _ in range(count)]
        levels = {w: [draw.randint(0, 60) for _ in range(count)] for w in widths}
        shelves = [shelf(w, levels[w], np.reshape(need, (count, entries))) for w in widths]
        room = sorted((draw.randint(40, 100) for _ in range(gpus)), reverse=True)
        worth = [draw.uniform(0.5, 2.0) for _ in range(count)]
        pattern, after, fixed = filled(
            shelves, worth, room, left=left, rest=np.ones((gpus, entries))
        )
        used = np.zeros(gpus, dtype=np.int64)
        also = np.zeros((gpus, entries))
        for j, row, at in pattern.copies:
            assert len(at) == len(set(at)) == row - 10 * j == fixed[j] - 10 * j
            used[list(at)] += levels[len(at)][j]
            also[list(at)] += need[j]
        assert (used <= room).all()
        assert (also <= 1 + 1e-9).all()
        placed = np.bincount([j for j, _, _ in pattern.copies], minlength=count)
        assert (after == np.array(left) - placed).all()
        assert (after >= 0).all()
        for g in range(gpus):
            here = [j for j, _, at in pattern.copies if g in at]
            assert len(here) == len(set(here))


def test_wide_and_narrow_copies_fill_a_domain_to_the_last_level():
    # 60 on all four GPUs, 40 on the first two, and 40 twice on single ones.
    wide, half, one = [60, 0, 0, 0], [0, 40, 0, 0], [0, 0, 40, 40]
    shelves = [shelf(4, wide), shelf(2, half), shelf(1, one)]
    pattern, left, _ = filled(shelves, [240, 80, 40, 40], [100] * 4)
    assert pattern.worth == 400
    assert not left.any()


def test_copies_of_one_model_are_split_alike():
    shelves = [shelf(2, [70]), shelf(1, [90])]
    pattern, left, fixed = filled(shelves, [1.0], [100, 100], left=[2])
    assert left[0] == 0
    assert [row for _, row, _ in pattern.copies] == [1, 1]
    assert fixed[0] == 1
