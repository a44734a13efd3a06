"""Carried: what each GPU of an assignment carries, as arrays for operators that look at many."""

from collections.abc import Sequence

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.instance.instance import Instance, Option

__all__ = ["Carried"]


class Carried:
    """What each GPU carries; an assignment keeps it up to date.

    Parameters
    ----------
    instance
        The problem.

    Attributes
    ----------
    free, kept, pressure
        (g,) as in `kvplace.solver.assignment.assignment.Assignment`.
    load
        (pressures, g) loads.
    spare
        (g,) bytes that a step which takes memory of a GPU must leave free there; 0 at first.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.free: Floats = instance.columns.memory.astype(np.float64)
        self.kept: Floats = np.zeros(instance.g)
        self.load: Floats = np.zeros((instance.pressures, instance.g))
        self.pressure: Floats = np.zeros(instance.g)
        self.spare: Floats = np.zeros(instance.g)

    def set(self, g: int, free: int, kept: int, loads: Sequence[float], pressure: float) -> None:
        """Note what a GPU carries."""
        self.free[g], self.kept[g], self.pressure[g] = free, kept, pressure
        self.load[:, g] = loads

    def loads_with(self, option: Option) -> list[Floats]:
        """Return (pressures,) the loads of all GPUs, each with one more shard on it."""
        if len(option.loads) == 1:
            return [mine + more for mine, more in zip(self.load, option.loads[0], strict=True)]
        more = np.array(option.loads)[self._instance.columns.type_of]
        return list(self.load + more.T)
