"""Bounds on the GPUs after the worst, at a few ranks: what `core.certificates.balance` checks.

The target of each rank is bisected; which pressure is added up, and what room on hot GPUs is
worth, is tried out. Sums are floats here, so every bound is lowered a little and checked exactly.
"""

import math
from collections.abc import Sequence

import numpy as np

from kvplace.core.certificates.balance import NO_WORSE, RankBound, check_rank_bound
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.bisection import bisect
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

__all__ = ["rank_bounds", "told_ranks"]

MOST_ROWS = 200_000
"""Options of all models, times pressures, above which it takes too long."""
PARTS = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Ranks that are told, as parts of the GPUs; the second worst GPU comes before them."""
STEPS = np.linspace(0.0, 1.0, 9)[:, None]
"""Worths tried, as powers of the most that can pay: from that on cold GPUs up to it."""
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
    asked = _Ranks(instance, profile[0] * (1 + NO_WORSE))
    found = []
    for rank in told_ranks(instance.g):
        if watch.stop:
            break
        most = profile[rank - 1]
        best: RankBound | None = None
        for pressure in range(instance.pressures):
            bound, worth = asked.bound(rank, pressure, most, best.bound if best else 0.0)
            if worth is not None:
                kv = pressure < instance.kv
                windows = instance.kv_windows if kv else instance.time_windows
                window = windows[pressure if kv else pressure - instance.kv] if windows else 0
                resource = "kv" if kv else "time"
                best = RankBound(rank, bound * (1 - SLACK), worth, resource, int(window))
        if best is not None and not check_rank_bound(problem, best, profile[0]):
            found.append(best)
    return tuple(found)


class _Ranks:
    """What shards take of hot and of cold GPUs."""

    def __init__(self, instance: Instance, worst: float) -> None:
        columns, options = instance.columns, instance.columns.rows
        self._starts: Ints = options.starts[:-1]
        self._shards: Floats = options.shards
        self._size = columns.size.astype(np.float64)
        self._kv, self._worst = instance.kv, worst
        self._memory: Floats = columns.memory.astype(np.float64)
        loads = columns.loads.min(axis=1)  # of the type of GPU where a shard takes least
        room = np.maximum(self._memory[0] - self._size, 1.0)[:, None]  # sizes are whole bytes
        in_memory = np.where(
            self._size[:, None] < self._memory[0], loads[:, : self._kv] / room, np.inf
        )
        alone = np.concatenate([in_memory, loads[:, self._kv :]], axis=1).max(axis=1)
        self._alone: Floats = np.where(np.isfinite(options.least), alone, np.inf)
        idle = np.array(
            [
                instance.copies[row] > 1 and instance.is_uneven(j)
                for j, (first, end) in enumerate(
                    zip(options.starts, options.starts[1:], strict=False)
                )
                for row in range(first, end)
            ]
        )
        self._loads: Floats = np.where(idle[:, None], 0.0, loads)

    def _taken(self, pressure: int, threshold: float) -> Floats:
        """Return what a shard of each option takes at a threshold."""
        load = self._loads[:, pressure]
        within = self._alone < threshold
        return np.where(
            within, self._size + load / threshold if pressure < self._kv else load, np.inf
        )

    def bound(
        self, rank: int, pressure: int, most: float, least: float
    ) -> tuple[float, float | None]:
        """Return a bound above a least one, and its worth; None where there is none."""
        hot = self._taken(pressure, self._worst)
        memory = self._memory[: rank - 1].sum(), self._memory[rank - 1 :].sum()
        counts = rank - 1, len(self._memory) - rank + 1
        known: list[float] = []

        def impossible(target: float) -> bool:
            cold = self._taken(pressure, target)
            in_memory = pressure < self._kv
            rooms = memory if in_memory else (counts[0] * self._worst, counts[1] * target)
            worths = (4 * self._worst / target) ** STEPS
            cost = self._shards * np.minimum(cold, worths * hot)
            needed = np.minimum.reduceat(cost, self._starts, axis=1).sum(axis=1, keepdims=True)
            pays = needed > (rooms[1] + worths * rooms[0]) * (1 + SLACK)
            known[:] = worths[pays][:1].tolist()
            return bool(pays.any())

        low = max(least, most / 1024)
        if most <= 0 or not impossible(low):
            return 0.0, None
        found, _ = bisect(impossible, low, most * (1 + WIDTH), width=WIDTH, most=20)
        impossible(found)
        return min(found, most), known[0]
