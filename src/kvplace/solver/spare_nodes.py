"""Spare nodes: of nodes alike, more than copies can ever stand on need not be looked at.

Nodes are alike where their GPUs are and no rule tells them apart. A copy stands on one node. So of
nodes alike, one more than there can be copies is enough: whatever is placed on others can be placed
on these just as well, and one of them stays empty as some of all do. Ten models on a million GPUs
are then a problem of some hundred. Where no model is split or tied to GPUs, the same holds of GPUs
alike, whatever nodes they are of.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace

from kvplace.core.certificates.certificate import Bound, check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import Fleet, Node
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result

LEAST_GPUS = 1_000
"""GPUs of a fleet from which leaving nodes out can pay."""
PART = 0.5
"""Part of the GPUs that must be left out for it to pay."""


def without_spare_nodes(problem: Problem, start: Placement | None = None) -> Problem:
    """Return a problem without the nodes that cannot matter; the same where they are few.

    Parameters
    ----------
    problem
        Any.
    start
        A placement the nodes of which are kept.
    """
    fleet, columns = problem.fleet, problem.columns
    if len(fleet.gpus) < LEAST_GPUS or len(columns.names) * 2 > len(fleet.gpus):
        return problem
    most = 1 + sum(model.replicas.max for model in problem.models)
    used = {gpu for replica in start or () for gpu in replica.gpus}
    if most * 2 > len(fleet.nodes):
        return _without_spare_gpus(problem, most, used) if problem.plain else problem
    alike, count, kept = _likeness(problem), dict[Hashable, int](), set[str]()
    # Nodes in use come first, so that they count among those that are kept.
    for node in sorted(fleet.nodes, key=lambda node: not _among(node, used)):
        kind = alike(node)
        count[kind] = count.get(kind, 0) + 1
        if count[kind] <= most or _among(node, used):
            kept.add(node.name)
    return _with_nodes(problem, [node for node in fleet.nodes if node.name in kept])


def _without_spare_gpus(problem: Problem, most: int, used: set[str]) -> Problem:
    """Return a problem without GPUs that are more than its models, of GPUs alike."""
    count: Counter[Hashable] = Counter()
    nodes = []
    for node in problem.fleet.nodes:
        kept = []
        for gpu in node.gpus:
            kind = gpu.type, gpu.usable_bytes
            if gpu.id in used:
                kept.append(gpu)
            elif count[kind] < most:
                count[kind] += 1
                kept.append(gpu)
        if kept:
            nodes.append(replace(node, gpus=tuple(kept)))
    return _with_nodes(problem, nodes)


def _with_nodes(problem: Problem, nodes: list[Node]) -> Problem:
    """Return a problem of some nodes alone; the whole one where few GPUs are left out."""
    few = sum(len(node.gpus) for node in nodes) > PART * len(problem.fleet.gpus)
    return problem if few else replace(problem, fleet=Fleet(tuple(nodes)))


def _among(node: Node, used: set[str]) -> bool:
    return bool(used) and any(gpu.id in used for gpu in node.gpus)


def _likeness(problem: Problem) -> Callable[[Node], Hashable]:
    """Return what is the same of nodes that are alike."""
    if not problem.rules:
        return lambda node: node.shape
    places = [rule.named_places for rule in problem.rules]
    nodes = {name for place in places for name in place.nodes}
    gpus = {gpu for place in places for gpu in place.gpus}

    def alike(node: Node) -> Hashable:
        named = node.name in nodes or _among(node, gpus)
        return node.shape, tuple(sorted(node.labels.items())), node.name if named else None

    return alike


def on_whole_fleet(problem: Problem, result: Result) -> Result:
    """Return a result of a problem without its spare nodes as one of the whole problem.

    Its bound keeps its certificate where that holds of the whole fleet too. Else nothing but
    the search without those nodes proves it.
    """
    proof = result.proof
    if proof.certificate is None or check_certificate(problem, proof.certificate):
        proof = Bound(proof.value, "search") if proof.value > 0 else proof
    placement = result.placement
    evaluation = None if placement is None else evaluate(problem, placement)
    return replace(result, problem=problem, evaluation=evaluation, proof=proof)
