"""Bounds on the GPUs after the worst, at a few ranks: what `core.certificates.balance` checks.

The target of each rank is bisected; which pressure is added up, and what room on hot GPUs is
worth, is tried out. Sums are floats here, so every bound is lowered a little and checked exactly.
Few undivided models are summed up without numpy, whose import takes longer than all else.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from kvplace.core.certificates.balance import NO_WORSE, RankBound, check_rank_bound
from kvplace.core.problem import Problem
from kvplace.solver.bisection import bisect
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats

MOST_ROWS = 200_000
"""Options of all models, times pressures, above which it takes too long."""
PARTS = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Ranks that are told, as parts of the GPUs; the second worst GPU comes before them."""
STEPS = tuple(step / 8 for step in range(9))
"""Worths tried, as powers of the most that can pay: from that on cold GPUs up to it."""
RANK_SECONDS = 4e-6
"""Seconds per option and pressure that one rank may take, most of them for its check, measured on
80,000 and 200,000 models; on a slow machine the rank before says it."""
FEW = 300
"""Undivided models up to which numpy does not pay."""
WIDTH, SLACK = 1e-4, 1e-7
"""Relative width of the bisection, and amount by which its result is lowered."""


def told_ranks(gpus: int) -> list[int]:
    """Return the ranks worth telling of a fleet of so many GPUs."""
    return sorted({2, *(math.ceil(part * gpus) for part in PARTS)} - {1})


def rank_bounds(
    problem: Problem, instance: Instance, profile: Sequence[float], watch: Watch
) -> tuple[RankBound, ...]:
    """Return bounds that check, of the ranks where there is one.

    Parameters
    ----------
    problem, instance
        The problem, and its numbers.
    profile
        Pressures of a placement, from the worst GPU on.
    watch
        Ends it early.
    """
    rows = len(instance.size) * instance.pressures
    if rows > MOST_ROWS or not 0 < profile[0] < math.inf:
        return ()
    few = instance.simple and instance.pressures == 1 and instance.n <= FEW
    asked = (_FewRanks if few else _Ranks)(instance, profile[0] * (1 + NO_WORSE))
    found, longest = [], rows * RANK_SECONDS
    for rank in told_ranks(instance.g):
        began = watch.seconds
        if watch.stop or watch.left < longest:
            break
        most = profile[rank - 1]
        best: RankBound | None = None
        for pressure in range(instance.pressures):
            bound, worth = asked.bound(rank, pressure, most, best.bound if best else 0.0)
            if worth is not None:
                proved = bound * (1 - SLACK)
                best = RankBound(rank, proved, worth, *instance.resource(pressure))
        if best is not None and not check_rank_bound(problem, best, profile[0]):
            found.append(best)
        longest = max(longest, watch.seconds - began)
    return tuple(found)


class _FewRanks:
    """What shards take of hot and of cold GPUs: of undivided models under one pressure."""

    def __init__(self, instance: Instance, worst: float) -> None:
        self._instance, self._worst = instance, worst
        self._memory = list(map(float, instance.memory))

    def bound(
        self, rank: int, pressure: int, most: float, least: float
    ) -> tuple[float, float | None]:
        """Return a bound above a least one, and its worth; None where there is none."""
        rooms = [sum(self._memory[: rank - 1]), sum(self._memory[rank - 1 :])]
        known: float | None = None

        def impossible(target: float) -> bool:
            nonlocal known
            if pressure >= self._instance.kv:
                rooms[:] = (rank - 1) * self._worst, (len(self._memory) - rank + 1) * target
            worths = [(4 * self._worst / target) ** step for step in STEPS]
            needed = self._needed(pressure, target, worths)
            limits = [(rooms[1] + worth * rooms[0]) * (1 + SLACK) for worth in worths]
            paying = (w for w, need, limit in zip(worths, needed, limits, strict=True)
                      if need > limit)  # fmt: skip
            known = next(paying, None)
            return known is not None

        low = max(least, most / 1024)
        if most <= 0 or not impossible(low):
            return 0.0, None
        found, _ = bisect(impossible, low, most * (1 + WIDTH), width=WIDTH, most=20)
        impossible(found)
        return min(found, most), known

    def _needed(self, _pressure: int, target: float, worths: Sequence[float]) -> list[float]:
        """Return what all models take of cold GPUs at each worth of room on hot ones."""
        pairs = list(zip(self._taken(target), self._hot, strict=True))
        return [
            # Not min(), which takes three times as long and most of the time of a small plan.
            sum([cold if cold < (paid := worth * hot) else paid for cold, hot in pairs])
            for worth in worths
        ]

    @cached_property
    def _hot(self) -> list[float]:
        """What a shard of each model takes of hot GPUs."""
        return self._taken(self._worst)

    def _taken(self, threshold: float) -> list[float]:
        """Return what a shard of each model takes at a threshold."""
        instance, largest = self._instance, self._memory[0]
        return [
            size + load / threshold
            if size < largest and load / max(largest - size, 1.0) < threshold
            else math.inf
            for size, load in zip(instance.size, instance.load, strict=True)
        ]


class _Ranks(_FewRanks):
    """What shards of all options take, under any pressures."""

    def __init__(self, instance: Instance, worst: float) -> None:
        super().__init__(instance, worst)
        import numpy as np  # noqa: PLC0415 - many models or options

        self._columns = columns = instance.columns
        self._size = columns.size.astype(np.float64)
        loads = columns.loads.min(axis=1)  # of the type of GPU where a shard takes least
        largest = columns.widest
        room = np.maximum(largest - self._size, 1.0)[:, None]  # sizes are whole bytes
        in_memory = np.where((self._size < largest)[:, None], loads[:, : columns.kv] / room, np.inf)
        alone = np.concatenate([in_memory, loads[:, columns.kv :]], axis=1).max(axis=1)
        self._alone: Floats = np.where(np.isfinite(columns.least), alone, np.inf)
        self._loads: Floats = np.where(columns.unsure[:, None], 0.0, loads)

    def _needed(self, pressure: int, target: float, worths: Sequence[float]) -> list[float]:
        import numpy as np  # noqa: PLC0415 - many models or options

        cold, hot = self._at(pressure, target), self._at(pressure, self._worst)
        cost = self._columns.shards * np.minimum(cold, np.array(worths)[:, None] * hot)
        needed = np.minimum.reduceat(cost, self._columns.starts[:-1], axis=1).sum(axis=1)
        return list(map(float, needed))

    def _at(self, pressure: int, threshold: float) -> "Floats":
        """Return what a shard of each option takes of one pressure at a threshold."""
        import numpy as np  # noqa: PLC0415 - many models or options

        load = self._loads[:, pressure]
        taken = self._size + load / threshold if pressure < self._instance.kv else load
        return np.where(self._alone < threshold, taken, np.inf)
