"""Size classes: whether a fleet can hold what is to be placed, by size on a grid.

The configuration program says so, whatever the number of models. Its dual prices are worths of
classes; a model counts with the cheapest of its options, and the program lets it change to that.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables
from kvplace.solver.column_generation.levels import Column, LevelRooms, Need, Switch
from kvplace.solver.column_generation.loop import generate
from kvplace.solver.column_generation.master import Duals, Entry, Master
from kvplace.solver.column_generation.pair_knapsack import PairTables

__all__ = ["Answer", "LevelProgram", "Program"]

SCALE = 10**9
"""Integer prices: worth of the dearest level."""
PICKED = 60
"""Columns given out at once, of all rooms together or one of each."""
PAIRS_PICKED = 200
"""The same where classes are pairs of levels, shared out by the number of GPUs."""
ROUNDS = 100
"""Solutions of the restricted program at most, per target."""
SMOOTH = 0.7
"""Part of the best prices known in the prices asked about next (Wentges, 1997)."""
CONVERGED = 1e-5
"""Distance of the share to what is proved at which no further column is looked for."""


class Program:
    """The restricted master over classes: a place for a class may go to a lower one.

    Parameters
    ----------
    need
        What is to be placed, or part of it.
    rooms
        The GPUs.
    """

    def __init__(self, need: Need, rooms: LevelRooms) -> None:
        classes = np.flatnonzero(need.present)
        self._width, self._classes = need.width, len(classes)
        self._row = _rows(classes, need)
        self._type = {room: at for at, room in enumerate(rooms.levels.tolist())}
        # The primal simplex: columns are added.
        self._master = Master(
            need.demand[classes], rooms.count, falling=_falling(classes, need), simplex_strategy=4
        )
        self._switches: set[Switch] = set()
        self._groups: dict[int, int] = {}
        backwards = rooms.levels[::-1].tolist() if need.pairs else [int(rooms.levels[-1])]
        alone = (
            next(((room, (c,)) for room in backwards if need.holds(room, (c,))), None)
            for c in classes.tolist()
        )
        self.add(column for column in alone if column is not None)

    def add(self, columns: Iterable[Column]) -> int:
        """Add sets of classes on GPUs of a room; return how many were new."""
        fitting = (column for column in columns if column[0] in self._type)
        return self._master.add((column, self._entry(*column)) for column in fitting)

    def _entry(self, room: int, members: tuple[int, ...]) -> Entry:
        count = Counter(int(self._row[class_]) for class_ in members)
        count.pop(-1, None)  # below all that is present
        count[self._classes + self._type[room]] = 1
        return Entry(list(count), list(count.values()))

    def switch(self, switch: Switch, most: int, change: Counter[int]) -> bool:
        """Let models of a group change to an option; whether that was new.

        Parameters
        ----------
        switch
            The group and the option.
        most
            Models of the group, which change to one option each.
        change
            Places that one change frees, by class; negative where it needs some.
        """
        if switch in self._switches:
            return False
        self._switches.add(switch)
        if switch[0] not in self._groups:
            self._groups[switch[0]] = self._master.add_row(float(most))
        rows: Counter[int] = Counter()
        for class_, places in change.items():
            rows[int(self._row[class_])] += places
        rows[self._groups[switch[0]]] = 1
        entry = Entry(list(rows), list(rows.values()))
        return self._master.add([(("switch", switch), entry)]) > 0

    def solve(self, seconds: float = math.inf) -> tuple[Floats | None, float]:
        """Return the price of each class and the share needed; None where that failed."""
        duals = self._master.solve(seconds)
        if duals is None:
            return None, math.inf
        return self.by_class(duals), duals.share

    @property
    def master(self) -> Master:
        """The program itself."""
        return self._master

    def by_class(self, duals: Duals) -> Floats:
        """Return the price of each class."""
        padded: Floats = np.concatenate([[0.0], duals.prices])
        return padded[self._row + 1]

    def solution(self) -> tuple[list[tuple[Column, float]], list[tuple[Switch, float]]]:
        """Return the columns and the changes of option that the last solution uses."""
        columns: list[tuple[Column, float]] = []
        switches: list[tuple[Switch, float]] = []
        for key, value in self._master.solution().items():
            if isinstance(key, tuple) and key[0] == "switch":
                switches.append((key[1], value))
            else:
                columns.append((cast("Column", key), value))
        return columns, switches


@dataclass(frozen=True, slots=True)
class Answer:
    """The best prices of a program, what they prove, and what it takes.

    Parameters
    ----------
    table
        Prices of the classes and worth of every room.
    excess
        Price of all models above the worth of all GPUs, as a share of it; above 0, the need
        cannot be met.
    share
        Of the fleet that meets the need in fractions of GPUs; ``inf`` where none was found.
    program
        Holds the solution of that share.
    """

    table: Tables | PairTables
    excess: float
    share: float
    program: Program


class LevelProgram:
    """The program of one fleet; columns and prices found for one need serve the next.

    Attributes
    ----------
    centre
        (classes,) the best prices of the last need, the highest 1; None before the first.
    """

    def __init__(self) -> None:
        self._columns: dict[Column, None] = {}
        self.centre: Floats | None = None

    def add(self, columns: Iterable[Column], need: Need) -> None:
        """Take sets as columns; what does not fit its room loses its smallest members.

        Parameters
        ----------
        columns
            The sets, their members in any order.
        need
            Says which classes there are.
        """
        width = need.width
        for room, members in columns:
            classes = sorted((c for c in members if c % width), key=lambda c: c % width)
            while classes and not need.holds(room, classes):
                classes.pop(0)
            if classes:
                self._columns[room, tuple(sorted(classes))] = None

    def decide(
        self,
        need: Need,
        rooms: LevelRooms,
        watch: Watch,
        *,
        part: float = 0.0,
        rounds: int = ROUNDS,
    ) -> Answer:
        """Return whether a need can be met, as far as the program can say.

        Parameters
        ----------
        need, rooms
            What is to be placed where.
        watch
            Ends it early.
        part
            Go on until this part of what the columns known need above the fleet is proved: 1 for
            the least share, 0 to end once one of the two is proved.
        rounds
            Solutions of the restricted program at most.
        """
        program = Program(need, rooms)
        program.add(self._columns or _first_fit(need, rooms))
        pricing = _ClassPricing(program, need, rooms, self._columns, part)
        if self.centre is not None:
            pricing.try_centre(self.centre)
        share = generate(program.master, pricing, rounds, watch)
        self.centre = pricing.centre
        return Answer(pricing.table, pricing.excess, share, program)


class _ClassPricing:
    """Prices sets of classes by dynamic programming, at prices smoothed towards the best known."""

    def __init__(
        self,
        program: Program,
        need: Need,
        rooms: LevelRooms,
        known: dict[Column, None],
        part: float,
    ) -> None:
        self._program, self._need, self._rooms, self._part = program, need, rooms, part
        self._columns, self._groups = known, need.groups()
        # The fluid bound is the first centre: prices as sizes.
        self.centre = np.tile(np.linspace(0.0, 1.0, need.width), len(need.kinds))
        self._excess = -1.0
        self.table, self.excess = _priced(need, rooms, self.centre)

    def try_centre(self, prices: Floats) -> None:
        """Begin with some prices where they prove more."""
        found, excess = _priced(self._need, self._rooms, prices)
        if excess > self.excess:
            self.table, self.excess = found, excess
            self.centre, self._excess = prices, excess

    def settled(self, share: float) -> bool:
        if self.excess > 0 and (not self._part or self.excess >= self._part * (share - 1)):
            return True
        return share <= max(1.0, (1 + self.excess) * (1 + CONVERGED))

    def extend(self, master: Master, duals: Duals) -> bool:  # noqa: ARG002 - the program has it
        need, program, prices = self._need, self._program, self._program.by_class(duals)
        changes = sum(program.switch(*more) for more in _cheaper(need, self._groups, prices))
        added = 0
        for weight in (SMOOTH, 0.0):
            mixed = weight * self.centre + (1 - weight) * prices / max(float(prices.max()), 1e-300)
            found, more = _priced(need, self._rooms, mixed)
            if more > self.excess:
                self.table, self.excess = found, more
            if more > self._excess:  # of the prices that the program gave, however poor at first
                self.centre = found.prices / max(int(found.prices.max()), 1)
                self._excess = more
            new = _dear(found, self._rooms)
            added = program.add(new)
            self._columns.update(dict.fromkeys(new))
            if added or (self.excess > 0 and not self._part):
                break
        return bool(added or changes)


def _rows(classes: Ints, need: Need) -> Ints:
    """Return the row of each class: of the highest present of its kind that is no larger.

    Where there is none, of the kind before it; -1 where there is none of any.
    """
    found = np.full(len(need.demand), -1, dtype=np.int64)
    levels = np.arange(need.width)
    before = np.full(need.width, -1, dtype=np.int64)
    for kind in range(len(need.kinds)):
        own = np.flatnonzero(classes // need.width == kind)
        at = np.searchsorted(classes[own] % need.width, levels, side="right") - 1
        if len(own):
            before = np.where(at >= 0, own[at], before)
        found[kind * need.width + levels] = before
    return found


def _falling(classes: Ints, need: Need) -> list[tuple[int, int]]:
    """Return pairs of rows of which a place for the second serves the first.

    Those are the next lower of the same kind, and of each kind before it the highest that is no
    larger, unless one of those already found has a place that serves it.
    """
    kinds, levels = classes // need.width, classes % need.width
    if need.pairs:
        return _falling_pairs(kinds.tolist(), levels.tolist())
    found = [(row - 1, row) for row in range(1, len(classes)) if kinds[row - 1] == kinds[row]]
    of_kind = [np.flatnonzero(kinds == kind) for kind in range(len(need.kinds))]
    for row in np.flatnonzero(kinds > 0).tolist():
        served = -1
        for kind in range(int(kinds[row]) - 1, -1, -1):
            own = of_kind[kind]
            at = int(np.searchsorted(levels[own], levels[row], side="right")) - 1
            if at >= 0 and levels[own[at]] > served:
                served = int(levels[own[at]])
                found.append((int(own[at]), row))
    return found


def _falling_pairs(second: list[int], first: list[int]) -> list[tuple[int, int]]:
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


def _first_fit(need: Need, rooms: LevelRooms) -> list[Column]:
    """Return the sets that first fit decreasing makes, the smallest rooms first."""
    left, found = need.demand.copy(), []
    by_kind = left.reshape(len(need.kinds), need.width)
    for room, count in zip(rooms.levels.tolist(), rooms.count.tolist(), strict=True):
        open_ = int(count)
        kinds = int(np.searchsorted(need.kinds, room, side="right"))
        if need.pairs:
            kinds = room // need.width + 1
        held = by_kind[:kinds]
        while open_ > 0:
            rest, second, members = room % need.width, len(held), Counter[int]()
            while rest > 0 and len(
                fits := np.flatnonzero((held[:second, 1 : rest + 1] >= 1).any(0))
            ):
                level = int(fits[-1]) + 1
                kind = int(np.flatnonzero(held[:second, level] >= 1)[-1])
                class_ = kind * need.width + level
                many = int(min(rest // level, left[class_]))
                if need.pairs:
                    many = min(many, (second - 1) // kind if kind else many)
                    second -= many * kind
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


def _priced(need: Need, rooms: LevelRooms, prices: Floats) -> tuple[Tables | PairTables, float]:
    """Round prices to integers; return them with what they prove."""
    scale = SCALE / max(float(prices.max()), 1e-300)
    whole: Ints = np.floor(prices * scale).astype(np.int64)
    table: Tables | PairTables
    if need.pairs:
        table = PairTables(whole, need.width, rooms.levels)
    else:
        table = Tables(whole, need.kinds, rooms.levels)
    total = need.least_price(table.prices)
    available = float((table.worth(rooms.levels) * rooms.count).sum())
    excess = total / available - 1 - 1e-12 if available > 0 else float(total > 0)
    return table, excess


def _dear(table: Tables | PairTables, rooms: LevelRooms) -> list[Column]:
    """Return sets that are dear at some prices, for every room."""
    most = [max(1, PICKED // len(rooms.levels))] * len(rooms.levels)
    if isinstance(table, PairTables):
        most = np.ceil(PAIRS_PICKED * rooms.count / rooms.count.sum()).astype(np.int64).tolist()
    found: list[Column] = []
    for room, some in zip(rooms.levels.tolist(), most, strict=True):
        found += [(room, members) for members in table.columns(room, some) if members]
    return found


def _cheaper(need: Need, groups: Ints, prices: Floats) -> list[tuple[Switch, int, Counter[int]]]:
    """Return the changes of option that make models cheaper, as `Program.switch` takes them."""
    if not len(groups):
        return []
    cost = np.where(need.shards > 0, prices[need.class_] * need.shards, np.inf)
    _, first, count = np.unique(groups, return_index=True, return_counts=True)
    best = cost[first].argmin(axis=1)
    better = cost[first, best] < cost[first, need.chosen[first]] * (1 - 1e-9)
    found = []
    for j, option, most in zip(
        first[better].tolist(), best[better].tolist(), count[better].tolist(), strict=True
    ):
        now, then = int(need.chosen[j]), option
        change = Counter({int(need.class_[j, now]): int(need.shards[j, now])})
        change[int(need.class_[j, then])] -= int(need.shards[j, then])
        found.append(((int(groups[j]), then), most, change))
    return found
