"""What must hold of a placement: each check names whom it concerns and by how much it fails."""

from collections.abc import Iterator
from dataclasses import dataclass

from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.units import format_bytes

__all__ = ["Violation", "misfits", "structure_violations"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One constraint that a placement breaks.

    Parameters
    ----------
    kind
        ``memory``, ``min_kv``, ``replicas``, ``unknown_model``, ``unknown_gpu``, ``degree``,
        ``distinct_gpus``, ``one_node`` or ``numbering``.
    subject
        Name of the model or id of the GPU.
    message
        A sentence with the numbers.
    amount
        How far from holding: bytes for memory, a count otherwise.
    """

    kind: str
    subject: str
    message: str
    amount: int


def structure_violations(problem: Problem, placement: Placement) -> Iterator[Violation]:
    """Yield what is wrong with a placement before any memory is counted.

    Every model has an allowed number of copies, numbered apart; every copy has an allowed
    degree and distinct, existing GPUs of one node; copies of one model share no GPU.
    """
    copies: dict[str, list[Replica]] = {}
    for replica in placement:
        copies.setdefault(replica.model, []).append(replica)
    for name in sorted(copies.keys() - problem.index_of.keys()):
        yield Violation(
            "unknown_model", name, f"{name!r} is no model of the problem", len(copies[name])
        )
    for model in problem.models:
        held = copies.get(model.name, [])
        low, high = model.replicas.min, model.replicas.max
        if not low <= len(held) <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            message = f"{model.name!r} has {len(held)} replicas placed; it must have {wanted}"
            yield Violation("replicas", model.name, message, max(low - len(held), len(held) - high))
        if len({replica.index for replica in held}) < len(held):
            yield Violation(
                "numbering", model.name, f"two replicas of {model.name!r} have one number", 1
            )
        for replica in held:
            yield from _replica_violations(problem, replica, model.tensor_parallel)
        used = [gpu for replica in held for gpu in set(replica.gpus)]
        shared = len(used) - len(set(used))
        if shared:
            message = f"replicas of {model.name!r} share {shared} GPUs; each needs its own"
            yield Violation("distinct_gpus", model.name, message, shared)


def _replica_violations(
    problem: Problem, replica: Replica, degrees: tuple[int, ...]
) -> Iterator[Violation]:
    """Yield what is wrong with one copy taken by itself."""
    name, gpus = replica.model, replica.gpus
    unknown = [gpu for gpu in gpus if problem.fleet.gpu(gpu) is None]
    for gpu in unknown:
        yield Violation(
            "unknown_gpu", gpu, f"{name!r} is on {gpu!r}, which is no GPU of the fleet", 1
        )
    if len(gpus) not in degrees:
        allowed = " or ".join(map(str, degrees))
        message = (
            f"{name!r} is split over {len(gpus)} GPUs; its tensor parallel degree is {allowed}"
        )
        yield Violation("degree", name, message, min(abs(len(gpus) - d) for d in degrees))
    if len(set(gpus)) < len(gpus):
        message = f"two shards of {name!r} are on one GPU"
        yield Violation("distinct_gpus", name, message, len(gpus) - len(set(gpus)))
    nodes = {node.name for gpu in gpus if (node := problem.fleet.node_of(gpu))}
    if len(nodes) > 1:
        message = f"{name!r} is split over the nodes {', '.join(sorted(nodes))}; one node is needed"
        yield Violation("one_node", name, message, len(nodes) - 1)


def misfits(problem: Problem) -> dict[str, str]:
    """Return the models that no GPU can hold even alone, each with the reason."""
    largest = max(gpu.usable_bytes for gpu in problem.fleet.gpus)
    reasons = {}
    for index, model in enumerate(problem.models):
        need = min(
            (problem.need(index, degree) for degree in model.tensor_parallel),
            key=lambda need: need.weights_bytes,
        )
        taken, least = need.weights_bytes, max(1, need.min_kv_bytes)
        if taken + least > largest:
            kept = f" and {format_bytes(least)} for KV" if need.min_kv_bytes else ""
            reasons[model.name] = (
                f"needs {format_bytes(taken)} with overhead{kept}; "
                f"the largest GPU has {format_bytes(largest)} usable"
            )
    return reasons
