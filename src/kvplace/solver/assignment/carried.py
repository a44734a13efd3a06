"""Carried: what each GPU of an assignment carries, as arrays for operators that look at many."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.instance.instance import Copies, Instance, Option
from kvplace.solver.instance.pressure import fullest, pressures

__all__ = ["Carried", "Placed", "placed"]


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


class Placed(NamedTuple):
    """What GPUs carry, in lists.

    Parameters
    ----------
    members
        Models with a shard on each GPU, ascending.
    free, kept, load, pressure
        (g,) as in `kvplace.solver.assignment.assignment.Assignment`.
    """

    members: list[list[int]]
    free: list[int]
    kept: list[int]
    load: list[float]
    pressure: list[float]


def placed(instance: Instance, option: Sequence[Option | None], where: Sequence[Copies]) -> Placed:
    """Return what GPUs carry where all models are placed at once, of which none is uneven.

    Parameters
    ----------
    instance
        The problem.
    option, where
        (n,) the option of each model, and the GPUs of its copies.
    """
    columns = instance.columns
    gpu = np.fromiter(chain.from_iterable(chain.from_iterable(where)), dtype=np.int64)
    shards = [len(copies) and len(copies) * len(copies[0]) for copies in where]
    model = np.repeat(np.arange(instance.n), shards)
    row = np.array([0 if one is None else one.row for one in option], dtype=np.int64)[model]
    free, kept = columns.memory.copy(), np.zeros(instance.g, dtype=np.int64)
    np.subtract.at(free, gpu, columns.size[row])
    np.add.at(kept, gpu, columns.keep[row])
    order, counts = np.argsort(gpu, kind="stable"), np.bincount(gpu, minlength=instance.g)
    spans = list(pairwise([0, *np.cumsum(counts).tolist()]))
    held, of = model[order].tolist(), columns.loads[row, columns.type_of[gpu]][order]
    loads = [[math.fsum(column[a:b]) for a, b in spans] for column in of.T.tolist()]
    full = pressures(free, kept, np.array(loads), instance.kv)
    full[counts == 0] = 0.0
    members = [held[a:b] for a, b in spans]
    return Placed(members, free.tolist(), kept.tolist(), loads[0], full.tolist())
