"""Exhaust: try every placement of a few models, on exact bytes.

The other exact decisions compare sizes ``s + l / K`` in floats, with a safety that a GPU filled
to its last bytes does not have. Here memory is counted in whole bytes, and a placement is cut as
soon as one GPU is at the best KVPR or above: what is added to a GPU never lowers it.
"""

from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

__all__ = ["exhaust"]

NODES = 30_000
"""Partial placements after which it gives up: a tenth of a second."""


def exhaust(arrays: Instance, value: float, watch: Watch) -> tuple[list[int] | None, bool]:
    """Look for the best placement below a value.

    Parameters
    ----------
    arrays
        The problem.
    value
        What is to be bettered by more than the rounding of floats; ``inf`` for any valid one.
    watch
        Ends the search early.

    Returns
    -------
    gpu_of : list of int or None
        GPU per model of the best placement found; None where none is better.
    complete : bool
        Whether all placements were tried.
    """
    search = _Search(arrays, value * (1 - OPTIMAL_GAP / 2))
    search.place(0, watch)
    return search.found, search.nodes < NODES


class _Search:
    """Depth-first over the models, those first that need the largest share of a GPU."""

    def __init__(self, arrays: Instance, value: float) -> None:
        self._arrays = arrays
        self._limit = value
        self.found: list[int] | None = None
        self.nodes = 0
        columns = zip(arrays.size, arrays.load, strict=True)
        ranks = [(size + load / value if load else size, load) for size, load in columns]
        self._order = sorted(range(arrays.n), key=ranks.__getitem__, reverse=True)
        self._free = list(arrays.memory)
        self._kept = [0] * arrays.g
        self._load = [0.0] * arrays.g
        self._held = [0] * arrays.g
        self._gpu_of = [-1] * arrays.n

    def place(self, at: int, watch: Watch) -> None:
        """Place the model that stands there, and those after it, in every way."""
        arrays = self._arrays
        if at == arrays.n:
            pairs = zip(self._load, self._free, strict=True)
            worst = max(load / free if free else 0.0 for load, free in pairs)
            self._limit, self.found = worst * (1 - OPTIMAL_GAP / 2), list(self._gpu_of)
            return
        self.nodes += 1
        if self.nodes & 255 == 0 and watch.stop:
            self.nodes = NODES
        j = self._order[at]
        size, keep, added = arrays.size[j], arrays.keep[j], arrays.load[j]
        empty = set()  # of GPUs alike and empty, one is tried
        for g in range(arrays.g):
            if self.nodes >= NODES:
                return
            if not self._held[g]:
                if arrays.memory[g] in empty:
                    continue
                empty.add(arrays.memory[g])
            free, kept, load = self._free[g], self._kept[g], self._load[g]
            left = free - size
            if left < max(1, kept + keep) or (load + added) / left >= self._limit:
                continue
            self._free[g], self._kept[g], self._load[g] = left, kept + keep, load + added
            self._held[g] += 1
            self._gpu_of[j] = g
            self.place(at + 1, watch)
            self._free[g], self._kept[g], self._load[g] = free, kept, load
            self._held[g] -= 1
