"""The dearest sets of size classes for every room: an unbounded knapsack on a grid.

Sizes are whole classes of a grid, so that shards of one class are alike and the program grows with
the grid and not with the models.
"""

from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Ints


@dataclass(frozen=True, slots=True)
class Table:
    """The dearest sets for each room.

    Parameters
    ----------
    worth
        (room + 1,) highest price of shards that fit each room, any number alike.
    first
        (room + 1,) a level in a set of that price; 0 where one less room is as good.
    """

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


class Tables:
    """The dearest sets of each room of shards of several kinds.

    Parameters
    ----------
    prices
        (classes,) kind by kind, of a shard by its level.
    width
        Classes of each kind.
    rooms
        (t,) rooms, numbered as the classes of their kind.
    nested
        Whether a room holds shards of its kind and of those before it; else it holds one of its
        kind at most, and any number of the first kind.

    Attributes
    ----------
    prices
        (classes,) the price of the dearest class that goes wherever each class goes.
    """

    def __init__(self, prices: Ints, width: int, rooms: Ints, *, nested: bool) -> None:
        self._width, self._nested = width, nested
        rows = np.where(np.arange(width) > 0, prices.reshape(-1, width), 0)
        rows = np.maximum.accumulate(rows, axis=1)
        self._rows: Ints = (
            np.maximum.accumulate(rows, axis=0) if nested else np.maximum(rows, rows[0])
        )
        self.prices: Ints = self._rows.reshape(-1)
        largest: dict[int, int] = {}
        for kind, level in (divmod(room, width) for room in rooms.tolist()):
            among = self._others(kind)
            largest[among] = max(largest.get(among, 0), level)
        self._tables = {kind: fill(self._rows[kind], level) for kind, level in largest.items()}

    def _others(self, kind: int) -> int:
        """Return the kind of which a room holds any number."""
        return kind if self._nested else 0

    def worth(self, rooms: Ints) -> Ints:
        """Return the highest price of shards that fit each room."""
        return np.array([self._with_one(room).max() for room in rooms.tolist()], dtype=np.int64)

    def _with_one(self, room: int) -> Ints:
        """Return the price of the dearest set of a room by the level of a shard of its kind."""
        kind, most = divmod(room, self._width)
        others = self._tables[self._others(kind)].worth
        found: Ints = self._rows[kind, : most + 1] + others[most::-1]
        return found

    def columns(self, room: int, most: int) -> list[tuple[int, ...]]:
        """Return dear sets of classes for a room: for each of some levels the best that has it."""
        kind, size = divmod(room, self._width)
        value, others = self._with_one(room), self._others(kind)
        dearer = np.flatnonzero(np.diff(self._rows[kind, : size + 1], prepend=0) > 0)
        found = set()
        for level in dearer[np.argsort(-value[dearer], kind="stable")][:most].tolist():
            beside = self._tables[others].best(size - level)
            one = [self._class(kind, level), *(self._class(others, level) for level in beside)]
            found.add(tuple(sorted(one)))
        return sorted(found)

    def _class(self, kind: int, level: int) -> int:
        """Return the class that a level stands for: of the first kind in the room so dear."""
        step = 1 if self._nested else max(kind, 1)
        first = np.searchsorted(self._rows[: kind + 1 : step, level], self._rows[kind, level])
        return int(first) * step * self._width + level


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
    return Table(np.array(worth, dtype=np.int64), np.array(first, dtype=np.int64))
