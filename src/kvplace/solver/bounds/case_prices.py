"""Proof trees of searches by cases: a price per model, and a worth per part of a cluster."""

import math

from kvplace.core.certificates.claim import Bound, Choice, Leaf, ProofTree
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.bounds.certify import treed
from kvplace.solver.bounds.option_prices import SAFE, weightings
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.set_pricing import Tree

TREE_SCALE = 10**10
"""Integer worth of the dearest GPU in a leaf of a proof tree: so short that many leaves are."""


def bound_by_cases(
    problem: Problem, program: OptionSets, target: float, tree: Tree, watch: Watch
) -> Bound | None:
    """Return the bound of a search by cases, None where its proof tree does not check in time."""
    instance = program.instance
    typed = problem.goal is Objective.PRESSURE
    weights = weightings(problem, program, target) if typed else ()
    nodes: list[Choice | Leaf] = []
    for node in tree:
        if isinstance(node, Choice):
            nodes.append(node)
            continue
        worths, prices = node.worths, [0] * len(problem.names)
        scale = TREE_SCALE / max(float(worths.max()), 1e-300) if worths.any() else 1.0
        for index, price in zip(instance.model_index, (node.prices * scale).tolist(), strict=True):
            prices[index] = int(price)
        gpus = [problem.fleet.gpus[instance.gpu_index[g]] for g in node.kinds]
        bins: dict[tuple[str, int, int], int] = {}
        for gpu, part, worth in zip(gpus, node.parts, worths.tolist(), strict=True):
            key = (gpu.type if typed else "", gpu.usable_bytes, part)
            bins[key] = max(math.ceil(worth * scale * (1 + SAFE)), bins.get(key, 0))
        ordered = sorted(bins)
        nodes.append(
            Leaf(
                tuple(prices),
                tuple((memory, bins[type_, memory, part]) for type_, memory, part in ordered),
                weights,
                tuple(type_ for type_, *_ in ordered) if typed else (),
            )
        )
        weights = ()
    return treed(problem, ProofTree(target, tuple(nodes)), watch)
