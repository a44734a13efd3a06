"""Leximax of a small plain fleet: the best balance of all GPUs, not of the worst alone.

Depth-first over the models, the one with the fewest GPUs left next, cut where the pressures from
the worst GPU on cannot get below those of the best placement known. Pressures only rise as models
are added. GPUs that hold nothing are tried once per size of memory. Pressures are summed as the
evaluator sums them, which rounds once, so that equal sets compare as equal.
"""

import math
from dataclasses import dataclass

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

__all__ = ["Ranked", "rank"]

SURE = 1e-12
"""Relative distance that no rounding of a sum of sizes reaches."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a search for the best balance found.

    Parameters
    ----------
    gpu_of
        GPU of each model in the best assignment; None where none is better than that given.
    ranks
        How many GPUs, from the worst on, no assignment balances better; 1 where the search was
        given up.
    """

    gpu_of: list[int] | None
    ranks: int


def rank(state: Assignment, nodes: int, watch: Watch) -> Ranked:
    """Find the best balance of as many GPUs, from the worst on, as an effort allows.

    Parameters
    ----------
    state
        An assignment of undivided models under one pressure whose worst GPU is proved optimal.
    nodes
        Models placed at most. Where that does not do, half as many are placed once more, to
        compare the two worst GPUs alone.
    watch
        Ends it early.
    """
    ranks, best = state.instance.g, None
    profile = sorted(state.pressure, reverse=True)
    while ranks > 1:
        search = _Search(state.instance, profile[:ranks], nodes, watch)
        ended = search.descend(range(state.instance.n))
        if search.best is not None:
            best = search.best
            profile = sorted(Assignment.single(state.instance, best).pressure, reverse=True)
        if ended:
            return Ranked(best, ranks)
        if watch.stop:
            break
        ranks, nodes = min(2, ranks - 1), nodes // 2
    return Ranked(best, 1)


class _Search:
    """One search; what is placed is kept in plain lists."""

    def __init__(self, instance: Instance, limit: list[float], nodes: int, watch: Watch) -> None:
        self._size, self._keep = instance.size.tolist(), instance.keep.tolist()
        self._load, self._memory = instance.load.tolist(), instance.memory.tolist()
        self._limit, self._nodes, self._watch = limit, nodes, watch
        self._free = list(self._memory)
        self._kept = [0] * instance.g
        self._loads: list[list[float]] = [[] for _ in range(instance.g)]
        self._pressure = [0.0] * instance.g
        self._where = [0] * instance.n
        self.best: list[int] | None = None

    def descend(self, left: range | list[int]) -> bool:
        """Place the models left in every way that may be better; return whether all were tried."""
        if not left:
            self.best = list(self._where)
            self._limit = sorted(self._pressure, reverse=True)[: len(self._limit)]
            return True
        if self._crowded(left):
            return True
        j, places = -1, [(0.0, 0)] * (len(self._free) + 1)
        for other in left:
            found = self._places(other)
            if len(found) < len(places):
                j, places = other, found
                if not found:
                    return True
        rest = [other for other in left if other != j]
        for there, g in sorted(places):
            self._nodes -= 1
            if self._nodes < 0 or (self._nodes & 255 == 0 and self._watch.stop):
                return False
            before = (self._free[g], self._kept[g], self._pressure[g])
            self._free[g] -= self._size[j]
            self._kept[g] += self._keep[j]
            self._loads[g].append(self._load[j])
            self._pressure[g], self._where[j] = there, g
            better = sorted(self._pressure, reverse=True)[: len(self._limit)] < self._limit
            ended = not better or self.descend(rest)
            self._loads[g].pop()
            self._free[g], self._kept[g], self._pressure[g] = before
            if not ended:
                return False
        return True

    def _places(self, j: int) -> list[tuple[float, int]]:
        """Return the GPUs that a model may go to, and what their pressure is then."""
        size, keep, load = self._size[j], self._keep[j], self._load[j]
        most, found, seen = self._limit[0], [], set()
        for g, (room, kept, held) in enumerate(
            zip(self._free, self._kept, self._loads, strict=True)
        ):
            free = room - size
            if free < 1 or free < kept + keep:
                continue
            if not held:
                if room in seen:
                    continue
                seen.add(room)
            pressure = math.fsum((*held, load)) / free
            if pressure <= most:
                found.append((pressure, g))
        return found

    def _crowded(self, left: range | list[int]) -> bool:
        """Whether the models left take more than there is room for below the limit."""
        most = self._limit[0]
        if not most:
            return False
        held = zip(self._free, self._loads, strict=True)
        room = sum(max(0.0, free - sum(loads) / most) for free, loads in held)
        taken = sum(self._size[j] + self._load[j] / most for j in left)
        return taken * (1 - SURE) > room * (1 + SURE)
