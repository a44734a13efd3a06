"""Levels: what is to be placed, by size on a grid, and whether a fleet can hold it.

The configuration program says so, whatever the number of models. Its dual prices are worths of
levels; a model counts with the cheapest of its options, and the program lets it change to that.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Table, fill
from kvplace.solver.column_generation.loop import generate
from kvplace.solver.column_generation.master import Duals, Entry, Master

__all__ = [
    "Answer",
    "Column",
    "LevelProgram",
    "LevelRooms",
    "Need",
    "Program",
    "Switch",
    "need_of",
    "several_of",
]

Column = tuple[int, tuple[int, ...]]
"""Room of a GPU in levels, and the levels on it in ascending order."""

Switch = tuple[int, int]
"""A group of models with the same choice, and the option to which some of them change."""

SCALE = 10**9
"""Integer prices: worth of the dearest level."""
PICKED = 60
"""Columns given out at once, of all rooms together or one of each."""
ROUNDS = 100
"""Solutions of the restricted program at most, per target."""
SMOOTH = 0.7
"""Part of the best prices known in the prices asked about next (Wentges, 1997)."""
CONVERGED = 1e-5
"""Distance of the share to what is proved at which no further column is looked for."""


@dataclass(frozen=True, slots=True)
class LevelRooms:
    """GPUs by room.

    Parameters
    ----------
    levels
        (t,) levels of room, ascending.
    count
        (t,) how many GPUs have so many.
    """

    levels: Ints
    count: Floats


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be placed, on levels.

    Parameters
    ----------
    demand
        (levels,) shards of each level, of models with one option and, of the others, in the
        option that they have at first.
    level, shards
        (m, o) level of a shard and number of shards of each option of each of the others; no
        shards where a model has fewer options.
    chosen
        (m,) the option that each has at first.
    """

    demand: Floats
    level: Ints
    shards: Ints
    chosen: Ints

    def groups(self) -> Ints:
        """Return (m,) numbers of groups of models with the same choice."""
        if not len(self.chosen):
            return self.chosen
        rows = np.column_stack([self.level, self.shards, self.chosen])
        found: Ints = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        return found

    def cost(self, prices: Ints) -> Floats:
        """Return (m, o) the price of each option, ``inf`` where there is none."""
        return np.where(self.shards > 0, (prices[self.level] * self.shards), np.inf)


