"""Rows of the program over classes, which of them serve others, and the sets it begins with."""

from bisect import bisect_right
from collections import Counter
from itertools import pairwise

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.column_generation.levels import Column, LevelRooms, Need

__all__ = ["class_rows", "falling", "first_fit"]


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

    Those are the next lower of the same kind, and of the first kind the highest that is no larger.
    """
    kinds, levels = classes // need.width, classes % need.width
    if need.nested:
        return _falling_both(kinds.tolist(), levels.tolist())
    found = [(row - 1, row) for row in range(1, len(classes)) if kinds[row - 1] == kinds[row]]
    own = np.flatnonzero(kinds == 0)
    for row in np.flatnonzero(kinds > 0).tolist():
        at = int(np.searchsorted(levels[own], levels[row], side="right")) - 1
        if at >= 0:
            found.append((int(own[at]), row))
    return found


def _falling_both(second: list[int], first: list[int]) -> list[tuple[int, int]]:
    """Return for each row at most two others of which it has both sizes.

    Those are the next lower of the same first size, and of the next lower first size that has any.
    """
    of_first: dict[int, tuple[list[int], list[int]]] = {}
    for row, (kind, level) in enumerate(zip(second, first, strict=True)):
        of_first.setdefault(level, ([], []))[0].append(kind)
        of_first[level][1].append(row)
    levels, found = sorted(of_first), []
    for at, level in enumerate(levels):
        kinds, rows = of_first[level]
        found += [(lower, row) for lower, row in pairwise(rows)]
        for kind, row in zip(kinds, rows, strict=True):
            for below in range(at - 1, -1, -1):
                others, serving = of_first[levels[below]]
                last = bisect_right(others, kind) - 1
                if last >= 0:
                    found.append((serving[last], row))
                    break
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
