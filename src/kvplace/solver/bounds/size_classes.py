"""Bound from the configuration program on levels, whatever the number of models.

Sizes at a target are rounded down to levels, so that a set that fits a GPU fits it on the grid
too; what is impossible there is impossible. A shard is on no GPU with less memory than it needs
with the KV that must be left.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvplace.core.certificates.certificate import FINE, GRID, PAIRED, SCALE_BITS, Bound
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.bounds.certify import checked, priced_by_size
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables
from kvplace.solver.column_generation.levels import (
    ANYWHERE,
    LevelRooms,
    Need,
    classes_of,
    kinds_of,
    need_of,
)
from kvplace.solver.column_generation.pair_knapsack import PairTables
from kvplace.solver.column_generation.size_classes import LevelProgram
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.options import Chooser

__all__ = ["LevelBound", "LevelTargets", "Prices", "certified_classes", "packing_bound"]

TARGETS = 8
"""Targets decided between a bound and a value."""
CLOSE = (2_000, 1e-4), (20_000, 5e-4), (math.inf, 1e-3)
"""Models up to which no further target is decided at a relative distance of the two: the programs
of many models take seconds."""
COARSE = 512
"""Levels of the largest GPU on which targets of many models are decided first where no value is
known."""
FINER = 3e-3
"""Relative distance from a target proved on `GRID` levels of the highest asked for on `FINE`."""
PROVED = 0.7
"""Part of what a target needs above the fleet that is proved where programs are cheap: the next
target is as far above as that says."""
CHEAP = 2_000
"""Models up to which they are on all levels."""
SETS = 2_000
"""GPUs of a large fleet of which the models are given to the program to start from."""
TIME_SHARE = 0.5
"""Share of the time left that the program of a large fleet may take."""
TRIED = 4
"""Certificates checked at most: one that rounding spoils leaves the target before it."""
RAISES = 20
"""Halvings of an interval of targets in which the highest is looked for that some prices prove."""
MANY, FEW = 500, 6
"""Models above which, and models per GPU up to which, the KV that must be left is a size of its
own: a program of single sets decides of fewer, and levels of two sizes round off too much of many
shards."""
MARGIN = 1e-7
"""Relative distance that sizes keep from a level, on the safe side."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Integer prices that prove a target impossible.

    Parameters
    ----------
    target
        K, in load per byte.
    prices
        (levels + 1,) of a shard by its level, or by its class where `rooms` are given.
    worths
        (t,) of a GPU of each size of memory, smallest first.
    rooms
        Rooms of empty GPUs in levels, ascending; None where each holds all that it has room for.
    paired
        Whether classes are pairs of `PAIRED` levels, of the least KV and of the load.
    """

    target: float
    prices: Ints
    worths: Ints
    rooms: Ints | None = None
    paired: bool = False

    @property
    def grid(self) -> int:
        """Levels of the largest GPU."""
        return len(self.prices) // (1 if self.rooms is None else len(self.rooms)) - 1

    def finer(self, coarse: Ints, rooms: Ints, grid: int) -> "Prices":
        """Return the prices that prove the same on more levels.

        Parameters
        ----------
        coarse, rooms
            (t,) rooms of empty GPUs in levels of the prices and in those of the grid, ascending.
        grid
            Levels of the largest GPU.
        """
        by_kind = self.prices.reshape(1 if self.rooms is None else len(coarse), -1)
        times = grid // (by_kind.shape[1] - 1)
        kinds = np.searchsorted(coarse, rooms // times)[: None if self.rooms is not None else 1]
        prices: Ints = by_kind[kinds][:, np.arange(grid + 1) // times].reshape(-1)
        return Prices(self.target, prices, self.worths, None if self.rooms is None else rooms)


class LevelTargets:
    """What targets ask of one fleet, every size rounded down.

    Parameters
    ----------
    memory, count
        (t,) usable bytes of each size of GPU, smallest first, and how many there are.
    size, load, shards
        (n, o) bytes and load of a shard of each option of each model, and how many shards;
        ``inf`` bytes where a model has fewer options.
    least
        (n, o) bytes that a GPU must have for a shard and the KV that must be left; None where none
        must be.
    grid
        Levels of the largest GPU.
    paired
        Whether what a shard needs at least is a second size, and not only says which GPUs hold it.

    Attributes
    ----------
    found
        Prices for targets found to be impossible, ascending.
    """

    def __init__(
        self,
        memory: Ints,
        count: Ints,
        size: Floats,
        load: Floats,
        shards: Floats,
        least: Floats | None = None,
        grid: int = GRID,
        *,
        paired: bool = False,
    ) -> None:
        self._largest, self._grid, self._paired = int(memory[-1]), grid, paired
        self._unit = self._largest / grid
        self._levels: Ints = np.array([self._room(int(m)) for m in memory])
        # Bytes by which the room grows with the logarithm of the target are the load to it.
        self._slope = float(memory @ count) / max(float(load[:, 0] @ shards[:, 0]), 1e-300)
        # Sizes of memory that differ by less than a level are one room.
        levels, room = np.unique(self._levels, return_inverse=True)
        self._rooms = LevelRooms(levels, np.bincount(room, count).astype(np.float64))
        self._size, self._load, self._shards, self._least = size, load, shards, least
        self._kinds = ANYWHERE if least is None else kinds_of(levels)
        if paired:
            self._kinds = tuple(range(grid + 1))
        self._close = next(close for most, close in CLOSE if len(size) <= most)
        self._cheap = grid < GRID or len(size) <= CHEAP
        self._program = LevelProgram()
        self.found: list[Prices] = []

    @property
    def rooms(self) -> Ints:
        """Rooms of empty GPUs in levels, ascending."""
        return self._rooms.levels

    def begin(self, prices: Prices) -> None:
        """Begin with prices that prove a target on as many levels impossible."""
        self._program.centre = prices.prices / max(int(prices.prices.max()), 1)

    def rise(
        self,
        low: float,
        high: float,
        groups: Callable[[float], Iterable[tuple[int, Floats, Floats | None]]] | None,
        watch: Watch,
        *,
        least_left: float = 0.0,
    ) -> Prices | None:
        """Look for targets between a bound and the value of an assignment that are impossible.

        Parameters
        ----------
        low, high
            The bound and the value; ``inf`` for none.
        groups
            Returns, at a target, the type of each GPU of the assignment, and the sizes on it
            without and with the KV that must be left; None where there is no assignment.
        watch
            Ends it and is told of what is found.
        least_left
            Seconds of the watch that are to be left.

        Returns
        -------
        Prices or None
            For the highest target found to be impossible.
        """
        best: Prices | None = None
        part = PROVED if self._paired or (high == math.inf and self._cheap) else 0.0
        step = self._close
        target = low * (1 + step) if high == math.inf else (low + high) / 2
        for _ in range(TARGETS):
            if watch.stop or watch.left < least_left or high <= low * (1 + self._close):
                break
            need = self._need(target)
            if groups is not None:
                self._program.add(
                    ((int(self._levels[type_]), self._classes(sizes, least).tolist())
                     for type_, sizes, least in groups(target)),
                    need,
                )  # fmt: skip
            found = self._program.decide(need, self._rooms, watch, part=part)
            if found.excess > 0:
                best = self._raised(target, high, found.table)
                low = best.target
                self.found.append(best)
                watch.tell("bound", bound=low)
            else:
                high = target
            if high < math.inf:
                target = (low + high) / 2
            else:
                target *= 1 + min(found.excess * self._slope * target, 1.0)
                target = max(target, low * (1 + step))
                step *= 2
        return best

    def _raised(self, target: float, high: float, table: Tables | PairTables) -> Prices:
        """Return the prices of a table for the highest target that they prove impossible."""
        worths = table.worth(self._levels)
        available = float(table.worth(self._rooms.levels) @ self._rooms.count)
        rooms = None if self._least is None or self._paired else self._rooms.levels
        most = min(high, target * 2)
        for _ in range(RAISES):
            middle = (target + most) / 2
            if self._need(middle).least_price(table.prices) > available * (1 + MARGIN):
                target = middle
            else:
                most = middle
        return Prices(target, table.prices, worths, rooms, self._paired)

    def _room(self, memory: int) -> int:
        """Return the room of an empty GPU, in levels or numbered as pairs of them are."""
        if not self._paired:
            return memory * self._grid // self._largest
        # On the levels of the checker, less than the whole memory may be taken.
        first = ((memory << SCALE_BITS) - 1) * self._grid // (self._largest << SCALE_BITS)
        return memory * self._grid // (self._largest + 1) * (self._grid + 1) + first

    def _floor(self, sizes: Floats) -> Ints:
        return np.floor(sizes / self._unit * (1 - MARGIN)).astype(np.int64)

    def _classes(self, sizes: Floats, least: Floats | None) -> Ints:
        """Return the class of shards of some sizes, without and with the KV that must be left.

        What fits no GPU at a target has the highest.
        """
        levels = np.minimum(self._floor(sizes), self._grid)
        if self._least is None or least is None:
            return levels
        if self._paired:
            found: Ints = np.minimum(self._floor(least), self._grid) * (self._grid + 1) + levels
            return found
        return classes_of(levels, self._floor(least), self._rooms.levels, self._grid)

    def _need(self, target: float) -> Need:
        """Return what a target needs."""
        with np.errstate(invalid="ignore"):
            each = self._size + self._load / target
        fit = each < self._largest
        least = each if self._least is None else self._least
        fit &= least <= self._largest
        classes = self._classes(np.where(fit, each, 0.0), np.where(fit, least, 0.0))
        return need_of(
            self._grid, classes, each, self._shards, fit, self._kinds, pairs=self._paired
        )[0]


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
    cut
        Whether time ended the search for it on pairs of levels, which may be gone on with.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._instance = chooser.instance
        memory, type_, count = np.unique(
            self._instance.memory, return_inverse=True, return_counts=True
        )
        self._memory: list[int] = memory.tolist()
        self._type: list[int] = type_.tolist()
        least = chooser.least if self._instance.columns.keeps else None
        parts = (memory, count, *chooser.sure_options, least)
        self._targets, self._coarse = LevelTargets(*parts), LevelTargets(*parts, COARSE)
        self._fine = LevelTargets(*parts, FINE)
        self._paired: LevelTargets | None = None
        if least is not None and MANY < self._instance.n <= FEW * self._instance.g:
            self._paired = LevelTargets(*parts, PAIRED, paired=True)
        self._rough: list[Prices] = []
        self._found: list[Prices] = []
        self.value, self.cut = 0.0, False

    def rise(self, low: float, board: Assignment | None, watch: Watch) -> None:
        """Look for targets above a bound, below the value of an assignment, that are impossible.

        Parameters
        ----------
        low
            The bound.
        board
            The assignment; None for none.
        watch
            Ends it early, and is told of every bound.
        """
        high = math.inf if board is None else board.worst()
        groups = None if board is None else partial(self._groups, board)
        if board is None and self._instance.n > CHEAP:
            rough = self._coarse.rise(low, high, None, watch)
            if rough is not None:
                fine = self._targets.rooms
                self._rough = [
                    one.finer(self._coarse.rooms, fine, GRID) for one in self._coarse.found
                ]
                self._targets.begin(self._rough[-1])
                low = rough.target
        if self._paired is not None:
            closer = self._paired.rise(low, high, None, watch)
            low = low if closer is None else closer.target
        if self._paired is None or not self._paired.found:
            self._targets.rise(low, high, groups, watch)
            # Prices on more levels are asked for once the value is known, and near what is proved.
            if self._targets.found and board is not None and not self._instance.columns.keeps:
                best = self._targets.found[-1]
                self._fine.begin(best.finer(self._targets.rooms, self._fine.rooms, FINE))
                self._fine.rise(best.target, min(high, best.target * (1 + FINER)), groups, watch)
        paired = [] if self._paired is None else self._paired.found
        found = [*self._rough, *paired, *self._targets.found, *self._fine.found]
        self._found = sorted(found, key=lambda prices: prices.target)
        self.value = self._found[-1].target if self._found else 0.0
        self.cut = self._paired is not None and watch.stop is not None

    def _groups(
        self, board: Assignment, target: float
    ) -> Iterable[tuple[int, Floats, Floats | None]]:
        """Yield the type of each GPU of an assignment and the sizes on it."""
        for type_, members in zip(self._type, board.members, strict=True):
            options = [option for option in (board.option[j] for j in members) if option]
            if options:
                sizes = np.array([o.size + o.load / target for o in options])
                yield type_, sizes, np.array([o.size + o.keep for o in options])

    def certified(self, problem: Problem) -> Bound | None:
        """Return the highest bound with a certificate that checks, None where there is none."""
        tried = (certified_classes(problem, prices) for prices in self._found[: -TRIED - 1 : -1])
        return next((bound for bound in tried if bound is not None), None)


def certified_classes(problem: Problem, prices: Prices) -> Bound | None:
    """Return the bound of some prices with its certificate, None where that does not check."""
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    most, by_class, grid = memories[-1], prices.prices.tolist(), prices.grid
    rooms = [] if prices.rooms is None else prices.rooms.tolist()

    def by_pair(_: int, size: int, least: int) -> int:
        pair = least * PAIRED // (most + 1), size * PAIRED // (most << SCALE_BITS)
        found: int = by_class[pair[0] * (PAIRED + 1) + pair[1]]
        return found

    def price(_: int, size: int, least: int) -> int:
        level = min(grid, size * grid // (most << SCALE_BITS))
        kind = min(bisect_left(rooms, least * grid // most), max(len(rooms) - 1, 0))
        kind = kind if kind > bisect_left(rooms, level) else 0
        found: int = by_class[level + (grid + 1) * kind]
        return found

    worths = zip(memories, prices.worths.tolist(), strict=True)
    certificate = priced_by_size(
        problem, prices.target, by_pair if prices.paired else price, worths
    )
    return checked(problem, "configuration", certificate)


def packing_bound(columns: Columns, packing: Packing, low: float, watch: Watch) -> Prices | None:
    """Look for a bound of undivided models between one that is known and the value of a packing.

    Parameters
    ----------
    columns, packing
        The problem, and an assignment.
    low
        The bound known.
    watch
        Ends it early.
    """
    memory, type_, count = np.unique(columns.memory, return_inverse=True, return_counts=True)
    one = (columns.n, 1)
    program = LevelTargets(
        memory, count,
        columns.size.astype(np.float64).reshape(one), columns.load.reshape(one), np.ones(one),
    )  # fmt: skip
    some = range(0, columns.g, max(1, columns.g // SETS))
    rows = [(int(type_[g]), slice(packing.start[g], packing.start[g] + packing.models[g]))
            for g in some]  # fmt: skip
    left = watch.left
    return program.rise(
        low,
        float(packing.pressure().max()),
        lambda target: (
            (kind, packing.size[row] + packing.load[row] / target, None) for kind, row in rows
        ),
        watch,
        least_left=left * (1 - TIME_SHARE) if left < np.inf else 0.0,
    )
