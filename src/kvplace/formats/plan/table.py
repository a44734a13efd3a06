"""What the CSV and the Parquet form of a plan state: one row per shard, in columns."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Result

if TYPE_CHECKING:
    from kvplace.formats.plan.stated import Plan

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
        held, position = placement.replicas, problem.fleet.position
        if not isinstance(held, Assigned):
            return placement
        real = [position.get(gpu, -1) for gpu in held.gpu_ids]
        at = dict(zip(held.names, map(real.__getitem__, held.gpu_of), strict=True))
        gpu_of = array("q", [at.get(name, -1) for name in problem.names])
        if len(held.names) != len(gpu_of) or min(gpu_of) < 0:
            return Placement(tuple(placement))
        return Placement(Assigned(problem.names, list(position), gpu_of))


def table_of(result: Result) -> PlanTable:
    """Return the rows of a plan, none of which is made as an object."""
    problem = result.problem
    held = () if result.placement is None else result.placement.replicas
    if isinstance(held, Assigned) and held.names == problem.names:
        none = array("i", bytes(4 * len(held.names)))
        found = (held.gpu_ids, held.gpu_of), none, none
        return PlanTable(held.names, *found, problem.undivided_bytes, array("d", problem.loads))
    every: Iterable[Sequence[Any]] = repeat((), 6)
    if result.evaluation is not None:
        rows, (order, _) = result.evaluation.sums.rows, result.evaluation.sums.every_held
        columns = (
            rows.models, rows.gpu_of, rows.replicas, rows.ranks, rows.weights_bytes, rows.loads,
        )  # fmt: skip
        every = (list(map(column.__getitem__, order)) for column in columns)
    models, gpu_of, replicas, ranks, weights_bytes, loads = every
    return PlanTable(
        models,
        (list(problem.fleet.position), array("q", gpu_of)),
        array("i", replicas),
        array("i", ranks),
        array("q", weights_bytes),
        array("d", loads),
    )