class Program:
    """The restricted master over levels: a place for a level may go to the next lower one.

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
        self._size, self._levels = len(demand), len(levels)
        self._type = {room: at for at, room in enumerate(rooms.tolist())}
        # The primal simplex: columns are added.
        self._master = Master(demand[levels], count, falling=True, simplex_strategy=4)
        self._switches: set[Switch] = set()
        self._groups: dict[int, int] = {}
        largest = int(rooms[-1])
        self.add([(largest, (level,)) for level in levels.tolist() if level <= largest])

    def add(self, columns: Iterable[Column]) -> int:
        """Add sets of levels on GPUs of a room; return how many were new."""
        fitting = (column for column in columns if column[0] in self._type)
        return self._master.add((column, self._entry(*column)) for column in fitting)

    def _entry(self, room: int, members: tuple[int, ...]) -> Entry:
        count = Counter(int(self._row[level]) for level in members)
        count.pop(-1, None)  # below all that is present
        count[self._levels + self._type[room]] = 1
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
            Places that one change frees, by level; negative where it needs some.
        """
        if switch in self._switches:
            return False
        self._switches.add(switch)
        if switch[0] not in self._groups:
            self._groups[switch[0]] = self._master.add_row(float(most))
        rows: Counter[int] = Counter()
        for level, places in change.items():
            rows[int(self._row[level])] += places
        rows[self._groups[switch[0]]] = 1
        entry = Entry(list(rows), list(rows.values()))
        return self._master.add([(("switch", switch), entry)]) > 0

    def solve(self, seconds: float = math.inf) -> tuple[Floats | None, float]:
        """Return the price of each level and the share needed; None where that failed."""
        duals = self._master.solve(seconds)
        if duals is None:
            return None, math.inf
        return self.by_level(duals), duals.share

    @property
    def master(self) -> Master:
        """The program itself."""
        return self._master

    def by_level(self, duals: Duals) -> Floats:
        """Return the price of each level."""
        padded: Floats = np.concatenate([[0.0], duals.prices])
        return padded[self._row[: self._size] + 1]

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
        Prices of the levels and worth of every room.
    excess
        Price of all models above the worth of all GPUs, as a share of it; above 0, the need
        cannot be met.
    share
        Of the fleet that meets the need in fractions of GPUs; ``inf`` where none was found.
    program
        Holds the solution of that share.
    """

    table: Table
    excess: float
    share: float
    program: Program


class LevelProgram:
    """The program of one fleet; columns found for one need serve the next."""

    def __init__(self) -> None:
        self._columns: dict[Column, None] = {}

    def add(self, columns: Iterable[Column]) -> None:
        """Take sets as columns; what does not fit its room loses its smallest members."""
        for room, members in columns:
            levels = sorted(level for level in members if level)
            while sum(levels) > room:
                levels.pop(0)
            if levels:
                self._columns[room, tuple(levels)] = None

    def decide(
        self,
        need: Need,
        rooms: LevelRooms,
        watch: Watch,
        *,
        whole: bool = False,
        rounds: int = ROUNDS,
    ) -> Answer:
        """Return whether a need can be met, as far as the program can say.

        Parameters
        ----------
        need, rooms
            What is to be placed where.
        watch
            Ends it early.
        whole
            Go on to the least share; else only until one of the two is proved.
        rounds
            Solutions of the restricted program at most.
        """
        present = need.demand > 0
        present[need.level[need.shards > 0]] = True
        present[0] = False
        program = Program(need.demand, present, rooms.levels, rooms.count)
        program.add(self._columns or _first_fit(need, rooms))
        pricing = _ClassPricing(program, need, rooms, self._columns, whole=whole)
        share = generate(program.master, pricing, rounds, watch)
        return Answer(pricing.table, pricing.excess, share, program)


class _ClassPricing:
    """Prices sets of levels by dynamic programming, at prices smoothed towards the best known."""

    def __init__(
        self,
        program: Program,
        need: Need,
        rooms: LevelRooms,
        known: dict[Column, None],
        *,
        whole: bool,
    ) -> None:
        self._program, self._need, self._rooms, self._whole = program, need, rooms, whole
        self._columns, self._groups = known, need.groups()
        # The fluid bound is the first centre: prices as sizes.
        self._centre = np.arange(len(need.demand), dtype=np.float64) / (len(need.demand) - 1)
        self._excess = -1.0
        self.table, self.excess = _priced(need, rooms, self._centre)

    def settled(self, share: float) -> bool:
        if self.excess > 0 and not self._whole:
            return True
        return share <= max(1.0, (1 + self.excess) * (1 + CONVERGED))

    def extend(self, master: Master, duals: Duals) -> bool:  # noqa: ARG002 - the program has it
        need, program, prices = self._need, self._program, self._program.by_level(duals)
        changes = sum(program.switch(*more) for more in _cheaper(need, self._groups, prices))
        added = 0
        for weight in (SMOOTH, 0.0):
            mixed = weight * self._centre + (1 - weight) * prices / max(float(prices.max()), 1e-300)
            found, more = _priced(need, self._rooms, mixed)
            if more > self.excess:
                self.table, self.excess = found, more
            if more > self._excess:  # of the prices that the program gave, however poor at first
                self._centre = found.prices / max(int(found.prices.max()), 1)
                self._excess = more
            new = _dear(found, self._rooms)
            added = program.add(new)
            self._columns.update(dict.fromkeys(new))
            if added or (self.excess > 0 and not self._whole):
                break
        return bool(added or changes)


def _first_fit(need: Need, rooms: LevelRooms) -> list[Column]:
    """Return the sets that first fit decreasing makes, the smallest rooms first."""
    left, found = need.demand.copy(), []
    for room, count in zip(rooms.levels.tolist(), rooms.count.tolist(), strict=True):
        open_ = int(count)
        while open_ > 0:
            rest, members = room, Counter[int]()
            while rest > 0 and len(fits := np.flatnonzero(left[1 : rest + 1] >= 1)):
                level = int(fits[-1]) + 1
                many = int(min(rest // level, left[level]))
                members[level] = many
                left[level] -= many
                rest -= many * level
            if not members:
                break
            again = min(open_ - 1, *(int(left[x] // k) for x, k in members.items()))
            for level, many in members.items():
                left[level] -= again * many
            found.append((room, tuple(sorted(members.elements()))))
            open_ -= 1 + again
    return found


def _priced(need: Need, rooms: LevelRooms, prices: Floats) -> tuple[Table, float]:
    """Round prices to integers; return them with what they prove."""
    prices = np.maximum.accumulate(np.where(np.arange(len(prices)) > 0, prices, 0.0))
    scale = SCALE / max(float(prices.max()), 1e-300)
    table = fill(np.floor(prices * scale).astype(np.int64), int(rooms.levels[-1]))
    cost = need.cost(table.prices)
    at_first = np.take_along_axis(cost, need.chosen[:, None], axis=1)
    total = float(table.prices @ need.demand) - float((at_first[:, 0] - cost.min(axis=1)).sum())
    available = float((table.worth[rooms.levels] * rooms.count).sum())
    excess = total / available - 1 - 1e-12 if available > 0 else float(total > 0)
    return table, excess


def _dear(table: Table, rooms: LevelRooms) -> list[Column]:
    """Return sets that are dear at some prices, for every room."""
    most = max(1, PICKED // len(rooms.levels))
    return [
        (room, members)
        for room in rooms.levels.tolist()
        for members in table.columns(room, most)
        if members
    ]


def _cheaper(need: Need, groups: Ints, prices: Floats) -> list[tuple[Switch, int, Counter[int]]]:
    """Return the changes of option that make models cheaper, as `Program.switch` takes them."""
    if not len(groups):
        return []
    cost = np.where(need.shards > 0, prices[need.level] * need.shards, np.inf)
    _, first, count = np.unique(groups, return_index=True, return_counts=True)
    best = cost[first].argmin(axis=1)
    better = cost[first, best] < cost[first, need.chosen[first]] * (1 - 1e-9)
    found = []
    for j, option, most in zip(
        first[better].tolist(), best[better].tolist(), count[better].tolist(), strict=True
    ):
        now, then = int(need.chosen[j]), option
        change = Counter({int(need.level[j, now]): int(need.shards[j, now])})
        change[int(need.level[j, then])] -= int(need.shards[j, then])
        found.append(((int(groups[j]), then), most, change))
    return found


def need_of(grid: int, level: Ints, each: Floats, shards: Floats, fit: Bools) -> tuple[Need, Ints]:
    """Return a need in which every model has at first the option that takes least room.

    Parameters
    ----------
    grid
        Levels of the largest GPU.
    level, each, shards
        (n, o) level and room of a shard, and number of shards, of each option.
    fit
        (n, o) whether there is such an option and its shard fits some GPU.

    Returns
    -------
    tuple
        The need, its options those of `several_of`, and (n,) the option of each model at first.
    """
    whole: Ints = np.where(fit, shards, 0.0).astype(np.int64)
    taken = np.where(fit, np.where(fit, each, 0.0) * np.where(fit, shards, 0.0), np.inf)
    chosen: Ints = taken.argmin(axis=1)
    rows, several = np.arange(len(level)), several_of(fit)
    demand = np.bincount(level[rows, chosen], whole[rows, chosen], minlength=grid + 1).astype(
        np.float64
    )
    return Need(demand, level[several], whole[several], chosen[several]), chosen


def several_of(fit: Bools) -> Ints:
    """Return which models have a choice."""
    return np.flatnonzero(fit.sum(axis=1) > 1)
