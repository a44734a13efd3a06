"""Changes to a problem, each a small step that somebody could really take."""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Model, Replicas
from kvplace.core.problem import Problem
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.memory.estimates import with_degree
from kvplace.units import GIB, format_bytes, format_count

_WIDE = {"bf16", "fp16", "fp32"}
_NARROW = re.compile(r"fp[48]|int[48]|w[48]a|awq|gptq|gguf|[48]-?bit|bnb", re.IGNORECASE)
"""How names say that weights are narrower than 16 bits."""


class Effort(IntEnum):
    """What a change takes, from a line in a file to money or a service less."""

    PLAN = 0  # nothing but another placement
    RULE = 1  # a line of the fleet file: a rule, a limit, a number of copies
    ENGINE = 2  # another way to start the engine, or another checkpoint
    HARDWARE = 3  # more or better GPUs
    DEMAND = 4  # users ask at another time
    SERVICE = 5  # a model is served no longer


@dataclass(frozen=True, slots=True)
class Change:
    """One step, and the problem as it is after it.

    Parameters
    ----------
    kind
        What is done, for programs: ``replica``, ``weights``, ``degree``, ``gpus``, ``nodes``,
        ``leave_out``, ``release`` and others.
    subject
        Name of the model, rule, node or GPU type it is done to.
    text
        What is done, for people.
    effort
        What it takes.
    problem
        The problem after it.
    """

    kind: str
    subject: str
    text: str
    effort: Effort
    problem: Problem


def another_copy(problem: Problem, index: int, copies: int) -> Change:
    """Allow a model one copy more than it has."""
    model = problem.models[index]
    allowed = Replicas(model.replicas.min, copies + 1, model.replicas.split)
    text = f"one more replica of {model.name} (up to {copies + 1})"
    changed = _with_model(problem, index, replace(model, replicas=allowed))
    return Change("replica", model.name, text, Effort.RULE, changed)


def smaller_weights(problem: Problem, index: int) -> Change | None:
    """Halve the weights of a model, as FP8 does with BF16; None where they are narrower already.

    A name such as ``org/model-FP8`` says so, and so does the catalogue.
    """
    model = problem.models[index]
    known = known_model(model.name)
    if _NARROW.search(model.name) or (known is not None and known.weight_dtype not in _WIDE):
        return None
    sure = "" if known is not None else ", if they are 16 bits wide now"
    text = f"FP8 weights for {model.name}: half of its {format_bytes(model.weights_bytes)}{sure}"
    halved = model.with_weights(-(-model.weights_bytes // 2))
    return Change("weights", model.name, text, Effort.ENGINE, _with_model(problem, index, halved))


def another_degree(problem: Problem, index: int) -> Change | None:
    """Allow a model another tensor parallel degree; None where no link domain has one for it.

    It is at least twice the highest degree so far, one that engines take, and so high that a shard
    fits the largest GPU. Where no link domain is as wide as any degree so far, it is the highest
    that one is wide enough for.
    """
    model = problem.models[index]
    widest = max(problem.links(index), default=0)
    accepted = model.accepted_degrees(widest)
    if min(model.tensor_parallel) > widest:
        candidates = sorted(accepted, reverse=True)
    else:
        candidates = [degree for degree in accepted if degree >= 2 * max(model.tensor_parallel)]
    for degree in candidates:
        if degree <= widest:
            changed = with_degree(model, degree)
            if changed.resident_bytes(degree) < problem.largest_bytes(index, degree):
                text = f"tensor parallel {degree} for {model.name}"
                allowed = _with_model(problem, index, changed)
                return Change("degree", model.name, text, Effort.ENGINE, allowed)
    return None


def node_kinds(fleet: Fleet) -> list[Node]:
    """Return the first node of each kind that has a GPU."""
    kinds: dict[Hashable, Node] = {}
    for node in fleet.nodes:
        if node.gpus:
            kinds.setdefault(node.shape, node)
    return list(kinds.values())


def more_nodes(problem: Problem, like: Node, number: int = 1, *, single: bool = False) -> Change:
    """Add hosts like one of the fleet.

    Parameters
    ----------
    problem
        What is changed.
    like
        The host to be like, labels included.
    number
        Hosts to add.
    single
        Give each only one GPU.
    """
    taken = {node.name for node in problem.fleet.nodes}
    taken |= {gpu.id.partition("/")[0] for gpu in problem.fleet.gpus}
    free = (name for name in _numbered("new") if name not in taken)
    gpus = like.gpus[:1] if single else like.gpus
    nodes = [
        Node(
            name,
            tuple(replace(gpu, id=f"{name}/{i}") for i, gpu in enumerate(gpus)),
            like.labels,
            like.resources,
        )
        for name in islice(free, number)
    ]
    kind = like.gpus[0].type
    if single:
        size = format_bytes(like.gpus[0].usable_bytes)
        text = f"{format_count(number, 'more GPU')} of type {kind} ({size} usable)"
        named, subject = "gpus", kind
    else:
        text = f"{format_count(number, 'more node')} like {like.name} ({like.contents})"
        named, subject = "nodes", like.name
    fleet = Fleet((*problem.fleet.nodes, *nodes))
    return Change(named, subject, text, Effort.HARDWARE, replace(problem, fleet=fleet))


def with_gpus(
    problem: Problem, like: Node, memory_gib: int, number: int = 1, *, inside: bool
) -> Change:
    """Add GPUs of whole GiB, inside a node or in further ones with the same labels."""
    pattern = like.gpus[0]
    taken = {gpu.id for gpu in problem.fleet.gpus} | {node.name for node in problem.fleet.nodes}
    free = (name for name in _numbered(f"{like.name}/new") if name not in taken)
    gpus = [
        GPU(name, pattern.type, memory_gib * GIB, link=pattern.link, resources=pattern.resources)
        for name in islice(free, number)
    ]
    if inside:
        nodes = tuple(
            replace(node, gpus=(*node.gpus, *gpus)) if node.name == like.name else node
            for node in problem.fleet.nodes
        )
        where = f" in node {like.name}" if len(nodes) > 1 else ""
    else:
        added = (Node(gpu.id, (gpu,), like.labels, like.resources) for gpu in gpus)
        nodes = (*problem.fleet.nodes, *added)
        where = ""
    text = f"{format_count(number, 'more GPU')} of at least {memory_gib} GiB usable{where}"
    return Change("gpus", pattern.type, text, Effort.HARDWARE, replace(problem, fleet=Fleet(nodes)))


def _with_model(problem: Problem, index: int, model: Model) -> Problem:
    """Return the problem with another model in that position."""
    models = (*problem.models[:index], model, *problem.models[index + 1 :])
    return replace(problem, models=models)


def _numbered(stem: str) -> Iterator[str]:
    """Yield names with a number, from 0 on."""
    number = 0
    while True:
        yield f"{stem}-{number}"
        number += 1
