"""Columns: an instance as numpy arrays."""

import math
from functools import cached_property

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.instance.numbers import Numbers
from kvplace.solver.instance.pressure import pressures


class Columns:
    """An instance as arrays that share its memory.

    Parameters
    ----------
    instance
        The instance.

    Attributes
    ----------
    size, keep
        (rows,) bytes resident, and bytes of KV that must be left, per shard.
    loads
        (rows, load types, pressures) loads of a shard where copies carry even parts.
    memory
        (g,) usable bytes per GPU, descending.
    model_index, gpu_index
        Position of each model in the problem, and of each GPU in the fleet.
    kv
        Number of pressures on KV memory; those on time follow.
    """

    def __init__(self, instance: Numbers) -> None:
        self._instance = instance
        self.n, self.g, self.kv = instance.n, instance.g, instance.kv
        self.size: Ints = np.frombuffer(instance.size, np.int64)
        self.keep: Ints = np.frombuffer(instance.keep, np.int64)
        self.loads: Floats = np.frombuffer(instance.loads, np.float64).reshape(
            len(self.size), instance.types, instance.pressures
        )
        self.memory: Ints = np.frombuffer(instance.memory, np.int64)
        self.model_index: Ints = np.frombuffer(instance.model_index, np.int64)
        self.gpu_index: Ints = np.frombuffer(instance.gpu_index, np.int64)

    @cached_property
    def keeps(self) -> bool:
        """Whether any model must be left some KV."""
        return bool(self.keep.any())

    def needs(self, rows: Ints, target: float) -> Floats:
        """Return what a shard of each of some options takes of the largest GPU, in its bytes.

        At a target K a GPU holds shards while their ``size + load / K`` are at most its memory,
        for every pressure on memory, and their loads at most K, for every pressure on time. What
        a shard takes is the largest part of either, on the GPU type where that is least.

        Parameters
        ----------
        rows
            Rows of the options.
        target
            K, above 0.
        """
        loads = self.loads[rows]
        need: Floats = self.size[rows] + loads[:, 0, : self.kv].max(axis=1) / target
        if self.kv < loads.shape[2]:
            time = loads[:, :, self.kv :].max(axis=2).min(axis=1)
            need = np.maximum(need, time / target * self.memory[0])
        return need

    @property
    def load(self) -> Floats:
        """(n,) loads of undivided models under one pressure."""
        return self.loads.reshape(-1)

    @property
    def alone(self) -> Floats:
        """(n,) pressure of each undivided model alone on the GPU where that is least."""
        least: Floats = np.full(self.n, math.inf)
        for kind in np.unique(self.type_of).tolist():
            memory, loads = self.memory[self.type_of == kind].max(), self.loads[:, kind].T
            np.minimum(least, pressures(memory - self.size, self.keep, loads, self.kv), out=least)
        return least

    @cached_property
    def type_of(self) -> Ints:
        """(g,) load type per GPU."""
        found = self._instance.type_of
        return np.array(found or [0] * self.g, dtype=np.int64)

    @cached_property
    def kinds(self) -> list[tuple[int, int]]:
        """Load type and usable bytes of each kind of GPU, ascending."""
        return sorted(set(zip(self.type_of.tolist(), self.memory.tolist(), strict=True)))

    @cached_property
    def kind_of(self) -> Ints:
        """(g,) which of `kinds` each GPU is."""
        number = {kind: at for at, kind in enumerate(self.kinds)}
        both = zip(self.type_of.tolist(), self.memory.tolist(), strict=True)
        return np.array([number[kind] for kind in both], dtype=np.int64)

    def on_kinds(self, kind_of: Ints, width: Ints) -> Bools:
        """Return (rows, kinds) whether options may be on GPUs of each kind.

        Parameters
        ----------
        kind_of
            (g,) the kind of each GPU, as `kind_of` or finer.
        width
            (rows,) how many GPUs a model may run on must share a link domain.
        """
        base, kinds = int(width.max(initial=0)) + 1, int(kind_of.max()) + 1
        asked, row_of = np.unique(self.mask_of[self.model] * base + width, return_inverse=True)
        held = []
        for at, wide in (divmod(number, base) for number in asked.tolist()):
            gpus = np.flatnonzero(self.masks[at])
            domain = self.domain_of[gpus]
            gpus = gpus[np.bincount(domain, minlength=1)[domain] >= wide]
            held.append(np.bincount(kind_of[gpus], minlength=kinds) > 0)
        return np.array(held, dtype=bool).reshape(-1, kinds)[row_of]

    @cached_property
    def domain_of(self) -> Ints:
        """(g,) link domain per GPU."""
        found = self._instance.domain_of
        return np.array(found or range(self.g), dtype=np.int64)

    @cached_property
    def domains(self) -> Ints:
        """(d, w) GPUs of each link domain, filled up with g."""
        order = np.argsort(self.domain_of, kind="stable")
        counts = np.bincount(self.domain_of)
        domains = np.full((len(counts), int(counts.max())), self.g, dtype=np.int64)
        starts = np.cumsum(counts) - counts
        column = np.arange(self.g) - np.repeat(starts, counts)
        domains[self.domain_of[order], column] = order
        return domains

    @cached_property
    def masks(self) -> list[Bools]:
        """Sets of GPUs, each (g,), that models may run on."""
        masks = [np.frombuffer(mask, np.bool_) for mask in self._instance.masks]
        return masks or [np.ones(self.g, dtype=bool)]

    @cached_property
    def mask_of(self) -> Ints:
        """(n,) which of `masks` is that of each model."""
        found = self._instance.mask_of
        return np.array(found, dtype=np.int64) if found else np.zeros(self.n, dtype=np.int64)

    @cached_property
    def allowed(self) -> list[Bools]:
        """Per model, (g,) where it may run; models of which the same is asked share one array."""
        return [self.masks[at] for at in self.mask_of.tolist()]

    @cached_property
    def model(self) -> Ints:
        """(rows,) model of each option."""
        found: Ints = np.repeat(np.arange(self.n), np.diff(self._instance.starts))
        return found

    @cached_property
    def unsure(self) -> Bools:
        """(rows,) whether copies carry uneven parts: of a shard's load nothing is sure."""
        uneven = np.zeros(self.n, dtype=bool)
        uneven[list(self._instance.uneven)] = True
        found: Bools = uneven[self.model] & (np.array(self._instance.copies) > 1)
        return found

    @cached_property
    def starts(self) -> Ints:
        """(n + 1,) row of the first option of each model, and the end."""
        return np.array(self._instance.starts, dtype=np.int64)

    @cached_property
    def shards(self) -> Floats:
        """(rows,) how many shards all copies have together."""
        copies = np.array(self._instance.copies, dtype=np.float64)
        return np.array(self._instance.degree, dtype=np.float64) * copies

    @cached_property
    def sure(self) -> Floats:
        """(rows,) first KV load that a shard is sure to have: none of uneven copies."""
        return np.where(self.unsure, 0.0, self.loads[:, 0, 0])

    @cached_property
    def least(self) -> Floats:
        """(rows,) bytes of a shard and of the KV that must be left, at least one.

        They are ``inf`` where no link domain holds a copy, or they are not wide enough for all.
        """
        least: Floats = self.size.astype(np.float64) + np.maximum(1, self.keep)
        least[~self._seated(least)] = math.inf
        return least

    @cached_property
    def widest(self) -> Floats:
        """(rows,) usable bytes of the largest GPU in a link domain wide enough for a copy."""
        sizes, kind_of = np.unique(self.memory, return_inverse=True)
        held = self.on_kinds(kind_of, np.array(self._instance.degree))
        found: Floats = np.where(held, sizes, 0).max(axis=1, initial=0).astype(np.float64)
        return found

    def _seated(self, least: Floats) -> Bools:
        """Return per option whether a link domain holds a copy, and all are wide enough for all."""
        degree, copies = np.array(self._instance.degree), np.array(self._instance.copies)
        seated = np.ones(len(degree), dtype=bool)
        split = np.flatnonzero(degree > 1)
        mask = self.mask_of[self.model[split]]
        for at, each in set(zip(mask.tolist(), degree[split].tolist(), strict=True)):
            gpus = np.flatnonzero(self.masks[at])  # those of most memory first
            domain = self.domain_of[gpus]
            counts = np.bincount(domain)
            wide = counts >= each
            smallest = (np.cumsum(counts) - counts + each - 1)[wide]  # of the best GPUs of each
            best = gpus[np.argsort(domain, kind="stable")[smallest]]
            rows = split[(mask == at) & (degree[split] == each)]
            seated[rows] = copies[rows] <= (counts // each).sum()
            seated[rows] &= least[rows] <= self.memory[best].max(initial=0)
        return seated


def padded(starts: Ints, column: Floats | Ints, fill: float = math.inf) -> Floats:
    """Return a column of options as one row per model, filled up where a model has fewer.

    Parameters
    ----------
    starts
        (n + 1,) as in `Columns`.
    column
        (rows,) of the options.
    fill
        In place of options that are not there.
    """
    counts = np.diff(starts)
    wide = np.full((len(counts), max(1, int(counts.max(initial=0)))), fill)
    model = np.repeat(np.arange(len(counts)), counts)
    wide[model, np.arange(len(column)) - starts[model]] = column
    return wide


def undominated(values: Floats) -> list[int]:
    """Return the columns, the last axis, without those that another is never below."""
    kept: list[int] = []
    rows = values.reshape(-1, values.shape[-1])
    for at in (-rows.sum(axis=0)).argsort(kind="stable").tolist():
        if not any((rows[:, at] <= rows[:, other]).all() for other in kept):
            kept.append(at)
    return sorted(kept)


def fluid_level(columns: Columns) -> float:
    """Return the pressure that all GPUs would have together, the hottest models apart.

    Models whose pressure alone on a GPU is above the level of what remains take a GPU each, the
    largest first; the level is what the others come to, were they fluid. A start and a target,
    not a bound. Of several pressures, the highest level counts.
    """
    memory, size = columns.memory.astype(np.float64), columns.size.astype(np.float64)
    return max(
        _level(columns.loads[:, 0, at], memory, size)
        if at < columns.kv
        else _level(columns.loads[:, :, at].min(axis=1), np.ones(columns.g), np.zeros(columns.n))
        for at in range(columns.loads.shape[2])
    )


def _level(load: Floats, has: Floats, taken: Floats) -> float:
    """Return the level of one pressure.

    Parameters
    ----------
    load, taken
        (n,) load of each model, and what it takes of a GPU besides.
    has
        (g,) what each GPU has, the most first.
    """
    alone = load / np.maximum(has[0] - taken, 1.0)
    hot = np.zeros(len(load), dtype=bool)
    while True:
        left = float(has[hot.sum() :].sum() - taken[~hot].sum())
        level = float(load[~hot].sum()) / max(left, 1.0)
        hotter = alone > level
        if not hot.sum() < hotter.sum() < len(has):
            return level
        hot = hotter
