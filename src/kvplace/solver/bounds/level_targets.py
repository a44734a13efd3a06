"""Targets that the configuration program on levels calls impossible, and the prices that prove it.

Sizes at a target are rounded down to levels, so that a set that fits a GPU fits it on the grid
too; what is impossible there is impossible. A shard is on no GPU with less memory than it needs
with the KV that must be left: where GPUs differ, what fits from each size of memory on is a kind of
its own.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from kvplace.core.certificates.certificate import GRID
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables
from kvplace.solver.column_generation.level_program import LevelProgram, priced
from kvplace.solver.column_generation.levels import LevelRooms, Need, need_of

Groups = Callable[[float], Iterable[tuple[int, Floats]]]
"""Returns, at a target, the type of each GPU of an assignment, and the sizes on it."""

TARGETS = 8
"""Targets decided between a bound and a value."""
CLOSE = (2_000, 1e-4), (20_000, 5e-4), (math.inf, 1e-3)
"""Models up to which no further target is decided at a relative distance of the two: the programs
of many models take seconds."""
PROVED = 0.7
"""Part of what a target needs above the fleet that is proved where programs are cheap: the next
target is as far above as that says."""
CHEAP = 2_000
"""Models up to which they are on all levels."""
RAISES = 20
"""Halvings of an interval of targets in which the highest is looked for that some prices prove."""
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
        (classes,) of a shard by its level, kind by kind.
    worths
        (t,) of a GPU of each size of memory, smallest first.
    kinds
        How many kinds of classes there are: sizes of memory from which on a shard fits.
    """

    target: float
    prices: Ints
    worths: Ints
    kinds: int = 1

    @property
    def grid(self) -> int:
        """Levels of the largest GPU."""
        return len(self.prices) // self.kinds - 1


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
    most
        (n, o) bytes of the largest GPU that a shard can be on; None where that is the largest.
    grid
        Levels of the largest GPU.
    nested
        Whether shards are apart by the smallest GPU that holds them alone.

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
        most: Floats | None = None,
        grid: int = GRID,
        *,
        nested: bool = False,
    ) -> None:
        self._largest, self._grid = int(memory[-1]), grid
        self._most = np.full(size.shape, float(self._largest)) if most is None else most
        self._unit = self._largest / grid
        self._memory = memory.astype(np.float64)
        self._nested = nested and least is not None and len(memory) > 1
        self._kinds = len(memory) if self._nested else 1
        self._levels: Ints = np.array([self._room(int(m)) for m in memory])
        # Bytes by which the room grows with the logarithm of the target are the load to it.
        self._slope = float(memory @ count) / max(float(load[:, 0] @ shards[:, 0]), 1e-300)
        # Sizes of memory that differ by less than a level are one room.
        levels, room = np.unique(self._levels, return_inverse=True)
        self._rooms = LevelRooms(levels, np.bincount(room, count).astype(np.float64))
        self._size, self._load, self._shards, self._least = size, load, shards, least
        self._close = next(close for most, close in CLOSE if len(size) <= most)
        self._cheap = grid < GRID or len(size) <= CHEAP
        self._program = LevelProgram()
        self.found: list[Prices] = []

    def begin(self, prices: Floats | Ints, low: float, high: float, watch: Watch) -> float:
        """Begin with prices of other levels; return the bound, or what they prove above it.

        The price of a size between two of those levels is in proportion.

        Parameters
        ----------
        prices
            (classes,) of a shard by its level, kind by kind.
        low, high
            The bound and a value; ``inf`` for none.
        watch
            Is told of what is found.
        """
        rows = (prices / max(float(prices.max()), 1e-300)).reshape(self._kinds, -1)
        levels, others = np.linspace(0, 1, self._grid + 1), np.linspace(0, 1, rows.shape[1])
        centre = np.concatenate([np.interp(levels, others, row) for row in rows])
        self._program.centre = centre
        least = low * (1 + self._close)
        table, excess = priced(self._need(least), self._rooms, centre)
        if excess <= 0 or high <= least:
            return low
        return self._proved(least, high, table, watch).target

    def rise(
        self,
        low: float,
        high: float,
        groups: Groups | None,
        watch: Watch,
        *,
        first: float = 0.0,
        least_left: float = 0.0,
    ) -> float:
        """Look for targets between a bound and the value of an assignment that are impossible.

        Parameters
        ----------
        low, high
            The bound and the value; ``inf`` for none.
        groups
            Returns, at a target, the type of each GPU of the assignment, and the sizes on it; None
            where there is no assignment. Those of several kinds of classes are not asked for.
        watch
            Ends it and is told of what is found.
        first
            Target asked for first where it is between the two.
        least_left
            Seconds of the watch that are to be left.

        Returns
        -------
        float
            The highest target found to be impossible, or the bound.
        """
        part = PROVED if high == math.inf and self._cheap else 0.0
        step = self._close
        target = low * (1 + step) if high == math.inf else (low + high) / 2
        target = first if low < first < high else target
        for _ in range(TARGETS):
            if watch.stop or watch.left < least_left or high <= low * (1 + self._close):
                break
            need = self._need(target)
            if groups is not None and self._kinds == 1:
                self._program.add(
                    ((int(self._levels[type_]), self._floor(sizes).tolist())
                     for type_, sizes in groups(target)),
                    need,
                )  # fmt: skip
            found = self._program.decide(need, self._rooms, watch, part=part)
            if found.excess > 0:
                low = self._proved(target, high, found.table, watch).target
            else:
                high = target
            if high < math.inf:
                target = (low + high) / 2
            else:
                target *= 1 + min(found.excess * self._slope * target, 1.0)
                target = max(target, low * (1 + step))
                step *= 2
        return low

    def refute(self, watch: Watch) -> Prices | None:
        """Return prices that prove every target impossible, None where none are found.

        Parameters
        ----------
        watch
            Ends it.
        """
        found = self._program.decide(self._need(math.inf), self._rooms, watch)
        return None if found.excess <= 0 else self._proved(math.inf, math.inf, found.table, watch)

    def _proved(self, target: float, high: float, table: Tables, watch: Watch) -> Prices:
        """Take the prices of a table for the highest target that they prove impossible."""
        worths = table.worth(self._levels)
        available = float(table.worth(self._rooms.levels) @ self._rooms.count)
        most = min(high, target * 2)
        for _ in range(RAISES):
            middle = (target + most) / 2
            if self._need(middle).least_price(table.prices) > available * (1 + MARGIN):
                target = middle
            else:
                most = middle
        found = Prices(target, table.prices, worths, self._kinds)
        self.found.append(found)
        watch.tell("bound", bound=target)
        return found

    def _room(self, memory: int) -> int:
        """Return the room of an empty GPU, in levels or numbered as classes of its kind are."""
        kind = int(np.searchsorted(self._memory, memory)) if self._nested else 0
        return memory * self._grid // self._largest + kind * (self._grid + 1)

    def _floor(self, sizes: Floats) -> Ints:
        """Return the levels of some sizes; what fits no GPU at a target has the highest."""
        levels = np.floor(sizes / self._unit * (1 - MARGIN))
        return np.minimum(levels, self._grid).astype(np.int64)

    def _need(self, target: float) -> Need:
        """Return what a target needs."""
        with np.errstate(invalid="ignore"):
            each = self._size + self._load / target
        fit = each < self._most
        least = each if self._least is None else self._least
        fit &= least <= self._most
        each, least = np.where(fit, each, 0.0), np.where(fit, least, 0.0)
        classes = self._floor(each)
        if self._nested:
            alone = np.maximum(each * (1 - MARGIN), least)
            classes += np.searchsorted(self._memory, alone) * (self._grid + 1)
        return need_of(
            self._grid, classes, each, self._shards, fit, self._kinds, nested=self._nested
        )[0]
