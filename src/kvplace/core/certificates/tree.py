"""Proof trees: an exhaustive search written down, so that a small checker can go through it again.

A tree proves that no placement has a max pressure below a threshold, or, at ``inf``, that no
placement is valid. A choice names options of a model and link domains, and divides a case in two,
as in `kvplace.core.certificates.cases`: whoever proves both has proved it. A leaf carries prices
and worths that close its case. Either all models are priced above all GPUs, as in
`kvplace.core.certificates.certificate`, or the sets that lose no more than the prices leave cannot
hold all models, as in `kvplace.core.certificates.cover`. Every model takes one of the options that
the case leaves it, each shard on a GPU of its own. In a packing, models with an option without a
price are left out, which only makes the case easier to fulfil, and so are rules.

A leaf has a worth for each bin: before any choice the GPUs of one kind, after one those of one kind
in all link domains that are alike in the case. Bins are in the order of their kinds, and of the
first domain of each.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvplace.core.certificates.cases import Case, Domains, Kind, Where
from kvplace.core.certificates.claim import Certificate, Choice, Leaf, ProofTree, malformed_prices
from kvplace.core.certificates.cover import Item, Work, WorkSpentError, no_cover
from kvplace.core.certificates.knapsack import TooLarge, set_above
from kvplace.core.certificates.offers import SCALE_BITS, Bin, Offer, Offers
from kvplace.core.certificates.sizes import every_possible, scaled_sizes
from kvplace.core.certificates.weighted import malformed_weighted, weighted_limit, weighted_sizes
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

MAX_NODES = 20_000
"""Nodes of a tree above which the checker does not begin."""
MAX_MODELS = 1_000
"""Models above which it does not begin."""
MAX_GPUS = 20_000
"""GPUs above which it does not begin on a tree with choices."""
MAX_WORK = 20_000_000
"""Steps of the checker in one tree."""
_SIZING = 60
"""Steps that the sizes of one model on one kind of GPU are counted as, per weighting."""

_Weights = tuple[tuple[int, ...], ...]
_Prices = tuple[int | tuple[int, ...], ...]
_Bin = tuple[Kind, int, int]
"""Kind of GPU, first of the link domains, -1 for all, and how many GPUs."""


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
    gpus, divided = len(problem.fleet.gpus), len(tree.nodes) > 1
    if (
        len(tree.nodes) > MAX_NODES
        or len(problem.names) > MAX_MODELS
        or (divided and gpus > MAX_GPUS)
    ):
        models = len(problem.names)
        return TooLarge(f"it has {len(tree.nodes)} nodes on {models} models and {gpus} GPUs")
    try:
        return _Checker(problem, tree, Work(steps, halt)).run()
    except WorkSpentError:
        return TooLarge("the tree takes more work than the checker spends")


def bins_of(domains: Domains, where: Where) -> list[_Bin]:
    """Return the bins of a case.

    Parameters
    ----------
    domains
        Those of the fleet.
    where
        Where options may be in the case; empty before any choice, when the first domain is -1.
    """
    counts: Counter[tuple[Kind, int]] = Counter()
    first = domains.alike(where) if where else [-1] * len(domains.names)
    for at, held in zip(first, domains.kinds, strict=True):
        for kind, count in held.items():
            counts[kind, at] += count
    return [(kind, at, counts[kind, at]) for kind, at in sorted(counts)]


@dataclass(slots=True)
class _Row:
    """An option of a model, by position: shards, and sizes of one on each kind of GPU."""

    at: int
    shards: int
    sizes: dict[Kind, tuple[int, ...]]


class _Checker:
    """Goes through one tree."""

    def __init__(self, problem: Problem, tree: ProofTree, work: Work) -> None:
        self._problem, self._tree, self._work = problem, tree, work
        self._weighted = problem.goal is Objective.PRESSURE and not math.isinf(tree.threshold)
        self._domains = Domains(problem, typed=self._weighted, spend=work.spend)
        self._kinds = sum(self._domains.kinds, Counter[Kind]())
        self._weights: _Weights = ()
        self._rows: list[list[_Row]] = []

    def run(self) -> str:
        """Say what fails; empty for nothing."""
        cases: list[Case | None] = [None]  # still to be proved, the next one last
        for number, node in enumerate(self._tree.nodes):
            if not cases:
                return f"node {number} belongs to no case"
            case = cases.pop()
            self._work.spend(len(self._problem.names))
            failure = ""
            if isinstance(node, Choice):
                both = self._domains.cases(case, node)
                if isinstance(both, str):
                    failure = both
                else:
                    cases += both[::-1]
            else:
                failure = self._leaf(node, self._domains.where(case))
            if failure:
                told = f"node {number}: {failure}"
                return TooLarge(told) if isinstance(failure, TooLarge) else told
        return "a case is left open" if cases else ""

    def _leaf(self, leaf: Leaf, where: Where) -> str:
        """Say why a leaf does not close its case; empty where it does."""
        problem = self._problem
        bins = bins_of(self._domains, where)
        prices = _by_option(problem, leaf.prices)
        failure = self._malformed(leaf, prices, bins)
        if failure:
            return failure
        self._size(leaf.weights or self._weights)
        self._work.spend(sum(map(len, self._rows)) * len(bins))
        rows = [
            [row for row in options if model not in where or where[model][row.at]]
            for model, options in enumerate(self._rows)
        ]
        if not all(rows):
            return ""  # no option of some model is left of which a shard is below the threshold
        listed: list[Sequence[int]] = [(of,) if isinstance(of, int) else of for of in prices]
        total = sum(
            min(of[row.at] * row.shards for row in options)
            for of, options in zip(listed, rows, strict=True)
        )
        worth = sum(of * count for (_, of), (*_, count) in zip(leaf.worths, bins, strict=True))
        limited = [
            Bin(self._limits(kind), of, " of ".join(filter(None, (f"{kind[1]} bytes", kind[0]))))
            for (_, of), (kind, *_) in zip(leaf.worths, bins, strict=True)
        ]
        if total <= worth:
            return self._no_way(listed, rows, where, bins, limited)
        for bin_, (kind, at, _) in zip(limited, bins, strict=True):
            groups: list[Offers] = []
            for model, (of, options) in enumerate(zip(listed, rows, strict=True)):
                may = self._may(model, where, kind, at)
                offers = {
                    Offer(of[row.at], row.sizes[kind])
                    for row in options
                    if may[row.at] and of[row.at] and kind in row.sizes
                }
                if offers:
                    groups.append(tuple(sorted(offers, key=lambda o: (o.sizes, -o.price))))
            failure = set_above(groups, [bin_], self._work.spend, tabled=False)
            if failure:
                return failure
        return ""

    def _may(self, model: int, where: Where, kind: Kind, at: int) -> Sequence[int]:
        """Return whether each option of a model may be in a bin."""
        options, reach = self._problem.option_table.count(model), self._domains.reach(model)
        if at < 0:
            return (any(kind in held for held in reach),) * options
        if kind not in reach[at]:
            return (0,) * options
        may = where.get(model) or self._domains.anywhere(model)
        return [bits >> at & 1 for bits in may]

    def _malformed(self, leaf: Leaf, prices: _Prices, bins: Sequence[_Bin]) -> str:
        """Say why a leaf speaks of no such case; empty where it does."""
        types = leaf.types or ("",) * len(leaf.worths)
        pairs = list(zip(types, leaf.worths, strict=False))
        named = [(gpu_type, memory) for gpu_type, (memory, _) in pairs]
        if len(types) != len(leaf.worths) or named != [kind for kind, *_ in bins]:
            return "the worths do not name each kind of GPU of the case in order"
        if any(type(worth) is not int or worth < 0 for _, worth in leaf.worths):
            return "a worth is not a non-negative integer"
        most: dict[Kind, int] = {}
        for kind, (_, worth) in zip(named, leaf.worths, strict=True):
            most[kind] = max(worth, most.get(kind, 0))
        claim = Certificate(
            self._tree.threshold, prices, tuple((kind[1], worth) for kind, worth in most.items()),
            (), leaf.weights or self._weights, tuple(kind[0] for kind in most),
        )  # fmt: skip
        if self._weighted:
            return malformed_weighted(self._problem, claim, Counter(list(most)))
        if leaf.weights or any(types):
            return "it has weights, of which this claim knows nothing"
        return malformed_prices(self._problem, claim, Counter(memory for _, memory in most))

    def _size(self, weights: _Weights) -> None:
        """Work out what the options take, unless the leaf before had the same weights."""
        if self._rows and weights == self._weights:
            return
        problem, threshold, kinds = self._problem, self._tree.threshold, list(self._kinds)
        self._work.spend(_SIZING * len(problem.names) * len(kinds) * max(1, len(weights)))
        self._weights, table = weights, problem.option_table
        if self._weighted:
            self._rows = [
                [
                    _Row(o.at, o.shards, {kind: (*of, o.kept) for kind, of in o.sizes.items()})
                    for o in options
                ]
                for options in weighted_sizes(problem, threshold, weights)
            ]
        elif problem.plain:
            needs = zip(problem.undivided_bytes, problem.min_kv_bytes, strict=True)
            sizes = zip(scaled_sizes(problem, threshold), needs, strict=True)
            self._rows = [
                [_Row(0, 1, dict.fromkeys(kinds, (size, taken + kept)))]
                for size, (taken, kept) in sizes
            ]
        else:
            self._rows = [
                [
                    _Row(
                        at, table.degrees[first + at] * table.copies[first + at],
                        dict.fromkeys(kinds, (size, kept)),
                    )
                    for at, size, kept in possible
                ]
                for first, possible in zip(
                    table.starts, every_possible(problem, threshold), strict=False
                )
            ]  # fmt: skip

    def _limits(self, kind: Kind) -> tuple[int, ...]:
        """Return what bounds the sizes on a kind of GPU."""
        memory = kind[1]
        if not self._weighted:
            return ((memory << SCALE_BITS) - 1, memory)
        threshold = self._tree.threshold
        return (*(weighted_limit(threshold, memory, row) for row in self._weights), memory)

    def _no_way(
        self,
        prices: Sequence[Sequence[int]],
        rows: list[list[_Row]],
        where: Where,
        bins: Sequence[_Bin],
        limited: Sequence[Bin],
    ) -> str:
        """Say why GPUs can hold all models within the budget; empty where they cannot."""
        items: list[Item] = []
        models = 0
        for model, (options, of) in enumerate(zip(rows, prices, strict=True)):
            if not all(of[row.at] for row in options):
                continue
            may = [self._may(model, where, kind, at) for kind, at, _ in bins]
            for row in options:
                sizes = tuple(
                    row.sizes.get(kind) if held[row.at] else None
                    for (kind, *_), held in zip(bins, may, strict=True)
                )
                items.append(Item(models, of[row.at], row.shards, sizes))
            models += 1
        return no_cover(items, limited, [count for *_, count in bins], self._work)


def _by_option(problem: Problem, prices: Sequence[int | tuple[int, ...]]) -> _Prices:
    """Return the price of a shard in each option where one is stated of a whole model."""
    table = problem.option_table
    if problem.plain or len(prices) != len(problem.names):
        return tuple(prices)
    found: list[int | tuple[int, ...]] = []
    for price, first, end in zip(prices, table.starts, table.starts[1:], strict=False):
        if type(price) is int:
            shards = zip(table.degrees[first:end], table.copies[first:end], strict=True)
            found.append(tuple(price // (degree * copies) for degree, copies in shards))
        else:
            found.append(price)
    return tuple(found)
