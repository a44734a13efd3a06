"""The dearest sets of size classes for every room: an unbounded knapsack on a grid.

Sizes are whole classes of a grid, so that shards of one class are alike and the program grows with
the grid and not with the models.
"""

from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Ints

__all__ = ["Table", "fill"]


@dataclass(frozen=True, slots=True)
class Table:
    """The dearest sets for each room.

    Parameters
    ----------
    prices
        (levels,) price of a shard by its level; that of level 0 is 0.
    worth
        (room + 1,) highest price of shards that fit each room, any number alike.
    first
        (room + 1,) a level in a set of that price; 0 where one less room is as good.
    """

    prices: Ints
    worth: Ints
    first: Ints

    def best(self, room: int) -> tuple[int, ...]:
        """Return a dearest set for a room."""
        members = []
        while room > 0 and self.worth[room] > 0:
            level = int(self.first[room])
            if level:
                members.append(level)
            room -= level or 1
        return tuple(sorted(members))

    def columns(self, room: int, most: int) -> list[tuple[int, ...]]:
        """Return dear sets for a room: for each of some levels the best set that holds it."""
        if most == 1:
            return [self.best(room)]
        dearer = np.flatnonzero(np.diff(self.prices[: room + 1], prepend=0) > 0)
        value = self.prices[dearer] + self.worth[room - dearer]
        good = dearer[np.argsort(-value, kind="stable")][:most]
        found = {tuple(sorted([level, *self.best(room - level)])) for level in good.tolist()}
        return sorted(found)


def fill(prices: Ints, room: int) -> Table:
    """Solve the knapsack for every room by dynamic programming.

    Parameters
    ----------
    prices
        (levels,) non-decreasing, 0 first, at least `room` + 1 of them.
    room
        The largest room.
    """
    worth = [0] * (room + 1)
    first = [0] * (room + 1)
    # The table backwards, so that both operands of the sum are contiguous.
    backwards = np.zeros(room + 1, dtype=np.int64)
    for at in range(1, room + 1):
        sums = backwards[room - at + 1 :] + prices[1 : at + 1]
        best = int(sums.argmax())
        value = int(sums[best])
        if value > worth[at - 1]:
            worth[at], first[at] = value, best + 1
        else:
            worth[at] = worth[at - 1]
        backwards[room - at] = worth[at]
    return Table(prices, np.array(worth, dtype=np.int64), np.array(first, dtype=np.int64))
