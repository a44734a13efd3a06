"""State: an assignment under change, with what each GPU carries kept up to date."""

import math

from kvplace.solver.instance.instance import Instance

__all__ = ["State"]


class State:
    """Who is where, and what that puts on each GPU.

    Parameters
    ----------
    arrays
        The problem.
    gpu_of
        (n,) GPU per model; copied.

    Attributes
    ----------
    members
        Models on each GPU.
    free
        Exact free bytes per GPU.
    kept
        KV bytes that must be left per GPU.
    load, kvpr
        Load and pressure per GPU, summed anew at every change so that nothing drifts.
    """

    __slots__ = ("arrays", "free", "gpu_of", "kept", "kvpr", "load", "members")

    def __init__(self, arrays: Instance, gpu_of: list[int]) -> None:
        self.arrays = arrays
        self.gpu_of = list(gpu_of)
        self.members: list[list[int]] = [[] for _ in arrays.memory]
        for j, g in enumerate(gpu_of):
            self.members[g].append(j)
        self.free = list(arrays.memory)
        self.kept = [0] * arrays.g
        self.load = [0.0] * arrays.g
        self.kvpr = [0.0] * arrays.g
        for g in range(arrays.g):
            self._refresh(g)

    def _refresh(self, g: int) -> None:
        arrays, held = self.arrays, self.members[g]
        free = arrays.memory[g] - sum([arrays.size[j] for j in held])
        load = math.fsum([arrays.load[j] for j in held])
        kept = sum([arrays.keep[j] for j in held])
        self.free[g], self.load[g], self.kept[g] = free, load, kept
        fits = free >= max(1, kept) if held else True
        self.kvpr[g] = (load / free if held else 0.0) if fits else math.inf

    def worst(self) -> float:
        """Return the largest KVPR; ``inf`` where some GPU's memory is exceeded."""
        return max(self.kvpr)

    def exchange(self, g: int, out: list[int], h: int, back: list[int]) -> None:
        """Move the models `out` from GPU g to h, and `back` from h to g."""
        for j in out:
            self.members[g].remove(j)
            self.members[h].append(j)
            self.gpu_of[j] = h
        for j in back:
            self.members[h].remove(j)
            self.members[g].append(j)
            self.gpu_of[j] = g
        self._refresh(g)
        self._refresh(h)
