"""Bound from the configuration program on levels, whatever the number of models.

The targets that it calls impossible are found on several grids, the coarse ones first; the highest
whose prices check is the bound.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import partial

import numpy as np

from kvplace.core.certificates.certificate import FINE, SCALE_BITS, Bound, priced_by_size
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.bounds.certify import checked
from kvplace.solver.bounds.level_targets import CHEAP, Groups, LevelTargets, Prices
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.options import Chooser

COARSE = 512
"""Levels of the largest GPU on which targets of many models are decided first where no value is
known."""
ONCE = 1024
"""The same where KV must be left. Where a program of single sets decides what is left open, no
finer levels are asked."""
ASKED = 15_000
"""Models up to which finer levels are asked then: a target takes 5 to 12 s for 20,000."""
FINER = 5e-2
"""Relative distance from the bound up to which targets are asked for on `FINE` levels."""
ABOVE = 1e-3
"""Part of that target by which none is asked for above it once its prices are known."""
FAR = 1e-3
"""Part of it by which what its prices prove is lower where a program rounded down is asked, too."""
BELOW = 3e-3
"""Part of a target, met where sizes are rounded to the nearest level, by which the first one asked
for is lower."""
SETS = 2_000
"""GPUs of a large fleet of which the models are given to the program to start from."""
TIME_SHARE = 0.5
"""Share of the time left that the program of a large fleet may take."""
TRIED = 4
"""Certificates checked at most: one that rounding spoils leaves the target before it."""
MANY, FEW = 500, 6
"""Models above which, and models per GPU up to which, shards are apart by the smallest GPU that
holds them with the KV that must be left: a program of single sets decides of fewer."""


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
    once
        Whether asking another time, with a better value known, is not worth it.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._instance = chooser.instance
        memory, type_, count = np.unique(
            self._instance.memory, return_inverse=True, return_counts=True
        )
        self._memory: list[int] = memory.tolist()
        self._type: list[int] = type_.tolist()
        least = chooser.least if self._instance.columns.keeps else None
        parts = (memory, count, chooser.size, chooser.sure, chooser.shards, least, chooser.largest)
        self._fine = LevelTargets(*parts, FINE)
        # Of few models, levels of the load alone leave more time for other programs.
        nested = least is not None and MANY < self._instance.n <= FEW * self._instance.g
        self.once = least is not None and not nested
        self._targets = LevelTargets(*parts, nested=nested)
        self._coarse = LevelTargets(*parts, COARSE if least is None else ONCE, nested=nested)
        self._found: list[Prices] = []
        self.value = 0.0

    def rise(
        self,
        low: float,
        board: Assignment | None,
        watch: Watch,
        met: float = math.inf,
        prices: Floats | None = None,
    ) -> None:
        """Look for targets above a bound, below the value of an assignment, that are impossible.

        Parameters
        ----------
        low
            The bound.
        board
            The assignment; None for none.
        watch
            Ends it early, and is told of every bound.
        met
            Lowest target that a program met whose sizes are rounded to the nearest level.
        prices
            (levels + 1,) those of that program; where what they prove is near the target that it
            met, no other is asked the first time.
        """
        high = math.inf if board is None else board.worst()
        groups = None if board is None else partial(self._groups, board)
        if self._instance.columns.keeps:
            self._rise_kept(low, high, groups, watch)
        elif self._fine.found and prices is not None:
            self._fine.rise(low, min(high, met * (1 + ABOVE)), groups, watch)
        else:
            low = low if prices is None else self._fine.begin(prices, low, high, watch)
            if low < met * (1 - FAR):
                high = high if prices is None else min(high, met * (1 + ABOVE))
                self._rise_anew(low, high, groups, watch, met, prices)
        found = [*self._coarse.found, *self._targets.found, *self._fine.found]
        self._found = sorted(found, key=lambda prices: prices.target)
        self.value = self._found[-1].target if self._found else 0.0

    def _rise_kept(self, low: float, high: float, groups: Groups | None, watch: Watch) -> None:
        """Ask on the grids of models that must be left KV, the coarse one first.

        Its prices prove more on finer levels, which are asked for a value that is known, of few
        enough models.
        """
        if self.once or not self._coarse.found:
            low = self._coarse.rise(low, high, groups, watch)
            for begun in () if self.once else self._coarse.found[-1:]:
                low = self._targets.begin(begun.prices, low, high, watch)
        if groups is not None and not self.once and self._instance.n <= ASKED:
            self._targets.rise(low, high, groups, watch)

    def _rise_anew(
        self,
        low: float,
        high: float,
        groups: Groups | None,
        watch: Watch,
        met: float,
        prices: Floats | None,
    ) -> None:
        """Ask on several grids, the coarse ones first; `groups` are those of `LevelTargets`."""
        coarse, first = self._coarse, met * (1 - BELOW)
        if groups is None and self._instance.n > CHEAP:
            low = coarse.rise(low, high, groups, watch)
        # Without a value the coarse levels say enough.
        if groups is not None or not coarse.found:
            for begun in [prices] if prices is not None else [p.prices for p in coarse.found[-1:]]:
                self._targets.begin(begun, low, high, watch)
            low = self._targets.rise(low, high, groups, watch, first=first)
        if groups is not None:
            known = self._targets.found or ([] if self._fine.found else coarse.found)
            for last in known[-1:]:
                low = self._fine.begin(last.prices, low, high, watch)
            high = min(high, low * (1 + FINER))
            self._fine.rise(low, high, groups, watch, first=first)

    def _groups(self, board: Assignment, target: float) -> Iterable[tuple[int, Floats]]:
        """Yield the type of each GPU of an assignment and the sizes on it."""
        for type_, members in zip(self._type, board.members, strict=True):
            if members:
                options = map(board.chosen, members)
                yield type_, np.array([o.size + o.load / target for o in options])

    def certified(self, problem: Problem, watch: Watch | None = None) -> Bound | None:
        """Return the highest bound with a certificate that checks, None where none does in time."""
        last = self._found[: -TRIED - 1 : -1]
        tried = (certified_classes(problem, prices, watch) for prices in last)
        return next((bound for bound in tried if bound is not None), None)


def certified_classes(problem: Problem, prices: Prices, watch: Watch | None = None) -> Bound | None:
    """Return the bound of some prices, None where no certificate checks, or not in time."""
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    most, grid = memories[-1], prices.grid
    by_class: list[int] = prices.prices.tolist()

    def price(_: int, size: int, least: int) -> int:
        if math.isinf(prices.target):  # memory alone counts
            size = max(size, least << SCALE_BITS)
        if prices.kinds == 1:
            return by_class[min(grid, size * grid // (most << SCALE_BITS))]
        # The first memory that is above the one size and not below the other.
        kind = max(bisect_right(memories, size >> SCALE_BITS), bisect_left(memories, least))
        kind = min(kind, prices.kinds - 1)
        return by_class[kind * (grid + 1) + min(grid, size * grid // (most << SCALE_BITS))]

    worths = zip(memories, prices.worths.tolist(), strict=True)
    certificate = priced_by_size(problem, prices.target, price, worths)
    return checked(problem, "configuration", certificate, watch)


def refuted(problem: Problem, columns: Columns, watch: Watch) -> Bound | None:
    """Return the proof that the memory has no room for all models, None where none is found."""
    memory, count = np.unique(columns.memory, return_counts=True)
    need = (columns.size + columns.keep).astype(np.float64).reshape(-1, 1)
    one = np.ones((columns.n, 1))
    prices = LevelTargets(memory, count, need, one, one).refute(watch)
    return None if prices is None else certified_classes(problem, prices)


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
    program.rise(
        low,
        float(packing.pressure().max()),
        lambda target: (
            (kind, packing.size[row] + packing.load[row] / target) for kind, row in rows
        ),
        watch,
        least_left=left * (1 - TIME_SHARE) if left < np.inf else 0.0,
    )
    return program.found[-1] if program.found else None
