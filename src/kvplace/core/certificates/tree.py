"""Proof trees: an exhaustive search written down, so that a small checker can go through it again.

A tree proves that no placement of a plain problem has a max KVPR below a threshold, or, at
``inf``, that no placement is valid. A branch names two models: in every placement they share a
GPU or they do not, so whoever proves both cases has proved the branch. A leaf carries prices and
worths that close its case: models that share a GPU count as one, models that do not are never in
one set, and then either all models are priced above all GPUs, as in
`kvplace.core.certificates.certificate`, or the sets that lose no more than the prices leave cannot
hold all models, as in `kvplace.core.certificates.cover`. Models without a price are left out,
which only makes the case easier to fulfil. GPUs of one memory are alike: a leaf says how many
there are, not which.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from kvplace.core.certificates.claim import PRICE_BITS, Branch, Leaf, ProofTree
from kvplace.core.certificates.cover import Item, Work, WorkSpentError, no_cover
from kvplace.core.certificates.knapsack import SCALE_BITS, Bin, TooLarge
from kvplace.core.certificates.sizes import scaled_sizes
from kvplace.core.objective import Objective
from kvplace.core.problem import Problem

__all__ = ["check_tree"]

MAX_NODES = 20_000
"""Nodes of a tree above which the checker does not begin."""
MAX_MODELS = 1_000
"""Models above which it does not begin."""
MAX_WORK = 20_000_000
"""Steps of the checker in one tree."""


def check_tree(problem: Problem, tree: ProofTree, steps: int = MAX_WORK) -> str:
    """Check a proof tree against a problem, knowing nothing of who made it.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails. A `TooLarge`
        says that the tree takes more work than the checker spends.
    """
    failure = _malformed(problem, tree)
    if failure:
        return failure
    sizes = scaled_sizes(problem, tree.threshold)
    least = [a + b for a, b in zip(problem.undivided_bytes, problem.min_kv_bytes, strict=True)]
    rows = list(zip(sizes, least, strict=True))
    memories = Counter(gpu.usable_bytes for gpu in problem.fleet.gpus)
    work = Work(steps)
    cases: list[tuple[tuple[Branch, bool], ...]] = [()]  # still to be proved, the next one last
    try:
        for number, node in enumerate(tree.nodes):
            if not cases:
                return f"node {number} belongs to no case"
            case = cases.pop()
            work.spend(len(problem.names))
            if isinstance(node, Branch):
                cases += [(*case, (node, False)), (*case, (node, True))]
                continue
            failure = _check_leaf(rows, node, case, memories, work)
            if failure:
                told = f"node {number}: {failure}"
                return TooLarge(told) if isinstance(failure, TooLarge) else told
    except WorkSpentError:
        return TooLarge("the tree takes more work than the checker spends")
    return "a case is left open" if cases else ""


def _check_leaf(
    rows: Sequence[tuple[int, int]],
    leaf: Leaf,
    case: tuple[tuple[Branch, bool], ...],
    memories: Counter[int],
    work: Work,
) -> str:
    """Say why a leaf does not close its case; empty where it does."""
    group = list(range(len(rows)))
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
    prices: Counter[int] = Counter()
    taken: dict[int, tuple[int, int]] = {}
    for at, of in enumerate(group):
        prices[of] += leaf.prices[at]
        size, kept = taken.get(of, (0, 0))
        taken[of] = (size + rows[at][0], kept + rows[at][1])
    priced = [of for of in taken if prices[of]]
    place = {of: at for at, of in enumerate(priced)}
    items = [
        Item(
            prices[of], taken[of],
            frozenset(place[other] for other in apart.get(of, ()) if other in place),
        )
        for of in priced
    ]  # fmt: skip
    worths = dict(leaf.worths)
    bins = [
        Bin(((memory << SCALE_BITS) - 1, memory), worths[memory], f"{memory} bytes")
        for memory in memories
    ]
    return no_cover(items, bins, list(memories.values()), work)


def _malformed(problem: Problem, tree: ProofTree) -> str:  # noqa: PLR0911 - one return per way
    """Say why a tree speaks of no problem, or not of this one; empty where it does."""
    if not tree.threshold > 0:
        return f"the threshold {tree.threshold!r} is not above 0"
    if not problem.plain:
        return "models may be split, copied or tied to GPUs, of which the tree says nothing"
    if problem.goal is Objective.PRESSURE and not math.isinf(tree.threshold):
        return "it says nothing of shares of time"
    if len(tree.nodes) > MAX_NODES or len(problem.names) > MAX_MODELS:
        return TooLarge(f"it has {len(tree.nodes)} nodes on {len(problem.names)} models")
    memories = {gpu.usable_bytes for gpu in problem.fleet.gpus}
    models = range(len(problem.names))
    for number, node in enumerate(tree.nodes):
        numbers: list[Any]
        if isinstance(node, Branch):
            numbers = [node.first, node.second]
            if node.first not in models or node.second not in models or node.first == node.second:
                return f"node {number} does not name two models"
            continue
        if len(node.prices) != len(models):
            return f"node {number} has {len(node.prices)} prices for {len(models)} models"
        worths = dict(node.worths)
        if worths.keys() != memories or len(worths) != len(node.worths):
            return f"node {number} does not name each size of memory of the fleet once"
        numbers = [*worths.values(), *node.prices]
        if not set(map(type, numbers)) <= {int} or min(numbers, default=0) < 0:
            return f"node {number}: a price or a worth is not a non-negative integer"
        if max(numbers, default=0).bit_length() > PRICE_BITS:
            return f"node {number}: a price or a worth has more than {PRICE_BITS} bits"
    return ""
