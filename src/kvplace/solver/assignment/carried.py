"""Carried: what each GPU of an assignment carries, as arrays for operators that look at many."""

import math
from collections.abc import Sequence

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.instance.instance import Instance, Option
from kvplace.solver.instance.pressure import fullest


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
    sparing
        Whether any are to be left.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.free: Floats = instance.columns.memory.astype(np.float64)
        self.kept: Floats = np.zeros(instance.g)
        self.load: Floats = np.zeros((instance.pressures, instance.g))
        self.pressure: Floats = np.zeros(instance.g)
        self.spare: Floats = np.zeros(instance.g)
        self.sparing = False

    def set(self, g: int, free: int, kept: int, loads: Sequence[float], pressure: float) -> None:
        """Note what a GPU carries."""
        self.free[g], self.kept[g], self.pressure[g] = free, kept, pressure
        self.load[:, g] = loads

    def exchanged(
        self,
        g: int,
        hosts: Ints,
        size: Floats,
        keep: Floats | float,
        here: Sequence[Floats],
        there: Sequence[Floats],
    ) -> Floats:
        """Return the larger pressure after a GPU gives others some shards for some of theirs.

        It is ``inf`` where one of them has too little left, or too little to spare.

        Parameters
        ----------
        g, hosts
            The GPU, and the others.
        size, keep
            Bytes resident, and bytes of KV to be left, that it gives more than it takes back.
        here, there
            By pressure, the load that it gives more than it takes back: on it, and on the others;
            overwritten.
        """
        # In place, as these are many numbers many times; the two loads may be one.
        free_g, free_h = self.free[g] + size, self.free[hosts] - size
        theirs = [load[hosts] + more for load, more in zip(self.load, there, strict=True)]
        pairs = zip(self.load, here, strict=True)
        mine = [np.subtract(load[g], less, out=less) for load, less in pairs]
        value = fullest(free_g, mine, self._instance.kv)
        np.maximum(value, fullest(free_h, theirs, self._instance.kv), out=value)
        bad = free_g < np.maximum(self.kept[g] - keep, 1)
        bad |= free_h < np.maximum(self.kept[hosts] + keep, 1)
        value[bad] = math.inf
        if self.sparing:
            short = (free_g < self.spare[g]) & (size < 0)
            value[short | ((free_h < self.spare[hosts]) & (size > 0))] = math.inf
        return value

    def loads_with(self, option: Option) -> list[Floats]:
        """Return (pressures,) the loads of all GPUs, each with one more shard on it."""
        if len(option.loads) == 1:
            return [mine + more for mine, more in zip(self.load, option.loads[0], strict=True)]
        more = np.array(option.loads)[self._instance.columns.type_of]
        return list(self.load + more.T)
