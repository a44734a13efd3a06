"""Rows of the program over classes, which of them serve others, and the sets it begins with."""

from collections import Counter

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.column_generation.levels import Column, LevelRooms, Need


def class_rows(classes: Ints, need: Need) -> Ints:
    """Return the row of each class: of the highest present of its kind that is no larger.

    Where there is none, of the kind before it; -1 where there is none of any.
    """
    found = np.full(len(need.demand), -1, dtype=np.int64)
    levels = np.arange(need.width)
    before = np.full(need.width, -1, dtype=np.int64)
    for kind in range(need.kinds):
        own = np.flatnonzero(classes // need.width == kind)
        at = np.searchsorted(classes[own] % need.width, levels, side="right") - 1
        if len(own):
            before = np.where(at >= 0, own[at], before)
        found[kind * need.width + levels] = before
        if need.single:
            before = found[: need.width]
    return found


def falling(classes: Ints, need: Need) -> list[tuple[int, int]]:
    """Return pairs of rows of which a place for the second serves the first.

    Those are the next lower of the same kind, and of each lower kind, or of the first alone where
    kinds are not nested, the highest that is no larger, unless other pairs lead to it.
    """
    kinds, levels = classes // need.width, classes % need.width
    row_of = np.full((need.kinds, need.width), -1)
    row_of[kinds, levels] = np.arange(len(classes))
    there = np.where(row_of >= 0, np.arange(need.width), 0)
    up_to = np.maximum.accumulate(there, axis=1)
    steps = [kinds - step for step in range(1, need.kinds)]
    lower = steps if need.nested else [np.where(kinds > 0, 0, -1)]
    best, found = np.zeros_like(levels), list[tuple[int, int]]()
    for of, most in [(kinds, levels - 1), *((of, levels) for of in lower)]:
        level = np.where(of >= 0, up_to[of, most], 0)
        rows = np.flatnonzero(level > best)
        found += zip(row_of[of[rows], level[rows]].tolist(), rows.tolist(), strict=True)
        best = np.maximum(best, level)
    return found


def first_fit(need: Need, rooms: LevelRooms) -> list[Column]:
    """Return the sets that first fit decreasing makes, the smallest rooms first."""
    left, found = need.demand.copy(), []
    by_kind = left.reshape(need.kinds, need.width)
    for room, count in zip(rooms.levels.tolist(), rooms.count.tolist(), strict=True):
        open_ = int(count)
        held = by_kind[: room // need.width + 1 if need.nested else 1]
        while open_ > 0:
            rest, members = room % need.width, Counter[int]()
            while rest > 0 and len(fits := np.flatnonzero((held[:, 1 : rest + 1] >= 1).any(0))):
                level = int(fits[-1]) + 1
                kind = int(np.flatnonzero(held[:, level] >= 1)[-1])
                class_ = kind * need.width + level
                many = int(min(rest // level, left[class_]))
                members[class_] += many
                left[class_] -= many
                rest -= many * level
            if not members:
                break
            again = min(open_ - 1, *(int(left[x] // k) for x, k in members.items()))
            for class_, many in members.items():
                left[class_] -= again * many
            found.append((room, tuple(sorted(members.elements()))))
            open_ -= 1 + again
    return found
