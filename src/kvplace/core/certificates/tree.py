"""Proof trees: an exhaustive search written down, so that a small checker can go through it again.

A tree proves that no placement has a max pressure below a threshold, or, at ``inf``, that no
placement is valid. A branch names two models, of a problem that is `Problem.plain`: in every
placement they share a GPU or they do not, so whoever proves both cases has proved the branch. A
leaf carries prices and worths that close its case: models that share a GPU count as one, models
that do not are never in one set, and then either all models are priced above all GPUs, as in
`kvplace.core.certificates.certificate`, or the sets that lose no more than the prices leave cannot
hold all models, as in `kvplace.core.certificates.cover`. Where degrees or copies are to be chosen,
every model takes one of its options, each shard on a GPU of its own. Models with an option without
a price are left out, which only makes the case easier to fulfil, and so do rules and link domains.
GPUs of one kind are alike: a leaf says how many there are, not which.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvplace.core.certificates.claim import Branch, Certificate, Leaf, ProofTree
from kvplace.core.certificates.cover import Item, Work, WorkSpentError, no_cover
from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.offers import SCALE_BITS, Bin
from kvplace.core.certificates.priced import malformed_prices
from kvplace.core.certificates.sizes import every_possible, scaled_sizes
from kvplace.core.certificates.weighted import (
    Kind,
    kinds_of,
    malformed_weighted,
    weighted_limit,
    weighted_sizes,
)
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

__all__ = ["check_tree"]

MAX_NODES = 20_000
"""Nodes of a tree above which the checker does not begin."""
MAX_MODELS = 1_000
"""Models above which it does not begin."""
MAX_WORK = 20_000_000
"""Steps of the checker in one tree."""
_SIZING = 60
"""Steps that the sizes of one model on one kind of GPU are counted as, per weighting."""

_Case = tuple[tuple[Branch, bool], ...]
"""Branches on the way to a node, each with whether its two models are together."""


def check_tree(
    problem: Problem,
    tree: ProofTree,
    steps: int = MAX_WORK,
    halt: Callable[[], object] | None = None,
) -> str:
    """Check a proof tree against a problem, knowing nothing of who made it.

    Parameters
    ----------
    problem, tree
        The claim, and what it is about.
    steps
        Work at most.
    halt
        Asked now and then whether to give up before that.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails. A `TooLarge`
        says that the tree takes more work than the checker spends.
    """
    if not tree.threshold > 0:
        return f"the threshold {tree.threshold!r} is not above 0"
    if len(tree.nodes) > MAX_NODES or len(problem.names) > MAX_MODELS:
        return TooLarge(f"it has {len(tree.nodes)} nodes on {len(problem.names)} models")
    work = Work(steps, halt)
    cases: list[_Case] = [()]  # still to be proved, the next one last
    try:
        for number, node in enumerate(tree.nodes):
            if not cases:
                return f"node {number} belongs to no case"
            case = cases.pop()
            work.spend(len(problem.names))
            if isinstance(node, Branch):
                failure = _no_branch(problem, node)
                cases += [(*case, (node, False)), (*case, (node, True))]
            else:
                failure = _check_leaf(problem, tree.threshold, node, case, work)
            if failure:
                told = f"node {number}: {failure}"
                return TooLarge(told) if isinstance(failure, TooLarge) else told
    except WorkSpentError:
        return TooLarge("the tree takes more work than the checker spends")
    return "a case is left open" if cases else ""


def _no_branch(problem: Problem, node: Branch) -> str:
    """Say why a branch is none; empty where it is one."""
    models = range(len(problem.names))
    if not problem.plain:
        return "models may be split, copied or tied to GPUs: together and apart say too little"
    if node.first not in models or node.second not in models or node.first == node.second:
        return "it does not name two models"
    return ""


@dataclass(slots=True)
class _Row:
    """An option of a model: price and sizes of a shard, on each kind of GPU, and its shards."""

    price: int
    shards: int
    sizes: tuple[tuple[int, ...] | None, ...]


def _check_leaf(problem: Problem, threshold: float, leaf: Leaf, case: _Case, work: Work) -> str:
    """Say why a leaf does not close its case; empty where it does."""
    claim = Certificate(threshold, leaf.prices, leaf.worths, (), leaf.weights, leaf.types)
    everything = frozenset(gpu.id for gpu in problem.fleet.gpus)
    kinds = kinds_of(problem, everything)
    weighted = problem.goal is Objective.PRESSURE and not math.isinf(threshold)
    memories = Counter(gpu.usable_bytes for gpu in problem.fleet.gpus)
    if weighted:
        failure = malformed_weighted(problem, claim, kinds)
    elif leaf.weights or leaf.types:
        failure = "it has weights, of which this claim knows nothing"
    else:
        failure = malformed_prices(problem, claim, memories)
    if failure:
        return failure
    work.spend(_SIZING * len(problem.names) * len(kinds) * max(1, len(leaf.weights)))
    if weighted:
        bins, counts = _weighted_bins(claim, kinds), list(kinds.values())
        models = _weighted_rows(problem, claim, list(kinds))
    else:
        worths = dict(leaf.worths)
        bins = [
            Bin(((memory << SCALE_BITS) - 1, memory), worths[memory], f"{memory} bytes")
            for memory in memories
        ]
        counts, models = list(memories.values()), _rows(problem, claim, len(memories))
    if not all(models):
        return ""  # not one shard of some model fits anywhere below the threshold
    return _no_way(models, bins, counts, case, work)


def _no_way(
    models: Sequence[list[_Row]],
    bins: Sequence[Bin],
    counts: Sequence[int],
    case: _Case,
    work: Work,
) -> str:
    """Say why prices do not close a case; empty where they do."""
    group = list(range(len(models)))
    for branch, together in case:
        if together:
            first, second = group[branch.first], group[branch.second]
            group = [first if of == second else of for of in group]
    apart: dict[int, set[int]] = {}
    for branch, together in case:
        first, second = group[branch.first], group[branch.second]
        if not together:
            if first == second:
                return ""  # both together and apart: there is no such placement
            apart.setdefault(first, set()).add(second)
            apart.setdefault(second, set()).add(first)
    merged: dict[int, list[_Row]] = {}
    for of, rows in zip(group, models, strict=True):
        if of in merged:  # of a plain problem, whose models have one option each
            merged[of] = [_both(merged[of][0], rows[0])]
        else:
            merged[of] = rows
    kept = [of for of, rows in merged.items() if all(row.price for row in rows)]
    number = {of: at for at, of in enumerate(kept)}
    items = [
        Item(
            number[of], row.price, row.shards, row.sizes,
            frozenset(number[other] for other in apart.get(of, ()) if other in number),
        )
        for of in kept
        for row in merged[of]
    ]  # fmt: skip
    return no_cover(items, bins, counts, work)


def _both(one: _Row, other: _Row) -> _Row:
    """Return two models that share a GPU as one."""
    sizes = tuple(
        None if a is None or b is None else tuple(x + y for x, y in zip(a, b, strict=True))
        for a, b in zip(one.sizes, other.sizes, strict=True)
    )
    return replace(one, price=one.price + other.price, sizes=sizes)


def _rows(problem: Problem, claim: Certificate, kinds: int) -> list[list[_Row]]:
    """Return the options of each model where the pressure is the KVPR."""
    if problem.plain:
        sizes = scaled_sizes(problem, claim.threshold)
        needs = zip(sizes, problem.undivided_bytes, problem.min_kv_bytes, strict=True)
        rows = []
        for price, (size, taken, kept) in zip(claim.prices, needs, strict=True):
            assert isinstance(price, int)
            rows.append([_Row(price, 1, ((size, taken + kept),) * kinds)])
        return rows
    table, found = problem.option_table, []
    every = every_possible(problem, claim.threshold)
    for first, prices, possible in zip(table.starts, claim.prices, every, strict=False):
        assert isinstance(prices, tuple)
        found.append(
            [
                _Row(
                    prices[at], table.degrees[first + at] * table.copies[first + at],
                    ((size, kept),) * kinds,
                )
                for at, size, kept in possible
            ]
        )  # fmt: skip
    return found


def _weighted_rows(problem: Problem, claim: Certificate, kinds: list[Kind]) -> list[list[_Row]]:
    """Return the options of each model under several pressures."""
    found = []
    every = weighted_sizes(problem, claim.threshold, claim.weights)
    for price, options in zip(claim.prices, every, strict=True):
        listed = (price,) if isinstance(price, int) else price
        rows = []
        for option in options:
            sizes = tuple(
                (*option.sizes[kind], option.kept) if kind in option.sizes else None
                for kind in kinds
            )
            rows.append(_Row(listed[option.at], option.shards, sizes))
        found.append(rows)
    return found


def _weighted_bins(claim: Certificate, kinds: Counter[Kind]) -> list[Bin]:
    """Return the kinds of GPU under several pressures."""
    pairs = zip(claim.types, claim.worths, strict=True)
    worths = {(gpu_type, memory): worth for gpu_type, (memory, worth) in pairs}
    bins = []
    for kind in kinds:
        gpu_type, memory = kind
        limits = [weighted_limit(claim.threshold, memory, w) for w in claim.weights]
        bins.append(Bin((*limits, memory), worths[kind], f"{memory} bytes of {gpu_type}"))
    return bins
