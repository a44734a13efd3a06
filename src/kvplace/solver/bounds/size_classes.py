"""Bound from the configuration program on levels, whatever the number of models.

Sizes at a target are rounded down to levels, so that a set that fits a GPU fits it on the grid
too; what is impossible there is impossible.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvplace.core.certificates.certificate import GRID, SCALE_BITS, Bound
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.certify import checked, priced_by_size
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.size_classes import LevelProgram, LevelRooms, Need, need_of
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.options import Chooser

__all__ = ["LevelBound", "LevelTargets", "Prices", "certified_classes", "packing_bound"]

TARGETS = 8
"""Targets decided between a bound and a value."""
CLOSE = 1e-4
"""Relative distance of the two at which no further target is decided."""
MANY, ROUGH = 20_000, 5e-3
"""Models above which that distance is larger: each program takes seconds then."""
SETS = 2_000
"""GPUs of a large fleet of which the models are given to the program to start from."""
TIME_SHARE = 0.5
"""Share of the time left that the program of a large fleet may take."""
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
        (GRID + 1,) of a shard by its level.
    worths
        (t,) of a GPU of each size of memory, smallest first.
    """

    target: float
    prices: Ints
    worths: Ints


class LevelTargets:
    """What targets ask of one fleet, every size rounded down.

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
        self._largest = int(memory[-1])
        self._unit = self._largest / GRID
        self._levels: Ints = np.array([int(m) * GRID // self._largest for m in memory])
        # Sizes of memory that differ by less than a level are one room.
        levels, room = np.unique(self._levels, return_inverse=True)
        self._rooms = LevelRooms(levels, np.bincount(room, count).astype(np.float64))
        self._size, self._load, self._shards = size, load, shards
        # Bytes by which the room grows with the logarithm of the target are the load to it.
        self._slope = float(memory @ count) / max(float(load[:, 0] @ shards[:, 0]), 1e-300)
        self._close = CLOSE if len(size) <= MANY else ROUGH
        self._program = LevelProgram()

    def rise(
        self,
        low: float,
        high: float,
        groups: Callable[[float], Iterable[tuple[int, Floats]]] | None,
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
            Returns, at a target, the type of each GPU of the assignment and the sizes on it;
            None where there is no assignment.
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
        excess, asked = 0.0, 0

        def impossible(target: float) -> bool:
            nonlocal best, excess, asked
            asked += 1
            if groups is not None:
                self._program.add(
                    (int(self._levels[type_]), self._floor(sizes).tolist())
                    for type_, sizes in groups(target)
                )
            whole = high == math.inf
            found = self._program.decide(self._need(target), self._rooms, watch, whole=whole)
            excess = found.excess
            if excess > 0:
                worths = found.table.worth[self._levels]
                best = Prices(target, found.table.prices, worths)
                watch.tell("bound", bound=target)
            return excess > 0

        target = low * (1 + self._close)
        while high == math.inf and asked < TARGETS:
            if watch.stop or watch.left < least_left:
                return best
            if impossible(target):
                low = target
                target *= 1 + min(max(excess * self._slope * target, self._close), 1.0)
            else:
                high = target
        if high < math.inf:
            bisect(
                impossible, low, high, width=self._close, most=TARGETS - asked, watch=watch,
                near=lambda _low, _high: watch.left < least_left,
            )  # fmt: skip
        return best

    def _floor(self, sizes: Floats) -> Ints:
        return np.floor(sizes / self._unit * (1 - MARGIN)).astype(np.int64)

    def _need(self, target: float) -> Need:
        """Return what a target needs."""
        with np.errstate(invalid="ignore"):
            each = self._size + self._load / target
        fit = each < self._largest
        return need_of(GRID, self._floor(np.where(fit, each, 0.0)), each, self._shards, fit)[0]


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
        self._instance = chooser.instance
        memory, type_, count = np.unique(
            self._instance.memory, return_inverse=True, return_counts=True
        )
        self._memory: list[int] = memory.tolist()
        self._type: list[int] = type_.tolist()
        self._targets = LevelTargets(memory, count, *chooser.sure_options)
        self._prices: Prices | None = None
        self.value = 0.0

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
        self._prices = self._targets.rise(low, high, groups, watch)
        self.value = 0.0 if self._prices is None else self._prices.target

    def _groups(self, board: Assignment, target: float) -> Iterable[tuple[int, Floats]]:
        """Yield the type of each GPU of an assignment and the sizes on it."""
        for type_, members in zip(self._type, board.members, strict=True):
            options = [board.option[j] for j in members]
            if options:
                yield type_, np.array([o.size + o.load / target for o in options if o is not None])

    def certified(self, problem: Problem) -> Bound | None:
        """Return the bound with its certificate, or None where there is none that checks."""
        return None if self._prices is None else certified_classes(problem, self._prices)


def certified_classes(problem: Problem, prices: Prices) -> Bound | None:
    """Return the bound of some prices with its certificate, None where that does not check."""
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    largest, by_class = memories[-1] << SCALE_BITS, prices.prices.tolist()
    certificate = priced_by_size(
        problem,
        prices.target,
        lambda _, size, __: by_class[min(GRID, size * GRID // largest)],
        zip(memories, prices.worths.tolist(), strict=True),
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
            (kind, packing.size[row] + packing.load[row] / target) for kind, row in rows
        ),
        watch,
        least_left=left * (1 - TIME_SHARE) if left < np.inf else 0.0,
    )
