"""Bound from a configuration program on levels of size, whatever the number of models.

Sizes at a target are rounded down to a grid of levels, so that a set that fits a GPU fits it on
the grid too, and models of one level are alike: the Gilmore-Gomory program then grows with the
grid and not with the models. Its dual prices are worths of levels; a model counts with the
cheapest of its options.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from kvplace.core.certificate import (
    GRID,
    SCALE_BITS,
    Bound,
    Certificate,
    check_certificate,
    possible_options,
)
from kvplace.solver.board import Board
from kvplace.solver.choose import Chooser
from kvplace.solver.cluster import Bools
from kvplace.solver.sets import Floats, Ints
from kvplace.solver.watch import Watch

__all__ = ["LevelBound", "LevelProgram", "Prices"]

SCALE = 10**9
"""Integer prices: worth of the dearest level."""
PICKED = 60
"""Columns of one type given out at once."""
ROUNDS = 60
"""Solutions of the restricted program at most, per target."""
SMOOTH = 0.7
"""Part of the best prices known in the prices asked about next (Wentges, 1997)."""
Column = tuple[int, tuple[int, ...]]
"""Type of GPU, and the levels on it in ascending order."""
HALVINGS = 8
"""Targets decided between a bound and a value."""
CLOSE = 1e-4
"""Relative distance of the two at which no further target is decided."""
MARGIN = 1e-7
"""Relative distance that sizes keep from a level, on the safe side."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Integer prices per level, and what they prove at a target.

    Parameters
    ----------
    target
        K, in load per byte.
    prices
        (GRID + 1,) price of a shard by its level.
    worths
        (t,) worth of a GPU of each size of memory, smallest first.
    table
        Highest price of shards that fit each room of the grid.
    excess
        Price of all models above the worth of all GPUs, as a share of it; above 0, the target is
        impossible.
    """

    target: float
    prices: Ints
    worths: Ints
    table: Ints
    excess: float


class LevelBound:
    """The bound of one cluster by levels.

    Parameters
    ----------
    chooser
        The options of the cluster's models.

    Attributes
    ----------
    value
        The best bound, not yet certified; 0 where none was found.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._cluster = chooser.cluster
        memory, self._type, count = np.unique(
            self._cluster.memory, return_inverse=True, return_counts=True
        )
        self._memory: list[int] = memory.tolist()
        self._program = LevelProgram(memory, count, *chooser.sure_options)
        self._prices: Prices | None = None
        self.value = 0.0

    def rise(self, low: float, board: Board, watch: Watch, halvings: int = HALVINGS) -> None:
        """Look for targets between a bound and the value of an assignment that are impossible."""
        found = self._program.rise(
            low,
            board.worst(),
            lambda target: (
                (int(self._type[g]), self._sizes(board, g, target))
                for g in range(self._cluster.g)
                if board.members[g]
            ),
            watch,
            halvings=halvings,
        )
        if found is not None:
            self._prices, self.value = found, found.target

    def _sizes(self, board: Board, g: int, target: float) -> Floats:
        return np.array(
            [o.size + o.load / target for o in (board.option[j] for j in board.members[g]) if o]
        )

    def certified(self) -> Bound | None:
        """Return the bound with its certificate, or None where there is none that checks."""
        if self._prices is None:
            return None
        problem, prices = self._cluster.problem, self._prices.prices.tolist()
        largest = self._memory[-1] << SCALE_BITS
        rows = []
        for index in range(len(problem.models)):
            row = [0] * len(problem.options(index))
            for at, size, _ in possible_options(problem, index, self.value):
                row[at] = prices[min(GRID, size * GRID // largest)]
            rows.append(tuple(row))
        worths = tuple(zip(self._memory, self._prices.worths.tolist(), strict=True))
        certificate = Certificate(self.value, tuple(rows), worths)
        if check_certificate(problem, certificate):
            return None
        return Bound(self.value, "configuration", certificate)


class LevelProgram:
    """The program of one fleet; columns found at one target serve the next.

    Parameters
    ----------
    memory, count
        (t,) usable bytes of each size of GPU, smallest first, and how many there are.
    size, load, shards
        (n, o) bytes and load of a shard of each option of each model, and how many shards;
        ``inf`` bytes where a model has fewer options.
    """

    def __init__(
        self, memory: Ints, count: Ints, size: Floats, load: Floats, shards: Floats
    ) -> None:
        self._memory, self._count = memory, count.astype(np.float64)
        self._size, self._load, self._shards = size, load, shards
        self._unit = float(memory[-1]) / GRID
        self.rooms: Ints = np.array([int(m) * GRID // int(memory[-1]) for m in memory])
        self._columns: dict[Column, None] = {}

    def add(self, groups: Iterable[tuple[int, Floats]]) -> None:
        """Take sets as columns: type of a GPU, and sizes on it.

        What does not fit loses its smallest members.
        """
        for type_, sizes in groups:
            levels = sorted(np.floor(sizes / self._unit * (1 - MARGIN)).astype(int).tolist())
            while levels and sum(levels) > self.rooms[type_]:
                levels.pop(0)
            if levels:
                self._columns[type_, tuple(level for level in levels if level)] = None

    def rise(
        self,
        low: float,
        high: float,
        groups: Callable[[float], Iterable[tuple[int, Floats]]],
        watch: Watch,
        *,
        halvings: int = HALVINGS,
        least_left: float = 0.0,
    ) -> Prices | None:
        """Look for targets between a bound and the value of an assignment that are impossible.

        Parameters
        ----------
        low, high
            The bound and the value.
        groups
            Returns the sets of the assignment, as of `add`, at a target.
        watch
            Ends it and is told of what is found.
        halvings
            Targets at most.
        least_left
            Seconds of the watch that are to be left.

        Returns
        -------
        Prices or None
            For the highest target found to be impossible.
        """
        best = None
        for _ in range(halvings):
            if watch.stop or watch.left < least_left or high <= low * (1 + CLOSE):
                break
            target = (low + high) / 2
            self.add(groups(target))
            prices = self.decide(target, watch)
            if prices.excess > 0:
                low, best = target, prices
                watch.tell("bound", bound=target)
            else:
                high = target
        return best

    def decide(self, target: float, watch: Watch, rounds: int = ROUNDS) -> Prices:
        """Return the best prices found at a target.

        Parameters
        ----------
        target
            K, in load per byte.
        watch
            Ends it early.
        rounds
            Solutions of the restricted program at most.
        """
        level, fit = self._levels(target)
        room = np.where(fit, (self._size + self._load / target) * self._shards, math.inf)
        rows, chosen = np.arange(len(level)), room.argmin(axis=1)
        demand = self._demand(level[rows, chosen], self._shards[rows, chosen])
        program = _Program(demand, self._count, list(self._columns))
        # The fluid bound is the first centre: prices as sizes.
        centre = np.arange(GRID + 1, dtype=np.float64) / GRID
        best = self._priced(target, level, fit, centre)
        for _ in range(rounds):
            if best.excess > 0 or watch.stop:
                break
            prices, share = program.solve()
            if prices is None or share <= 1:
                break
            new: list[Column] = []
            for weight in (SMOOTH, 0.0):
                mixed = weight * centre + (1 - weight) * prices / max(float(prices.max()), 1e-300)
                found = self._priced(target, level, fit, mixed)
                if found.excess > best.excess:
                    best, centre = found, found.prices / max(int(found.prices.max()), 1)
                new = self._lacking(found, program)
                if new or best.excess > 0:
                    break
            self._columns.update(dict.fromkeys(new))
            if not program.add(new):
                break
        return best

    def _demand(self, level: Ints, shards: Floats) -> Floats:
        return np.bincount(level, shards, minlength=GRID + 1).astype(np.float64)

    def _levels(self, target: float) -> tuple[Ints, Bools]:
        """Return per option the level of a shard, and whether it fits any GPU."""
        with np.errstate(invalid="ignore"):
            each = self._size + self._load / target
        fit = each < float(self._memory[-1])
        share = np.where(fit, each, 0.0) / self._unit
        return np.floor(share * (1 - MARGIN)).astype(np.int64), fit

    def _priced(self, target: float, level: Ints, fit: Bools, prices: Floats) -> Prices:
        """Round prices to integers and find what they prove."""
        prices = np.maximum.accumulate(np.where(np.arange(GRID + 1) > 0, prices, 0.0))
        scale = SCALE / max(float(prices.max()), 1e-300)
        whole = np.floor(prices * scale).astype(np.int64)
        table = _fill(whole, int(self.rooms[-1]))
        true = table[self.rooms]
        cost = np.where(fit, whole[level] * np.where(fit, self._shards, 0.0), np.inf)
        total, available = float(cost.min(axis=1).sum()), float((true * self._count).sum())
        excess = total / available - 1 - 1e-12 if available > 0 else float(total > 0)
        return Prices(target, whole, true, table, excess)

    def _lacking(self, found: Prices, program: "_Program") -> list[Column]:
        """Return sets of levels that the program lacks and that are dear at some prices."""
        return [
            (type_, column)
            for type_, room in enumerate(self.rooms.tolist())
            for column in _columns(found.prices, found.table, room)
            if (type_, column) not in program.held
        ]


def _fill(prices: Ints, room: int) -> Ints:
    """Return (room + 1,) the highest price of shards that fit each room, any number alike."""
    table = np.zeros(room + 1, dtype=np.int64)
    dearer = np.flatnonzero(np.diff(prices, prepend=0) > 0)  # others are dominated
    dearer = dearer[(dearer > 0) & (dearer <= room)]
    worth = prices[dearer]
    for at in range(1, room + 1):
        few = int(np.searchsorted(dearer, at, side="right"))
        best = int((table[at - dearer[:few]] + worth[:few]).max()) if few else 0
        table[at] = max(int(table[at - 1]), best)
    return table


def _columns(prices: Ints, table: Ints, room: int) -> list[tuple[int, ...]]:
    """Return the dearest sets: for each of some levels the best set that holds it."""
    levels = np.flatnonzero(np.diff(prices[: room + 1], prepend=0) > 0)
    value = prices[levels] + table[room - levels]
    good = levels[np.argsort(-value, kind="stable")][:PICKED]
    found: dict[tuple[int, ...], None] = {}
    for first in good.tolist():
        found[tuple(sorted([first, *_traced(prices, table, room - first)]))] = None
    return list(found)


def _traced(prices: Ints, table: Ints, room: int) -> list[int]:
    """Return the levels of a best set that fits a room."""
    members: list[int] = []
    while room > 0 and table[room] > 0:
        while table[room - 1] == table[room]:
            room -= 1
        levels = np.arange(1, room + 1)
        exact = prices[levels] + table[room - levels] == table[room]
        level = int(levels[exact & (prices[levels] > 0)][0])
        members.append(level)
        room -= level
    return members


class _Program:
    """The restricted program in HiGHS: minimise the share of the fleet, cover every level.

    A place for a level may go to the next lower one, which keeps prices from falling.
    """

    def __init__(self, demand: Floats, count: Floats, columns: list[Column]) -> None:
        levels = np.flatnonzero(demand[1:] > 0) + 1
        self._levels = levels
        # Row of the highest level in demand that a place of each level serves.
        self._row = np.searchsorted(levels, np.arange(len(demand) + 1), side="right") - 1
        self._size = len(demand)
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]  # ships no types
        self._highs.setOptionValue("output_flag", False)  # noqa: FBT003 - the signature of HiGHS
        self._highs.setOptionValue("presolve", "off")  # solved again and again
        self.held: set[Column] = set()
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
        self.add([(types - 1, (int(level),)) for level in levels])
        self.add(columns)

    def add(self, columns: list[Column]) -> bool:
        """Add sets of levels on a GPU of a type; whether any was new."""
        new = [column for column in columns if column not in self.held]
        self.held.update(new)
        for type_, members in new:
            count = Counter(int(self._row[level]) for level in members)
            count.pop(-1, None)  # below all that is in demand
            index = np.array([*count, self._m + type_], dtype=np.int32)
            value = np.array([*count.values(), 1.0], dtype=np.float64)
            self._highs.addCol(0.0, 0.0, highspy.kHighsInf, len(index), index, value)
        return bool(new)

    def solve(self) -> tuple[Floats | None, float]:
        """Return the price of each level and the share needed; None where that failed."""
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None, math.inf
        dual = np.maximum(np.array(self._highs.getSolution().row_dual)[: self._m], 0.0)
        padded = np.concatenate([[0.0], dual])
        return padded[self._row[: self._size] + 1], float(
            self._highs.getInfo().objective_function_value
        )
