"""Configuration program with options: what share of the fleet a target of all pressures needs.

As `kvplace.solver.column_generation.model_sets`, for models that may be split and copied, on GPUs
of several kinds, under any number of pressures. An item is one option of a model, to be covered as
often as it has shards by as much of the model as takes that option; a column is a set of shards of
different models, each of some option, that a GPU of a kind holds within every pressure. A column
holds one shard of a model at most, so those of one option are on different GPUs. Where shards lie
besides is left out: a relaxation, whose duals are a certificate (`kvplace.core.certificates`).
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Entry, Master
from kvplace.solver.column_generation.model_sets import SetProgram, Verdict, price_sets
from kvplace.solver.column_generation.pricing import ACCURACY, Column, Pool, Room
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import scarcity

__all__ = ["OptionSets"]

TINY = 1e-16
"""Part of a limit that a shard takes at least, so that ratios are defined."""


class OptionSets(SetProgram):
    """The program of one cluster.

    Parameters
    ----------
    instance
        The problem; each model has an option.

    Attributes
    ----------
    model
        (rows,) model of each option.
    shards
        (rows,) shards of all copies together.
    kinds
        Load type and usable bytes of each kind of GPU, ascending.
    kind_of
        (g,) kind of each GPU.
    """

    def __init__(self, instance: Instance) -> None:
        super().__init__()
        self.instance = instance
        columns, rows = instance.columns, instance.columns.rows
        counts = np.diff(rows.starts)
        self.model: Ints = np.repeat(np.arange(instance.n), counts)
        self.shards: Ints = rows.shards.astype(np.int64)
        both = list(zip(columns.type_of.tolist(), columns.memory.tolist(), strict=True))
        self.kinds: list[tuple[int, int]] = sorted(set(both))
        number = {kind: at for at, kind in enumerate(self.kinds)}
        self.kind_of = [number[kind] for kind in both]
        self.count: Floats = np.bincount(self.kind_of).astype(np.float64)
        of_mask = np.array(
            [np.bincount(np.array(self.kind_of)[mask], minlength=len(number)) > 0
             for mask in columns.masks]
        )  # fmt: skip
        self._allowed: Bools = of_mask[columns.mask_of][self.model]
        copies = np.array(instance.copies)
        uneven = np.array([instance.is_uneven(j) for j in range(instance.n)])
        self._idle: Bools = uneven[self.model] & (copies > 1)
        self._usable: Bools = np.ones(len(self.model), dtype=bool)

    def add(self, held: Sequence[Iterable[int]]) -> None:
        """Take the sets of an assignment as columns: (g,) the options of the shards on each GPU."""
        for kind, rows in zip(self.kind_of, held, strict=True):
            members = tuple(sorted(rows))
            if members:
                self._columns[kind, members] = None

    def rooms(self, target: float) -> tuple[list[Room], Bools]:
        """Return what each kind of GPU holds at a target.

        Returns
        -------
        tuple
            The rooms, of which the first size mixes all pressures, and (rows, kinds) whether a
            shard alone is within every limit; what is not has infinite sizes.
        """
        instance, columns = self.instance, self.instance.columns
        size, least = columns.rows.size, columns.rows.least
        kept = columns.size + columns.keep
        rooms, fits = [], []
        seated = np.zeros(len(size), dtype=bool)
        for at, (type_, memory) in enumerate(self.kinds):
            # At a target of 0 whatever has a load is too large, and the rest is as large as it is.
            with np.errstate(over="ignore"):
                loads = columns.loads[:, type_, :] / max(target, np.finfo(np.float64).tiny)
            in_memory = (size[:, None] + loads[:, : instance.kv]) / memory
            in_time = loads[:, instance.kv :]
            alone = np.column_stack([in_memory, in_time]).max(axis=1)
            held = self._allowed[:, at] & (least <= memory)
            seated |= held & (alone < 1)
            # Of uneven copies the weights alone are sure: one carries an even part or more, which
            # is within every limit somewhere, the others may be where that is not.
            fit = held & ((alone < 1) | self._idle)
            in_memory[self._idle] = (size[self._idle] / memory)[:, None]
            in_time[self._idle] = 0.0
            limits = np.column_stack([in_memory, in_time, kept / memory])
            limits = limits[:, _needed(limits[fit])]
            mixed = np.where(fit[:, None], limits, 0.0) @ self._scarcity(limits, fit)
            sizes = np.maximum(np.column_stack([mixed, limits]), TINY).T
            rooms.append(Room(np.where(fit, sizes, np.inf), np.ones(len(sizes)), self.model))
            fits.append(fit)
        return rooms, np.column_stack(fits) & seated[:, None]

    def _scarcity(self, limits: Floats, fit: Bools) -> Floats:
        """Return how much each limit counts in the mixed size: the scarcer, the more."""
        whole = np.where(fit[:, None], limits * self.shards[:, None], np.inf)
        least = np.minimum.reduceat(whole, self.instance.columns.rows.starts[:-1])
        return scarcity(np.where(np.isfinite(least), least, 0.0).sum(axis=0))

    def decide(  # noqa: D102 - of the base class
        self, target: float, watch: Watch, *, rounds: int = 2000, settle: bool = True
    ) -> Verdict:
        rooms, fits = self.rooms(target)
        usable: Bools = np.logical_or.reduce(fits, axis=1)
        starts = self.instance.columns.rows.starts[:-1]
        placeable: Bools = np.asarray(np.logical_or.reduceat(usable, starts))
        if not placeable.all():  # a model is within every pressure nowhere, not even alone
            alone = (~placeable[self.model]).astype(np.float64)
            return Verdict(target, math.inf, alone, np.zeros(len(self.kinds)), exact=True)
        self._usable = usable
        options = np.bincount(self.model[usable], minlength=self.instance.n)
        one: Bools = np.equal(options, 1)
        demand = np.where(usable & one[self.model], self.shards, 0.0).astype(np.float64)
        master = Master(demand, self.count, dual_feasibility_tolerance=ACCURACY / 100)
        for members in self._choices(usable, one):
            choice = master.add_row(-1.0)
            entries = (
                (("choice", row), Entry((row, choice), (-float(self.shards[row]), -1.0)))
                for row in members
            )
            master.add(entries)
        self.give(master, self._start(rooms, fits))
        return price_sets(self, master, Pool(rooms), target, rounds, watch, settle=settle)

    def _choices(self, usable: Bools, one: Bools) -> Iterable[list[int]]:
        """Yield the options of each model that has several."""
        starts = self.instance.columns.rows.starts.tolist()
        for j, (first, end) in enumerate(pairwise(starts)):
            if not one[j]:
                yield [row for row in range(first, end) if usable[row]]

    def _start(self, rooms: list[Room], fits: Bools) -> list[Column]:
        """Return the columns known that fit, and each shard alone on every kind of GPU."""
        alone = [(kind, (row,)) for row, kind in np.argwhere(fits).tolist()]
        known = [
            (kind, members)
            for kind, members in self._columns
            if (rooms[kind].sizes[:, list(members)].sum(axis=1) <= 1).all()
        ]
        return [*known, *alone]

    def least(self, prices: Floats) -> Floats:
        """Return (n,) what each model is priced at in its cheapest option."""
        whole = np.where(self._usable, prices * self.shards, np.inf)
        found: Floats = np.minimum.reduceat(whole, self.instance.columns.rows.starts[:-1])
        return found

    def total(self, prices: Floats) -> float:  # noqa: D102 - of the base class
        return float(self.least(prices).sum())

    def fluid(self, target: float) -> Verdict:  # noqa: D102 - of the base class
        rooms, _ = self.rooms(target)
        prices = np.min([room.sizes[0] for room in rooms], axis=0)
        prices = np.where(np.isfinite(prices), prices, 0.0)
        return self.verdict(target, prices, np.ones(len(rooms)), exact=False)

    def _entry(self, column: Column) -> tuple[Column, Entry]:
        kind, members = column
        rows = (*members, len(self.model) + kind)
        return column, Entry(rows, (1.0,) * len(rows))


def _needed(limits: Floats) -> list[int]:
    """Return the limits, the last axis, without those of which another takes no smaller part."""
    kept: list[int] = []
    for at in (-limits.sum(axis=0)).argsort(kind="stable").tolist():
        if not any((limits[:, at] <= limits[:, other]).all() for other in kept):
            kept.append(at)
    return sorted(kept)
