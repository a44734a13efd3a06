"""Cluster: a problem with tensor parallel, copies and rules as arrays.

The counterpart of `kvplace.solver.instance.lists`, which serves problems of one undivided
replica per model. Models and GPUs are numbers in a canonical order here too, so that the order of
the input cannot change the plan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from kvplace.core.model import Split
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.instance.rule_penalties import Blueprint, Copies, blueprints

__all__ = ["Cluster", "Copies", "Option", "OptionRows"]


class Option(NamedTuple):
    """One way to split and copy a model.

    Parameters
    ----------
    degree, copies
        Tensor parallel degree and number of copies.
    size, keep
        Bytes resident and bytes of KV to be left, per shard.
    load
        Per shard where copies carry even parts, times the objective's memory unit.
    """

    degree: int
    copies: int
    size: int
    keep: int
    load: float

    @property
    def shards(self) -> int:
        """Shards of all copies together."""
        return self.degree * self.copies


@dataclass(frozen=True, slots=True, eq=False)
class OptionRows:
    """The options of all models of a cluster, one after the other, in arrays.

    Parameters
    ----------
    starts
        (n + 1,) row of the first option of each model, and the end.
    size, load, shards
        (rows,) bytes and load of a shard, as in `Option`, and how many shards there are.
    sure
        (rows,) load that a shard is sure to have: none of uneven copies.
    least
        (rows,) bytes of a shard and of the KV that must be left, at least one.
    """

    starts: Ints
    size: Floats
    load: Floats
    shards: Floats
    sure: Floats
    least: Floats

    def padded(self, column: Floats, fill: float = math.inf) -> Floats:
        """Return a column as one row per model, filled up where a model has fewer options."""
        counts = np.diff(self.starts)
        wide = np.full((len(counts), max(1, int(counts.max(initial=0)))), fill)
        model = np.repeat(np.arange(len(counts)), counts)
        wide[model, np.arange(len(column)) - self.starts[model]] = column
        return wide


class Cluster:
    """A problem as arrays.

    Parameters
    ----------
    problem
        What is to be solved.

    Attributes
    ----------
    memory
        (g,) usable bytes per GPU.
    domains
        (d, w) GPUs of each link domain, filled up with g.
    domain_of
        (g,) link domain per GPU.
    options
        Per model.
    rows
        The same in arrays.
    allowed
        Per model, (g,) where it may run; models of which the same is asked share one array.
    masks, mask_of
        Each such array once, and (n,) which of them is that of a model.
    everywhere
        Whether an array of `allowed`, by its id, holds every GPU.
    uneven
        Per model, whether its copies carry parts by capacity.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        gpus = problem.fleet.gpus
        order = sorted(range(len(gpus)), key=lambda g: (-gpus[g].usable_bytes, gpus[g].id))
        self.gpu_ids = [gpus[g].id for g in order]
        self.gpu_at = {id_: g for g, id_ in enumerate(self.gpu_ids)}
        self.memory: Ints = np.array([gpus[g].usable_bytes for g in order], dtype=np.int64)
        models, names = problem.models, problem.names
        # By load, the hottest first; then by weights, the largest first; then by name.
        self.model_index = sorted(range(len(models)), key=names.__getitem__)
        self.model_index.sort(key=[m.weights_bytes for m in models].__getitem__, reverse=True)
        self.model_index.sort(key=problem.loads.__getitem__, reverse=True)
        self.model_at = {names[i]: j for j, i in enumerate(self.model_index)}
        self.domain_of, self.domains = self._link_domains()
        self.uneven = [
            models[i].replicas.split is not Split.EVEN and models[i].replicas.max > 1
            for i in self.model_index
        ]
        self.options, self.rows = self._options()
        self.masks, self.mask_of = self._allowed()
        self.allowed = [self.masks[at] for at in self.mask_of.tolist()]
        self.everywhere = {id(mask): bool(mask.all()) for mask in self.masks}

    @property
    def n(self) -> int:
        """Number of models."""
        return len(self.options)

    @property
    def g(self) -> int:
        """Number of GPUs."""
        return len(self.memory)

    @cached_property
    def blueprints(self) -> list[Blueprint]:
        """How the trackers of its rules are made."""
        return blueprints(self)

    @cached_property
    def rules_of(self) -> list[list[int]]:
        """Positions in `blueprints` of those that speak of each model."""
        none: list[int] = []
        of = [none] * self.n
        for at, plan in enumerate(self.blueprints):
            for j in plan.concerned:
                of[j] = [*of[j], at]
        return of

    def name(self, j: int) -> str:
        """Return the name of a model."""
        return self.problem.names[self.model_index[j]]

    def topology(self, key: str) -> Ints:
        """Return (g,) domains of a topology key as numbers, -1 where a GPU is in none."""
        numbers: dict[str, int] = {}
        found = (self.problem.fleet.domain(id_, key) for id_ in self.gpu_ids)
        return np.array(
            [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in found],
            dtype=np.int64,
        )

    def _link_domains(self) -> tuple[Ints, Ints]:
        domain_of = self.topology("link")
        order = np.argsort(domain_of, kind="stable")
        counts = np.bincount(domain_of)
        domains = np.full((len(counts), int(counts.max())), self.g, dtype=np.int64)
        starts = np.cumsum(counts) - counts
        column = np.arange(self.g) - np.repeat(starts, counts)
        domains[domain_of[order], column] = order
        return domain_of, domains

    def _options(self) -> tuple[list[list[Option]], OptionRows]:
        table = self.problem.option_table
        index = np.array(self.model_index)
        first = np.array(table.starts, dtype=np.int64)
        counts = np.diff(first)[index]
        starts = np.concatenate([[0], np.cumsum(counts)])
        order = np.arange(starts[-1]) + np.repeat(first[:-1][index] - starts[:-1], counts)
        at = order.tolist()
        degrees = np.array(table.degrees, dtype=np.int64)[order]
        copies = np.array(table.copies, dtype=np.int64)[order]
        sizes, keeps = (
            [column[row] for row in at] for column in (table.weights_bytes, table.min_kv_bytes)
        )
        loads = np.array(table.loads)[order] * self.problem.goal.memory_unit_bytes
        columns = (degrees.tolist(), copies.tolist(), sizes, keeps, loads.tolist())
        options = list(map(Option._make, zip(*columns, strict=True)))
        uneven = np.repeat(self.uneven, counts) & (copies > 1)
        rows = OptionRows(
            starts,
            np.array(sizes, dtype=np.float64),
            loads,
            (degrees * copies).astype(np.float64),
            np.where(uneven, 0.0, loads),
            np.array(
                [size + max(1, keep) for size, keep in zip(sizes, keeps, strict=True)],
                dtype=np.float64,
            ),
        )
        return [options[a:b] for a, b in pairwise(starts.tolist())], rows

    def _allowed(self) -> tuple[list[Bools], Ints]:
        number: dict[int, int] = {}
        masks: list[Bools] = []
        mask_of = []
        for allowed in map(self.problem.allowed, self.model_index):
            if id(allowed) not in number:
                number[id(allowed)] = len(masks)
                masks.append(np.array([id_ in allowed for id_ in self.gpu_ids]))
            mask_of.append(number[id(allowed)])
        return masks, np.array(mask_of, dtype=np.int64)

    @cached_property
    def least_bytes(self) -> list[int]:
        """Bytes that each model takes at least, of all its shards together; never 0."""
        return [max(1, min([o.size * o.shards for o in row], default=1)) for row in self.options]

    def loads(self, j: int, option: Option, copies: Copies) -> list[float]:
        """Return the load of a shard of each copy."""
        if not self.uneven[j] or len(copies) < 2:
            return [option.load] * len(copies)
        index = self.model_index[j]
        gpus = [[self.gpu_ids[g] for g in copy] for copy in copies]
        parts = self.problem.demand_parts(index, gpus)
        unit = self.problem.goal.memory_unit_bytes
        return [self.problem.shard(index, option.degree, part).load * unit for part in parts]

    def option_of(self, j: int, copies: Copies) -> Option:
        """Return the option that some copies of a model are."""
        degree, count = len(copies[0]), len(copies)
        for option in self.options[j]:
            if option.degree == degree and option.copies == count:
                return option
        raise ValueError((j, copies))

    def unload(self, where: Sequence[Copies]) -> Placement:
        """Return the placement of copies that are on the GPUs given for each model."""
        ids, names = self.gpu_ids, [self.problem.names[i] for i in self.model_index]
        return Placement(
            tuple(
                Replica(names[j], index, tuple([ids[g] for g in copy]))
                for j in sorted(range(self.n), key=names.__getitem__)  # as placements are
                for index, copy in enumerate(sorted(where[j]))
            )
        )

    def load(self, placement: Placement) -> list[Copies]:
        """Return where the copies of each model are under a placement.

        A model that is split or copied in a way that it may not be is nowhere.

        Raises
        ------
        InputError
            The placement lacks a model, or names what the problem does not have.
        """
        held: dict[str, list[tuple[str, ...]]] = {}
        for replica in placement:
            held.setdefault(replica.model, []).append(replica.gpus)
        faults = [
            f"the placement holds {name!r}, which is no model of the problem"
            for name in held
            if name not in self.model_at
        ]
        where: list[Copies] = []
        for j in range(self.n):
            copies = held.get(self.name(j), [])
            used = [gpu for copy in copies for gpu in copy]
            unknown = [gpu for gpu in used if gpu not in self.gpu_at]
            if unknown:
                faults.append(
                    f"{self.name(j)!r} is on {unknown[0]!r}, which is no GPU of the fleet"
                )
            elif not used:
                faults.append(f"{self.name(j)!r} has no GPU")
            else:
                found = tuple(tuple(self.gpu_at[gpu] for gpu in copy) for copy in copies)
                where.append(found if self._suits(j, found) else ())
        if faults:
            raise InputError(faults, "placement")
        return where

    def _suits(self, j: int, copies: Copies) -> bool:
        """Whether copies are split and counted as an option is, each on GPUs of its own."""
        used = [g for copy in copies for g in copy]
        ways = {(option.degree, option.copies) for option in self.options[j]}
        return (
            len(set(used)) == len(used)
            and len({len(copy) for copy in copies}) == 1
            and (len(copies[0]), len(copies)) in ways
            and all(len({int(self.domain_of[g]) for g in copy}) == 1 for copy in copies)
        )
