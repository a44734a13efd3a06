"""Configurations: sets of levels of size that fill a GPU, their knapsack and their program.

Sizes are whole levels of a grid, so that shards of one level are alike and the Gilmore-Gomory
program (Operations Research 9, 1961) grows with the grid and not with the models.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints

__all__ = ["Column", "Program", "Switch", "Table", "fill"]

Column = tuple[int, tuple[int, ...]]
"""Room of a GPU in levels, and the levels on it in ascending order."""

Switch = tuple[int, int]
"""A group of models with the same choice, and the option to which some of them change."""


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


class Program:
    """The restricted program in HiGHS: minimise the share of the fleet, cover every level.

    A place for a level may go to the next lower one, which keeps prices from falling.

    Parameters
    ----------
    demand
        (levels,) shards of each level.
    present
        (levels,) whether a level is or may come to be in demand.
    rooms, count
        (t,) rooms of GPUs in levels, ascending, and how many GPUs have each.
    """

    def __init__(self, demand: Floats, present: Bools, rooms: Ints, count: Floats) -> None:
        levels = np.flatnonzero(present[1:]) + 1
        # Row of the highest level present that a place of each level serves.
        self._row = np.searchsorted(levels, np.arange(len(demand) + 1), side="right") - 1
        self._size = len(demand)
        self._type = {room: at for at, room in enumerate(rooms.tolist())}
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]  # ships no types
        self._highs.setOptionValue("output_flag", False)  # noqa: FBT003 - the signature of HiGHS
        self._highs.setOptionValue("presolve", "off")  # solved again and again
        self._highs.setOptionValue("simplex_strategy", 4)  # primal: columns are added
        self._columns: dict[Column, int] = {}
        self._switches: dict[Switch, int] = {}
        self._groups: dict[int, int] = {}
        m, types, infinite = len(levels), len(count), highspy.kHighsInf
        none, empty = np.zeros(m + types, dtype=np.int32), np.array([], dtype=np.int32)
        lower = np.concatenate([demand[levels], np.full(types, -infinite)])
        upper = np.concatenate([np.full(m, infinite), np.zeros(types)])
        self._highs.addRows(m + types, lower, upper, 0, none, empty, np.array([]))
        self._m = m
        rows = np.arange(m, m + types, dtype=np.int32)
        self._highs.addCol(1.0, 0.0, infinite, types, rows, -count)
        for row in range(1, m):
            pair = np.array([row - 1, row], dtype=np.int32)
            self._highs.addCol(0.0, 0.0, infinite, 2, pair, np.array([1.0, -1.0]))
        largest = int(rooms[-1])
        self.add([(largest, (level,)) for level in levels.tolist() if level <= largest])

    def add(self, columns: Iterable[Column]) -> int:
        """Add sets of levels on GPUs of a room; return how many were new."""
        before = len(self._columns)
        for room, members in columns:
            if (room, members) in self._columns or room not in self._type:
                continue
            self._columns[room, members] = self._highs.getNumCol()
            count = Counter(int(self._row[level]) for level in members)
            count.pop(-1, None)  # below all that is present
            index = np.array([*count, self._m + self._type[room]], dtype=np.int32)
            value = np.array([*count.values(), 1.0], dtype=np.float64)
            self._highs.addCol(0.0, 0.0, highspy.kHighsInf, len(index), index, value)
        return len(self._columns) - before

    def switch(self, switch: Switch, most: int, change: Counter[int]) -> bool:
        """Let models of a group change to an option; whether that was new.

        Parameters
        ----------
        switch
            The group and the option.
        most
            Models of the group, which change to one option each.
        change
            Places that one change frees, by level; negative where it needs some.
        """
        if switch in self._switches:
            return False
        group = switch[0]
        none, empty = np.array([], dtype=np.int32), np.array([])
        if group not in self._groups:
            self._groups[group] = self._highs.getNumRow()
            self._highs.addRow(-highspy.kHighsInf, float(most), 0, none, empty)
        self._switches[switch] = self._highs.getNumCol()
        rows: Counter[int] = Counter()
        for level, places in change.items():
            rows[int(self._row[level])] += places
        rows[self._groups[group]] = 1
        index = np.array(list(rows), dtype=np.int32)
        value = np.array(list(rows.values()), dtype=np.float64)
        self._highs.addCol(0.0, 0.0, highspy.kHighsInf, len(index), index, value)
        return True

    def solve(self, seconds: float = math.inf) -> tuple[Floats | None, float]:
        """Return the price of each level and the share needed; None where that failed."""
        if seconds < math.inf:
            spent = self._highs.getRunTime()
            self._highs.setOptionValue("time_limit", spent + max(seconds, 0.0))
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None, math.inf
        dual = np.maximum(np.array(self._highs.getSolution().row_dual)[: self._m], 0.0)
        padded = np.concatenate([[0.0], dual])
        return padded[self._row[: self._size] + 1], float(
            self._highs.getInfo().objective_function_value
        )

    def solution(self) -> tuple[list[tuple[Column, float]], list[tuple[Switch, float]]]:
        """Return the columns and the changes of option that the last solution uses."""
        value = np.array(self._highs.getSolution().col_value)
        return (
            [(c, float(value[at])) for c, at in self._columns.items() if value[at] > 0],
            [(s, float(value[at])) for s, at in self._switches.items() if value[at] > 0],
        )
