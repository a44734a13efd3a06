"""Cluster: a problem with tensor parallel, copies and rules as arrays.

The counterpart of `kvplace.solver.arrays`, which serves problems of one undivided replica per
model. Models and GPUs are numbers in a canonical order here too, so that the order of the input
cannot change the plan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kvplace.core.model import Split
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.solver.rule_costs import Blueprint, Copies, blueprints
from kvplace.solver.sets import Floats, Ints

__all__ = ["Bools", "Cluster", "Copies", "Option"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Option:
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
    allowed
        Per model, (g,) where it may run; models of which the same is asked share one array.
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
        models = problem.models
        self.model_index = sorted(
            range(len(models)),
            key=lambda i: (-problem.loads[i], -models[i].weights_bytes, models[i].name),
        )
        self.model_at = {models[i].name: j for j, i in enumerate(self.model_index)}
        self.domain_of, self.domains = self._link_domains()
        self.options = [self._options(i) for i in self.model_index]
        self.allowed = self._allowed()
        self.everywhere = {id(mask): bool(mask.all()) for mask in self.allowed}
        self.uneven = [
            models[i].replicas.split is not Split.EVEN and models[i].replicas.max > 1
            for i in self.model_index
        ]

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

    def name(self, j: int) -> str:
        """Return the name of a model."""
        return self.problem.models[self.model_index[j]].name

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

    def _options(self, index: int) -> list[Option]:
        problem = self.problem
        unit = problem.goal.memory_unit_bytes
        options = []
        for degree, copies in problem.options(index):
            need = problem.need(index, degree, copies)
            options.append(
                Option(degree, copies, need.weights_bytes, need.min_kv_bytes, need.load * unit)
            )
        return options

    def _allowed(self) -> list[Bools]:
        masks: dict[int, Bools] = {}
        rows = []
        for i in self.model_index:
            allowed = self.problem.allowed(i)
            if id(allowed) not in masks:
                masks[id(allowed)] = np.array([id_ in allowed for id_ in self.gpu_ids])
            rows.append(masks[id(allowed)])
        return rows

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
        wanted = (len(copies[0]), len(copies))
        return next(o for o in self.options[j] if (o.degree, o.copies) == wanted)

    def unload(self, where: Sequence[Copies]) -> Placement:
        """Return the placement of copies that are on the GPUs given for each model."""
        return Placement(
            tuple(
                Replica(self.name(j), index, tuple(self.gpu_ids[g] for g in copy))
                for j, copies in enumerate(where)
                for index, copy in enumerate(sorted(copies))
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


def padded(rows: Sequence[Sequence[float]], fill: float = math.inf) -> Floats:
    """Return rows of unequal length as one array."""
    width = max(1, *map(len, rows)) if rows else 1
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype=np.float64)
