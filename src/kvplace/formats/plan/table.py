"""What the CSV and the Parquet form of a plan state: one row per shard, in columns."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from typing import TYPE_CHECKING, Any

from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Result

if TYPE_CHECKING:
    from kvplace.formats.plan.stated import Plan

__all__ = ["COLUMNS", "UNSTATED", "PlanTable", "table_of"]

COLUMNS = ("model", "replica", "shard", "node", "gpu", "weights_bytes", "load")
MANY = 10_000
"""Rows above which a placement is kept as arrays rather than as replicas."""
UNSTATED = -1
"""What stands in a column of numbers where a row states none."""


@dataclass(frozen=True, slots=True)
class PlanTable:
    """What the rows of a plan state, and what is beside them.

    Parameters
    ----------
    models
        (rows,) name of the model of each shard.
    gpus
        Ids of GPUs, and (rows,) the position in them of the GPU of each shard.
    replicas, shards
        (rows,) number of the copy, and rank within it.
    weights_bytes, loads
        (rows,) what each shard takes, `UNSTATED` where a row does not say; empty where none does.
    head
        The rest of the plan, whose own lists are empty; None where there are only rows.
    """

    models: Sequence[str]
    gpus: tuple[Sequence[str], "array[int]"]
    replicas: "array[int]"
    shards: "array[int]"
    weights_bytes: "array[int]"
    loads: "array[float]"
    head: "Plan | None" = None

    @property
    def objective(self) -> str | None:
        """Name of the load; None where it is not stated."""
        return None if self.head is None else self.head.objective

    @property
    def undivided(self) -> bool:
        """Whether there is one shard of each model."""
        return not any(self.replicas) and not any(self.shards)

    @property
    def placement(self) -> Placement:
        """The decision; as arrays where there are many undivided models."""
        ids, at = self.gpus
        if len(self.models) > MANY and self.undivided:
            return Placement(Assigned(self.models, ids, at))
        groups: dict[tuple[str, int], dict[int, str]] = {}
        for row, model in enumerate(self.models):
            group = groups.setdefault((model, self.replicas[row]), {})
            group[self.shards[row]] = ids[at[row]]
        return Placement(
            tuple(
                Replica(model, number, tuple(gpus[rank] for rank in sorted(gpus)))
                for (model, number), gpus in groups.items()
            )
        )

    def placement_for(self, problem: Problem) -> Placement:
        """Return the decision in the order of a problem's models and GPUs, where it is for it."""
        placement = self.placement
        held = placement.replicas
        if not isinstance(held, Assigned):
            return placement
        if len(held.names) != len(problem.names):
            return Placement(tuple(placement))
        position = {gpu.id: at for at, gpu in enumerate(problem.fleet.gpus)}
        real = [position.get(gpu, -1) for gpu in held.gpu_ids]
        gpu_of = array("q", [real[at] for at in held.gpu_of])
        if held.names != problem.names:
            models = problem.index_of
            if any(name not in models for name in held.names):
                return Placement(tuple(placement))
            ordered = array("q", gpu_of)
            for name, gpu in zip(held.names, gpu_of, strict=True):
                ordered[models[name]] = gpu
            gpu_of = ordered
        if min(gpu_of) < 0:
            return Placement(tuple(placement))
        return Placement(Assigned(problem.names, list(position), gpu_of))


def table_of(plan: "Plan | Result") -> PlanTable:
    """Return the rows of a plan, none of which is made as an object."""
    if not isinstance(plan, Result):
        held_by = [(gpu.id, len(gpu.shards)) for gpu in plan.gpus if gpu.shards]
        own = [s for gpu in plan.gpus for s in gpu.shards]
        stated = [(s.model, s.replica, s.shard, s.weights_bytes, s.load) for s in own]
        return _of_rows(held_by, zip(*stated, strict=True) if stated else repeat((), 5))
    problem = plan.problem
    held = () if plan.placement is None else plan.placement.replicas
    if isinstance(held, Assigned) and held.names == problem.names:
        none = array("i", bytes(4 * len(held.names)))
        found = (held.gpu_ids, held.gpu_of), none, none
        return PlanTable(held.names, *found, problem.undivided_bytes, array("d", problem.loads))
    if plan.evaluation is None:
        return _of_rows([], repeat((), 5))
    sums = plan.evaluation.sums
    (order, ends), rows = sums.every_held, sums.rows
    counts = [end - first for first, end in pairwise(ends)]
    gpus = zip(problem.fleet.position, counts, strict=True)
    columns = rows.models, rows.replicas, rows.ranks, rows.weights_bytes, rows.loads
    return _of_rows(
        [(gpu, count) for gpu, count in gpus if count],
        (list(map(column.__getitem__, order)) for column in columns),
    )


def _of_rows(held_by: Sequence[tuple[str, int]], columns: Iterable[Sequence[Any]]) -> PlanTable:
    """Return rows by column, GPU by GPU, and how many each GPU holds."""
    at = chain.from_iterable(repeat(number, count) for number, (_, count) in enumerate(held_by))
    models, replicas, ranks, weights_bytes, loads = columns
    return PlanTable(
        list(models),
        ([gpu for gpu, _ in held_by], array("q", at)),
        array("i", replicas),
        array("i", ranks),
        array("q", weights_bytes),
        array("d", loads),
    )
