"""Options: how each model is split and copied at a target KVPR.

At a target K a shard takes the room ``s + l / K``, and a model the least room where
``shards x (s + l / K)`` is least among the options of which a shard is at most a share of the
GPU: water-filling. A hot model gets copies exactly as far as K makes one shard too large.
"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.instance.columns import padded
from kvplace.solver.instance.instance import Instance, Option

SCARCE = 4.0
"""Power of the share of the fleet that a pressure takes, by which it counts among several."""

LOOSE = 4.0
"""Room of an option, to that of the one which takes least, above which it fills no link domain:
shards of a small model that is split often find room where larger ones leave some."""
SHARES = (1.0, 0.75, 0.5, 0.35)
"""Parts of the largest GPU that one shard may take, tried in turn."""


class Chooser:
    """Picks an option per model at a target.

    Parameters
    ----------
    instance
        The problem; each model has an option.

    Attributes
    ----------
    size, sure, shards
        (models, options) bytes of a shard, load of it that a certificate can count on, and shards.
    least
        (models, options) bytes of a shard with the KV that must be left.
    largest
        (models, options) bytes of the largest GPU that a shard can be on.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        columns = instance.columns
        pad = partial(padded, columns.starts)
        self.size = pad(columns.size)
        self._load = pad(columns.loads[:, 0, : instance.kv].max(axis=1), 0.0)
        self.sure = pad(columns.sure, 0.0)
        self.shards = pad(columns.shards)
        self.least = pad(columns.least)
        self._time = pad(_least_time(instance), 0.0) if instance.time else None
        self.largest = pad(columns.widest, 0.0)

    def room(self, target: float) -> tuple[Floats, Floats, Bools]:
        """Return per option the room of a shard and of all shards at a target, and which fit.

        Under several pressures the room of a shard is what it takes of the scarcest, and that of
        all shards what they take of each as far as it is scarce; both in bytes of the largest GPU.
        """
        finite = target < math.inf
        with np.errstate(invalid="ignore"):
            each: Floats = self.size + (self._load / target if finite else 0.0)
            fit = (each < self.largest) & (self.least <= self.largest)
            if self._time is None or not finite:
                return each, np.where(fit, each * self.shards, math.inf), fit
            fit &= self._time <= target
            time = self._time / target * self.instance.memory[0]
            kv_all, time_all = each * self.shards, time * self.shards
            scarce = [_taken(kv_all, fit), _taken(time_all, fit)]
            scarce[0] /= float(sum(self.instance.memory))
            scarce[1] /= float(self.instance.memory[0]) * self.instance.g
            kv_part, time_part = scarcity(np.array(scarce))
            whole = np.where(fit, kv_all * kv_part + time_all * time_part, math.inf)
        return np.maximum(each, time), whole, fit

    def confined(self, low: float, most: int) -> Iterator[tuple[int, Ints]]:
        """Yield models that fit only on GPUs with more memory than others, most models first.

        Parameters
        ----------
        low
            Max pressure.
        most
            Options of all of them together at most.

        Yields
        ------
        tuple
            Bytes of the largest GPU that holds none of them, and which they are.
        """
        columns = self.instance.columns
        with np.errstate(invalid="ignore"):
            room = np.maximum(self.size + self.sure / low, self.least)
        counts = np.diff(columns.starts)
        for memory in np.unique(columns.memory)[:-1].tolist():
            some = np.flatnonzero((room >= memory).all(axis=1))
            if 0 < counts[some].sum() <= most:
                yield memory, some

    def caps(self) -> list[float]:
        """Return the sizes of shard worth aiming at: parts of the largest GPU, and other GPUs."""
        sizes = np.unique(self.instance.columns.memory)[::-1].tolist()
        return [*(share * sizes[0] for share in SHARES), *(0.97 * size for size in sizes[1:6])]

    def pick(self, target: float, cap: float) -> list[Option]:
        """Return the option of each model that takes the least room.

        Options of which a shard takes more than `cap` come last, the smaller shards first.
        """
        each, whole, fit = self.room(target)
        # Under several pressures a little less load is not worth more copies of all weights.
        shard = each if self._time is None else self.size
        whole = np.where(each > cap, whole + shard * 1e6, whole)
        whole = np.where(fit, whole, np.where(np.isfinite(each), each * 1e12, math.inf))
        chosen: Ints = whole.argmin(axis=1)
        return [row[at] for row, at in zip(self.instance.options, chosen.tolist(), strict=True)]


def scarcity(parts: Floats) -> Floats:
    """Return how much each of several pressures counts: the more of the fleet it takes, the more.

    Parameters
    ----------
    parts
        (pressures,) part of the fleet that all models take of each.

    Returns
    -------
    ndarray
        (pressures,) at least 0, with a sum of 1 where any is above 0.
    """
    weight = np.power(parts / max(float(parts.max(initial=0.0)), 1e-300), SCARCE)
    found: Floats = weight / max(float(weight.sum()), 1e-300)
    return found


def _least_time(instance: Instance) -> Floats:
    """Return (rows,) the largest load on time of a shard, on the GPU type where that is least."""
    columns = instance.columns
    time = columns.loads[:, :, instance.kv :].max(axis=2)
    if time.shape[1] == 1:
        return np.asarray(time[:, 0])
    may = columns.on_kinds(columns.type_of, np.ones_like(columns.model))
    return np.asarray(np.where(may, time, math.inf).min(axis=1))


def _taken(whole: Floats, fit: Bools) -> float:
    """Return what all models take at least."""
    least = np.where(fit, whole, math.inf).min(axis=1)
    return float(least[np.isfinite(least)].sum())
