"""What a plan file states, as plain values: nothing here is checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from kvplace.core.certificates.certificate import Certificate
from kvplace.core.hardware import Node
from kvplace.core.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.rules.rule import Rule

__all__ = ["PLAN_SCHEMA", "Plan", "PlanCertificate", "PlanGPU", "PlanNode", "PlanShard", "PlanStep"]

T = TypeVar("T")

PLAN_SCHEMA = "kvplace.plan/v1"
"""Name and version of the plan file's format."""


@dataclass(frozen=True, slots=True)
class PlanShard:
    """A shard as a plan states it.

    Parameters
    ----------
    model, replica, shard
        Name of the model, number of the copy, rank within the copy.
    weights_bytes, load
        What it takes.
    """

    model: str
    replica: int
    shard: int
    weights_bytes: int
    load: float


@dataclass(frozen=True, slots=True)
class PlanGPU:
    """A GPU as a plan states it.

    Parameters
    ----------
    id, type, memory_bytes
        The GPU, with its usable memory.
    weights_bytes, free_bytes, load, kvpr
        What the placement makes of it.
    shards
        What it holds.
    """

    id: str
    type: str
    memory_bytes: int
    weights_bytes: int
    free_bytes: int
    load: float
    kvpr: float
    shards: tuple[PlanShard, ...]


@dataclass(frozen=True, slots=True)
class PlanNode:
    """A host as a plan states it.

    Parameters
    ----------
    name
        Unique in the fleet.
    gpus
        Ids of its GPUs, in the order of its own numbering.
    labels
        Pairs of key and value.
    links
        Link domain of each GPU; empty where all are one.
    resources, gpu_resources
        Further capacities of the host and of each GPU, as pairs of name and amount.
    """

    name: str
    gpus: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    resources: tuple[tuple[str, float], ...] = ()
    gpu_resources: tuple[tuple[tuple[str, float], ...], ...] = ()

    @classmethod
    def of(cls, node: Node) -> "PlanNode":
        """Return what a plan states of a node."""
        return cls(
            node.name,
            tuple(gpu.id for gpu in node.gpus),
            tuple(node.labels.items()),
            _unless_empty(gpu.link for gpu in node.gpus),
            tuple(node.resources.items()),
            _unless_empty(tuple(gpu.resources.items()) for gpu in node.gpus),
        )


@dataclass(frozen=True, slots=True)
class PlanStep:
    """How far the search was at one time.

    Parameters
    ----------
    seconds
        Since its start.
    value, bound
        Best max KVPR so far, ``inf`` before the first, and best bound proved.
    """

    seconds: float
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class PlanCertificate:
    """A certificate as a plan states it, free of the order of the models.

    Parameters
    ----------
    method
        How the bound was found.
    threshold
        No placement has a smaller max KVPR; ``inf`` where no placement is valid.
    prices
        Price of each model by its name, or its price under each of its options.
    worths
        Usable bytes and worth of each size of memory.
    scope
        Ids of the GPUs that are worth anything; empty for all of them.
    """

    method: str
    threshold: float
    prices: dict[str, int | tuple[int, ...]]
    worths: tuple[tuple[int, int], ...]
    scope: tuple[str, ...] = ()

    def for_problem(self, problem: Problem) -> Certificate | str:
        """Return the certificate in the order of a problem's models, or why there is none."""
        unknown = sorted(self.prices.keys() - problem.index_of.keys())
        if unknown:
            return f"it prices {unknown[0]!r}, which is no model of the problem"
        missing = [model.name for model in problem.models if model.name not in self.prices]
        if missing:
            return f"it has no price for {missing[0]!r}"
        prices = tuple(self.prices[model.name] for model in problem.models)
        return Certificate(self.threshold, prices, self.worths, self.scope)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan file states. `kvplace.formats.plan.check` says how much of it is true.

    Parameters
    ----------
    kvplace_version
        Version that wrote it.
    problem_digest
        `Problem.digest` of what was solved.
    status, stop
        What is known of the result, and why the solver stopped.
    proof
        What the bound rests on: ``certificate``, ``exhaustive search`` or ``none``.
    objective
        Name of the load.
    value, bound, gap
        KVPR of the worst GPU, the limit that no placement beats, and their relative distance;
        ``inf`` where there is none.
    bound_method
        How the bound was found.
    gpus
        Every GPU of the fleet; empty where there is no placement.
    placement
        The decision; empty where there is none.
    certificate
        Evidence for the bound; None where it has none that can be checked.
    solver, seed, iterations, seconds
        How the result came about.
    nodes, models
        The problem that was solved; empty where the plan does not carry it.
    progress
        How value and bound came together, oldest first; empty where that was not recorded.
    """

    kvplace_version: str
    problem_digest: str
    status: str
    stop: str
    proof: str
    objective: str
    value: float
    bound: float
    gap: float
    bound_method: str
    gpus: tuple[PlanGPU, ...]
    placement: Placement
    certificate: PlanCertificate | None
    solver: str
    seed: int
    iterations: int
    seconds: float
    nodes: tuple[PlanNode, ...] = ()
    models: tuple[Model, ...] = ()
    rules: tuple[Rule, ...] = ()
    progress: tuple[PlanStep, ...] = ()


def _unless_empty(entries: Iterable[T]) -> tuple[T, ...]:
    """Return the entries, and none where each is empty."""
    listed = tuple(entries)
    return listed if any(listed) else ()
