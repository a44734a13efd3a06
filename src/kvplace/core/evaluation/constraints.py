"""What must hold of a placement: each check names whom it concerns and by how much it fails."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_

from kvplace.core.derived.eligibility import seats
from kvplace.core.evaluation.degrees import degree_that_fits
from kvplace.core.hardware import Fleet, Node, usable
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica, copies_by_model
from kvplace.core.problem import Problem
from kvplace.units import format_bytes

ROUNDING = 1e-9
"""Part by which a sum of resources may exceed a capacity: amounts are decimals in floats."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One constraint that a placement breaks.

    Parameters
    ----------
    kind
        ``memory``, ``min_kv``, ``resource``, ``replicas``, ``unknown_model``, ``unknown_gpu``,
        ``degree``, ``distinct_gpus``, ``one_node``, ``numbering``, ``gpu_type``, or the kind of
        a rule.
    subject
        Name of the model, id of the GPU, or name of the domain.
    message
        A sentence with the numbers.
    amount
        How far from holding: bytes for memory, the resource's own unit, a count otherwise.
    tier
        None where the constraint must hold; else the tier of the soft rule.
    models
        Names of the models that it takes, where a rule is broken.
    """

    kind: str
    subject: str
    message: str
    amount: float
    tier: int | None = None
    models: tuple[str, ...] = ()


def structure_violations(
    problem: Problem, copies: dict[str, list[Replica]], sound: Sequence[int]
) -> Iterator[Violation]:
    """Yield what is wrong with the copies of each model before any memory is counted.

    Every model has an allowed number of copies, numbered apart; every copy has an allowed
    degree and distinct, existing GPUs of one node; copies of one model share no GPU.

    Parameters
    ----------
    problem
        What is placed on what.
    copies
        Replicas by model.
    sound
        (n,) whether nothing is wrong with those of a model, as `sum_replicas` has seen.
    """
    for name in sorted(copies.keys() - problem.index_of.keys()):
        yield Violation(
            "unknown_model", name, f"{name!r} is no model of the problem", len(copies[name])
        )
    none: list[Replica] = []
    for model in compress(problem.models, map(not_, sound)):
        held = copies.get(model.name, none)
        if not _sound(problem.fleet, model, held):
            yield from _model_violations(problem, model, held)


def _sound(fleet: Fleet, model: Model, held: list[Replica]) -> bool:
    """Whether nothing is wrong with the copies of a model: the quick answer to what is usual."""
    replicas, degrees, types = model.replicas, model.tensor_parallel, model.gpu_types
    if not replicas.min <= len(held) <= replicas.max:
        return False
    used = held[0].gpus if len(held) == 1 else [gpu for replica in held for gpu in replica.gpus]
    if len(held) == 1 == len(used) and not types:  # mostly, and there may be a million
        return 1 in degrees and used[0] in fleet.position
    if any(gpu not in fleet.position for gpu in used):
        return False
    return (
        (len(held) == 1 or len({replica.index for replica in held}) == len(held))
        and len(set(used)) == len(used)
        and (not types or all(usable(gpu, types) for gpu in map(fleet.gpu, used) if gpu))
        and all(len(copy.gpus) in degrees and _in_one_link(fleet, copy.gpus) for copy in held)
    )


def _in_one_link(fleet: Fleet, gpus: tuple[str, ...]) -> bool:
    """Whether GPUs of the fleet are of one link domain of one node."""
    return len(gpus) == 1 or len({fleet.domain(gpu, "link") for gpu in gpus}) <= 1


def _model_violations(problem: Problem, model: Model, held: list[Replica]) -> Iterator[Violation]:
    """Yield what is wrong with the copies of a model."""
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
        yield from _replica_violations(problem, replica, model)
    used = [gpu for replica in held for gpu in set(replica.gpus)]
    shared = len(used) - len(set(used))
    if shared:
        message = f"replicas of {model.name!r} share {shared} GPUs; each needs its own"
        yield Violation("distinct_gpus", model.name, message, shared)


def _replica_violations(problem: Problem, replica: Replica, model: Model) -> Iterator[Violation]:
    """Yield what is wrong with one copy taken by itself."""
    name, gpus, degrees = replica.model, replica.gpus, model.tensor_parallel
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
    for device in map(problem.fleet.gpu, gpus):
        if device is not None and not usable(device, model.gpu_types):
            types = " or ".join(model.gpu_types)
            message = f"{name!r} is on {device.id}, of type {device.type}; it may run on {types}"
            yield Violation("gpu_type", name, message, 1)
    known = [gpu for gpu in gpus if gpu not in unknown]
    for key, words in (("node", "node"), ("link", "link domain of a node")):
        used = {problem.fleet.domain(gpu, key) or "" for gpu in known}
        if len(used) > 1:
            message = (
                f"{name!r} is split over {', '.join(sorted(used))}; its shards need one {words}"
            )
            yield Violation("one_node", name, message, len(used) - 1)
            break


def rule_violations(
    problem: Problem, placement: Placement, copies: dict[str, list[Replica]] | None = None
) -> Iterator[Violation]:
    """Yield what rules and further capacities are broken, soft rules with their tier.

    Replicas of unknown models and on unknown GPUs are left out.

    Parameters
    ----------
    problem
        What is placed on what.
    placement
        The decision.
    copies
        Its replicas by model, where it is known that all are of models and on GPUs that there
        are.
    """
    if not problem.rules and not problem.resource_scopes:
        return
    if copies is None:
        there = problem.fleet.position.__contains__
        known = tuple(r for r in placement if r.gpus and all(map(there, r.gpus)))
        every = copies_by_model(known)
        copies = {name: held for name, held in every.items() if name in problem.index_of}
    for rule in problem.rules:
        for breach in rule.breaches(problem, copies):
            tail = (breach.subject, breach.message, breach.amount, rule.soft, breach.models)
            yield Violation(rule.kind, *tail)
    for resource, scope in problem.resource_scopes.items():
        yield from _overdrawn(problem, copies, resource, scope)


def _overdrawn(
    problem: Problem, copies: dict[str, list[Replica]], resource: str, scope: str
) -> Iterator[Violation]:
    """Yield the GPUs or nodes of whose resource more is taken than they have."""
    taken: dict[str, list[float]] = {}
    for name, held in copies.items():
        amount = problem.models[problem.index_of[name]].resources.get(resource, 0)
        if amount:
            for gpu in (gpu for replica in held for gpu in replica.gpus):
                taken.setdefault(problem.fleet.domain(gpu, scope) or "", []).append(amount)
    holders = problem.fleet.nodes if scope == "node" else problem.fleet.gpus
    for holder in holders:
        name = holder.name if isinstance(holder, Node) else holder.id
        total, most = math.fsum(taken.get(name, [])), holder.resources.get(resource, 0)
        if total > most * (1 + ROUNDING):
            message = f"{scope} {name} has {most:g} of {resource}; its shards take {total:g}"
            yield Violation("resource", name, message, total - most)


def misfits(problem: Problem) -> dict[str, str]:
    """Return the models that no placement can hold even alone, each with the reason.

    No link domain has as many GPUs that hold a shard as a copy needs, or there are fewer GPUs than
    its copies need.
    """
    reasons = {}
    for index in _unsure(problem):
        model = problem.models[index]
        allowed = problem.allowed(index)
        if not allowed:
            reasons[model.name] = "no GPU is left to it by its types and rules"
            continue
        links = problem.links(index)
        possible = [degree for degree in model.tensor_parallel if degree <= links[0]]
        if not possible:
            reasons[model.name] = (
                f"needs {min(model.tensor_parallel)} GPUs in one node for one replica (tensor "
                f"parallel); no node has more than {links[0]} that it may run on"
                f"{degree_that_fits(problem, index, problem.rooms(index))}"
            )
            continue
        copies = model.replicas.min
        most = max(seats(links, degree) for degree in possible) if copies > 1 else 1
        if most < copies:
            reasons[model.name] = (
                f"needs {copies} replicas on GPUs of their own; the {len(allowed)} "
                f"GPUs that it may run on hold {most} at most"
            )
            continue
        if any(_fits(problem, index, degree) for degree in possible):
            continue
        degree = max(possible)
        need, largest = problem.need(index, degree), problem.largest_bytes(index, degree)
        least = max(1, need.min_kv_bytes)
        kept = f" and {format_bytes(least)} for KV" if need.min_kv_bytes else ""
        split, the_largest = "", "the largest GPU"
        if degree > 1:
            split = f" on each of {degree} GPUs"
            if largest < problem.largest_bytes(index):
                the_largest = f"each of the largest {degree} GPUs of one node"
        it_may = "" if len(allowed) == len(problem.fleet.gpus) else " that it may run on"
        reasons[model.name] = (
            f"needs {format_bytes(need.weights_bytes)} with overhead{kept}{split}; "
            f"{the_largest}{it_may} has {format_bytes(largest)} usable"
            f"{degree_that_fits(problem, index, problem.rooms(index))}"
        )
    return reasons


def _unsure(problem: Problem) -> Sequence[int]:
    """Return the models that may fit nowhere: of plain ones, those that no largest GPU holds."""
    every = range(len(problem.models))
    try:
        needs = zip(problem.undivided_bytes, problem.min_kv_bytes, strict=True)
    except OverflowError:  # weights that no GPU holds, which a list can state
        return every
    most = max(problem.fleet.usable_bytes, default=0) if problem.plain else 0
    return [at for at, (size, kept) in zip(every, needs, strict=True) if size + max(1, kept) > most]


def _fits(problem: Problem, index: int, degree: int) -> bool:
    """Whether one link domain holds a copy of a model alone."""
    need = problem.need(index, degree)
    least = max(1, need.min_kv_bytes)
    return need.weights_bytes + least <= problem.largest_bytes(index, degree)
