"""The dearest sets of size classes for every room: an unbounded knapsack on a grid.

Sizes are whole classes of a grid, so that shards of one class are alike and the program grows with
the grid and not with the models.
"""

from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Ints

__all__ = ["NestedTables", "Table", "Tables", "fill"]


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
    """The dearest sets of each room with at most one shard of a split model each.

    Parameters
    ----------
    prices
        (classes,) kind by kind, of a shard by its level; the first kind is of undivided models.
    width
        Classes of each kind.
    rooms
        (t,) rooms, numbered as the classes of the kind that each may hold one shard of.

    Attributes
    ----------
    prices
        (classes,) the price of the dearest class that goes wherever each class goes.
    """

    def __init__(self, prices: Ints, width: int, rooms: Ints) -> None:
        self._width, self._levels = width, np.arange(width)
        rows = np.maximum.accumulate(
            np.where(self._levels > 0, prices.reshape(-1, width), 0), axis=1
        )
        self._rows: Ints = np.maximum(rows, rows[0])
        self.prices: Ints = self._rows.reshape(-1)
        self._table = fill(rows[0], int((rooms % width).max()))

    def worth(self, rooms: Ints) -> Ints:
        """Return the highest price of shards that fit each room."""
        return np.array([self._with_one(room).max() for room in rooms.tolist()], dtype=np.int64)

    def _with_one(self, room: int) -> Ints:
        """Return the price of the dearest set of a room by the level of the shard that is alone."""
        most = room % self._width
        found: Ints = self._rows[room // self._width, : most + 1] + self._table.worth[most::-1]
        return found

    def columns(self, room: int, most: int) -> list[tuple[int, ...]]:
        """Return dear sets of classes for a room."""
        width, row = self._width, self._rows[room // self._width]
        value = self._with_one(room)
        dearer = np.flatnonzero(np.diff(row[: len(value)], prepend=0) > 0)
        good = dearer[np.argsort(-value[dearer], kind="stable")][:most].tolist()
        alone = [
            level + room // width * width * int(row[level] > self._rows[0, level]) for level in good
        ]
        found = {
            tuple(sorted([class_, *self._table.best(room % width - level)]))
            for class_, level in zip(alone, good, strict=True)
        }
        return sorted(found)


class NestedTables:
    """The dearest sets of each room of what GPUs of its type hold.

    Parameters
    ----------
    prices
        (classes,) kind by kind, of a shard by its level; each kind is of what fits GPUs of its type
        and of those after it.
    width
        Classes of each kind.
    rooms
        (t,) rooms, numbered as the classes of their type.

    Attributes
    ----------
    prices
        (classes,) the price of the dearest class that goes wherever each class goes.
    """

    def __init__(self, prices: Ints, width: int, rooms: Ints) -> None:
        rows = np.where(np.arange(width) > 0, prices.reshape(-1, width), 0)
        self._rows: Ints = np.maximum.accumulate(np.maximum.accumulate(rows, axis=1), axis=0)
        self.prices: Ints = self._rows.reshape(-1)
        self._width = width
        self._tables: dict[int, Table] = {}
        for room in np.sort(rooms)[::-1].tolist():
            kind, level = divmod(room, width)
            if kind not in self._tables:
                self._tables[kind] = fill(self._rows[kind], level)

    def worth(self, rooms: Ints) -> Ints:
        """Return the highest price of shards that fit each room."""
        pairs = (divmod(room, self._width) for room in rooms.tolist())
        return np.array([self._tables[k].worth[level] for k, level in pairs], dtype=np.int64)

    def columns(self, room: int, most: int) -> list[tuple[int, ...]]:
        """Return dear sets of classes for a room: for each of some levels the best that has it."""
        kind, room = divmod(room, self._width)
        row, table = self._rows[kind, : room + 1], self._tables[kind]
        dearer = np.flatnonzero(np.diff(row, prepend=0) > 0)
        value = row[dearer] + table.worth[room - dearer]
        good = dearer[np.argsort(-value, kind="stable")][:most].tolist()
        sets = ([level, *table.best(room - level)] for level in good)
        return sorted({tuple(sorted(self._class(kind, level) for level in one)) for one in sets})

    def _class(self, kind: int, level: int) -> int:
        """Return the class that a level of a dearest set stands for: of the first kind so dear."""
        first = int(np.searchsorted(self._rows[: kind + 1, level], self._rows[kind, level]))
        return first * self._width + level


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
