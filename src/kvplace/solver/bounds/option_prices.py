"""Certificates of the configuration program with options: a price for each option of each model.

Under several pressures the certificate states the weightings that take one pressure each, so that
nothing is relaxed, and before them one that mixes them all, by which a checker cuts its search. The
proof tree of a search by cases has such prices in its leaves, and a worth per part of a cluster.
"""

import math
from collections.abc import Sequence

import numpy as np

from kvplace.core.certificates.certificate import Bound, Certificate
from kvplace.core.certificates.claim import Choice, Leaf, ProofTree
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.bounds.certify import SCALE, checked, treed
from kvplace.solver.bounds.pressures import by_window, whole_weights
from kvplace.solver.clock import Watch, Within
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.column_generation.set_pricing import CLEARLY, Tree

SAFE = 1e-12
"""Relative amount by which worths are raised at least, above what prices are accurate to."""
RAISED = 0.9
"""Part of what all models are priced above all GPUs by which worths are raised: a checker has to
look at fewer sets."""
CHECKED_PART, LAST_PART = 0.25, 0.5
"""Parts of the time left that the check of a certificate may take, and the last one tried."""
TREE_SCALE = 10**10
"""Integer worth of the dearest GPU in a leaf of a proof tree: so short that many leaves are."""


def first_checked(
    problem: Problem, program: OptionSets, verdicts: Sequence[Verdict], most: int, watch: Watch,
    low: float = math.inf,
) -> Bound | None:  # fmt: skip
    """Return the bound of the best of some verdicts whose certificate checks, or None.

    Parameters
    ----------
    problem, program
        What is proved of what.
    verdicts
        Targets that are impossible, ascending.
    most
        Certificates tried, the best first, then twice as far down each time.
    watch
        Ends it once the first was tried.
    low
        The bound known: where none checks, the program is asked half way to it; ``inf`` for not.
    """

    def bound_of(verdict: Verdict, part: float) -> Bound | None:
        within = Within(watch, part * (watch.left + watch.late))
        prices = priced_options(problem, program, verdict)
        return checked(problem, "configuration", prices, within)

    best = verdicts[::-1]
    steps = {min((2 << at) - 2, len(best) - 1) for at in range(most)}
    tried = [best[at] for at in sorted(steps)] if best else []
    for at, verdict in enumerate(tried):
        if at and watch.stop:
            break  # one more takes as long
        # A lower target has more to spare, and is checked sooner where this one takes too long.
        bound = bound_of(verdict, LAST_PART if math.isinf(low) else CHECKED_PART)
        if bound is not None:
            return bound
    if tried and not math.isinf(low) and not watch.stop:
        target, within = (low + tried[-1].target) / 2, Within(watch, watch.left * LAST_PART)
        verdict = program.decide(target, within, settle=False, above=CLEARLY)
        return bound_of(verdict, LAST_PART) if verdict.impossible else None
    return None


def priced_options(problem: Problem, program: OptionSets, verdict: Verdict) -> Certificate:
    """Return the prices and worths of a verdict in whole numbers."""
    worths = verdict.worths
    scale = SCALE / max(float(worths.max()), 1e-300) if worths.any() else 1.0
    above = max(verdict.share - 1, 0.0) if math.isfinite(verdict.share) else 0.0
    raised = 1 + max(SAFE, RAISED * above)
    whole = np.floor(verdict.prices * scale).astype(np.int64).tolist()
    instance = program.instance
    starts = instance.columns.starts.tolist()
    listed: list[int | tuple[int, ...]] = [0] * len(problem.names)
    for j, index in enumerate(instance.model_index):
        row = whole[starts[j] : starts[j + 1]]
        listed[index] = row[0] if problem.plain else tuple(row)
    typed = problem.goal is Objective.PRESSURE and math.isfinite(verdict.target)
    worth_of: dict[tuple[str, int], int] = {}
    for g, kind in zip(instance.gpu_index, program.kind_of, strict=True):
        gpu = problem.fleet.gpus[g]
        # Where memory alone counts, GPUs of one memory are worth what the dearest of them is.
        key = gpu.type if typed else "", gpu.usable_bytes
        worth_of[key] = max(worth_of.get(key, 0), math.ceil(float(worths[kind]) * scale * raised))
    kinds = sorted(worth_of)
    pairs = tuple((memory, worth_of[of, memory]) for of, memory in kinds)
    if not typed:
        return Certificate(verdict.target, tuple(listed), pairs)
    weights, types = (
        weightings(problem, program, verdict.target, verdict),
        tuple(of for of, _ in kinds),
    )
    return Certificate(verdict.target, tuple(listed), pairs, (), weights, types)


def weightings(
    problem: Problem, program: OptionSets, target: float, verdict: Verdict | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return weightings that mix the pressures for each kind of GPU, and that take one each.

    By a mix made for the prices of a verdict, the check finds the dearest set soonest. Without a
    verdict, one mix weighs all pressures alike.
    """
    instance, every = program.instance, range(program.instance.pressures)
    memory = np.array([float(memory) for _, memory in program.kinds])
    by_kind = None if verdict is None else program.mixes(verdict)
    mixed: dict[tuple[int, ...], None] = {}
    if by_kind is not None:
        parts = by_kind / np.maximum(by_kind.max(axis=1, keepdims=True), 1e-300)
        whole = whole_weights(problem, instance, memory, target, parts)
        mixed = dict.fromkeys(filter(any, whole))
    if not mixed:
        alike, largest = np.ones((1, len(every))), memory.max(keepdims=True)
        whole = whole_weights(problem, instance, largest, target, alike)
        mixed = dict.fromkeys(whole)
    alone = [by_window(problem, instance, [int(at == other) for other in every]) for at in every]
    return (*mixed, *alone)


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
