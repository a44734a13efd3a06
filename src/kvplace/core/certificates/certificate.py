"""Bound, Certificate, and the checker that can say no.

The claim of a `Certificate` is: *every placement has max pressure >= threshold*. Where the pressure
is the KVPR alone, this module checks it; `kvplace.core.certificates.weighted` does where there are
several pressures. Its evidence is
linear-programming duality for bin packing (Gilmore and Gomory, Operations Research 9, 1961).
Suppose a placement had max KVPR < K. Then on each GPU, in exact numbers,

    sum(w_j) < M,   w_j = s_j + l_j u / K,          and   sum(s_j + m_j) <= M,

with weights s, least KV m, loads l, the objective's memory unit u and usable memory M. Give each
model a price y_j >= 0 and each size of memory a worth z. If no set of models that satisfies both
lines, and of which each may run on some GPU of that memory, is priced above z, and all models
together are priced above all GPUs together, there is no such placement.

Where degrees or copies are to be chosen, each option of a model, t shards of each of r copies,
has a price per shard, and the model counts with the least ``t r y`` of the options of which a
shard fits some GPU that it may run on, in a link domain with as many of these as a copy has
shards. Where shards lie besides is left out, and so are rules other than where a model may run: a
relaxation, so the bound stays valid. GPUs outside the certificate's scope are worth nothing, which
holds where nothing that is priced can be there.

All arithmetic is on integers: w_j is rounded down and M up on a scale of 2**-64 bytes. Floats of
the problem are taken as the exact rationals they are.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import sub

from kvplace.core.certificates.by_rule import RuleCertificate, check_rule, outside_bytes
from kvplace.core.certificates.claim import Bound, Certificate, ProofTree, malformed_prices
from kvplace.core.certificates.cover import Work, WorkSpentError
from kvplace.core.certificates.knapsack import TooLarge, set_above
from kvplace.core.certificates.offers import SCALE_BITS, Bin, Offer, Offers
from kvplace.core.certificates.relaxations import FINE, GRID, PAIRED
from kvplace.core.certificates.sizes import (
    every_possible,
    possible_options,
    resident_bytes,
    scaled_sizes,
)
from kvplace.core.certificates.weighted import (
    check_weighted,
    kinds_of,
    weighted_limit,
    weighted_sizes,
)
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

__all__ = [
    "FINE",
    "GRID",
    "PAIRED",
    "SCALE_BITS",
    "Bound",
    "Certificate",
    "TooLarge",
    "check_certificate",
    "every_possible",
    "possible_options",
    "priced_by_size",
    "scaled_sizes",
    "spelled_out",
]


MAX_WORK = 150_000_000
"""Steps of all kinds of GPU together after which the checker gives up: some 20 s."""


def spelled_out(problem: Problem, rule: RuleCertificate) -> Certificate:
    """Return the bound of a rule with the price of each model and the worth of each GPU."""
    threshold = rule.threshold
    if problem.goal is Objective.PRESSURE and not math.isinf(threshold):
        return _spelled_out_weighted(problem, rule)
    if not problem.plain:
        return _spelled_out_options(problem, rule)
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    if rule.rule == "single-model":
        alone = tuple(int(name == rule.model) for name in problem.names)
        return Certificate(threshold, alone, tuple((memory, 0) for memory in memories))
    if math.isinf(threshold) and any(problem.min_kv_bytes):
        sizes = zip(problem.undivided_bytes, problem.min_kv_bytes, strict=True)
        needs = tuple(size + kept for size, kept in sizes)
        return Certificate(threshold, needs, tuple((memory, memory) for memory in memories))
    worths = tuple((memory, (memory << SCALE_BITS) - 1) for memory in memories)
    return Certificate(threshold, tuple(scaled_sizes(problem, threshold)), worths)


def _spelled_out_options(problem: Problem, rule: RuleCertificate) -> Certificate:
    """Price options that cannot leave the scope at their size, and GPUs in it at their memory."""
    threshold, scope = rule.threshold, frozenset(rule.scope)
    outside = list(outside_bytes(problem, scope)) if scope else None
    infinite = math.isinf(threshold)

    def price(index: int, size: int, least: int) -> int:
        most = outside[index] if outside is not None else 0
        if size < most << SCALE_BITS and least <= most:
            return 0
        return max(size, least << SCALE_BITS) if infinite else size

    inside = map(problem.usable_bytes, scope) if scope else problem.fleet.usable_bytes
    # What a GPU holds at a target is below its memory.
    worths = [(memory, (memory << SCALE_BITS) - (not infinite)) for memory in sorted(set(inside))]
    return priced_by_size(problem, threshold, price, worths, rule.scope)


def priced_by_size(
    problem: Problem,
    target: float,
    price: Callable[[int, int, int], int],
    worths: Iterable[tuple[int, int]],
    scope: tuple[str, ...] = (),
) -> Certificate:
    """Return the certificate in which a shard is priced by what it takes.

    Parameters
    ----------
    problem
        What it is on.
    target
        K, in load per byte.
    price
        Returns the price of a shard by position of its model, its size at the target as in
        `scaled_sizes`, and the bytes that it needs at least.
    worths
        Usable bytes of each size of GPU, and its worth.
    scope
        As in `Certificate`.
    """
    rows: list[int | tuple[int, ...]] = []
    if problem.plain and not scope:
        for index, size in enumerate(scaled_sizes(problem, target)):
            least = problem.undivided_bytes[index] + problem.min_kv_bytes[index]
            rows.append(price(index, size, least))
    else:
        options = map(sub, problem.option_table.starts[1:], problem.option_table.starts)
        every = zip(options, every_possible(problem, target), strict=True)
        for index, (count, possible) in enumerate(every):
            row = [0] * count
            for at, size, least in possible:
                row[at] = price(index, size, least)
            rows.append(tuple(row))
    return Certificate(target, tuple(rows), tuple(worths), scope)


def _spelled_out_weighted(problem: Problem, rule: RuleCertificate) -> Certificate:
    """Return the bound of a rule under several pressures, whose weights take one of them."""
    windows, threshold = len(problem.windows), rule.threshold
    weights = [0] * (2 * windows)
    weights[rule.window + (windows if rule.resource == "time" else 0)] = 1
    everything = frozenset(gpu.id for gpu in problem.fleet.gpus)
    kinds = sorted(kinds_of(problem, everything))
    types = tuple(gpu_type for gpu_type, _ in kinds)
    if rule.rule == "single-model":
        alone = tuple(int(name == rule.model) for name in problem.names)
        worths = tuple((memory, 0) for _, memory in kinds)
        return Certificate(threshold, alone, worths, (), (tuple(weights),), types)
    worths = tuple((memory, weighted_limit(threshold, memory, weights)) for _, memory in kinds)
    prices = []
    for options in weighted_sizes(problem, threshold, [weights]):
        sizes = [size for option in options for (size,) in option.sizes.values()]
        prices.append(min(sizes, default=0))
    return Certificate(threshold, tuple(prices), worths, (), (tuple(weights),), types)


def check_certificate(
    problem: Problem,
    certificate: Certificate | RuleCertificate | ProofTree,
    halt: Callable[[], object] | None = None,
) -> str:
    """Check a certificate against a problem, knowing nothing of who made it.

    Parameters
    ----------
    problem, certificate
        What it is said of, and what says it.
    halt
        Says from outside that no more work is to be done; None for nobody.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails. A `TooLarge`
        says that the certificate takes more work or memory than the checker spends.
    """
    if isinstance(certificate, RuleCertificate):
        return check_rule(problem, certificate)
    if isinstance(certificate, ProofTree):
        from kvplace.core.certificates.tree import check_tree  # noqa: PLC0415 - few plans have one

        return check_tree(problem, certificate, halt=halt)
    spend = Work(MAX_WORK, halt).spend
    try:
        if certificate.weights or certificate.types:
            return check_weighted(problem, certificate, spend)
        return _check_prices(problem, certificate, spend)
    except WorkSpentError:
        return TooLarge("the work or the time that the check is allowed is used up")


def _check_prices(
    problem: Problem, certificate: Certificate, spend: Callable[[int], object]
) -> str:
    """Say why prices prove nothing where the pressure is the KVPR; empty where they do."""
    if problem.goal is Objective.PRESSURE and not math.isinf(certificate.threshold):
        return "it has no weights, which say how much each pressure counts"
    scope, fleet = frozenset(certificate.scope), problem.fleet
    if scope:
        capacities = Counter(gpu.usable_bytes for gpu in fleet.gpus if gpu.id in scope)
    else:
        capacities = Counter(fleet.usable_bytes)
    failure = malformed_prices(problem, certificate, capacities)
    if failure:
        return failure
    worths = dict(certificate.worths)
    total = 0
    groups: dict[frozenset[int], list[Offers]] = {}  # by the memories that models may run on
    memories: dict[int, frozenset[int]] = {}
    usable = dict(zip(fleet.position, fleet.usable_bytes, strict=True))
    outside: dict[int, int] = {}  # largest memory outside the scope, by the set allowed
    for index, (needed, by_degree) in enumerate(_priced(problem, certificate)):
        if needed is None:
            return ""  # not one shard of this model fits anywhere below the threshold
        total += needed
        if not by_degree:
            continue
        allowed = problem.allowed(index)
        if id(allowed) not in memories:
            memories[id(allowed)] = frozenset(map(usable.__getitem__, allowed))
            beyond = map(usable.__getitem__, allowed - scope if scope else ())
            outside[id(allowed)] = max(beyond, default=0)
        for there, offers in _by_memories(problem, index, memories[id(allowed)], by_degree):
            groups.setdefault(there, []).append(offers)
        most = outside[id(allowed)]
        offered = chain.from_iterable(by_degree.values() if most else ())
        if any(size < most << SCALE_BITS and kept <= most for _, (size, kept) in offered):
            return f"{problem.models[index].name!r} is priced and may be outside the scope"
    available = sum(count * worths[memory] for memory, count in capacities.items())
    if total <= available:
        return f"all models are priced {total}, not above all GPUs' {available}"
    return _dearer_set({memory: worths[memory] for memory in capacities}, groups, spend)


def _by_memories(
    problem: Problem, index: int, memories: frozenset[int], by_degree: dict[int, Offers]
) -> Iterator[tuple[frozenset[int], Offers]]:
    """Yield memories that a model may be on, and what of it: link domains are wide enough for it.

    Parameters
    ----------
    problem
        What it is on.
    index
        Position of the model.
    memories
        Of all GPUs that it may run on.
    by_degree
        What is offered, by the degree of its option.
    """
    single = by_degree.get(1, ())
    if len(by_degree) == 1 == len(single):  # as most have
        yield memories, single
        return
    alike: dict[tuple[int, ...], frozenset[int]] = {(1,): memories}
    if by_degree.keys() != {1}:
        wide = {d: {memory for _, memory in problem.wide(index, d)} for d in by_degree}
        alike = {}
        for memory in memories:
            held = tuple(degree for degree in by_degree if memory in wide[degree])
            alike[held] = alike.get(held, frozenset()) | {memory}
    for held, there in alike.items():
        offers = {offer for degree in held for offer in by_degree[degree]}
        if offers:
            yield there, tuple(sorted(offers, key=lambda o: (o.sizes[0], -o.price, o.sizes[1])))


def _dearer_set(
    worths: dict[int, int],
    groups: dict[frozenset[int], list[Offers]],
    spend: Callable[[int], object],
) -> str:
    """Say which memory holds a set that is priced above its worth; empty where none does.

    Parameters
    ----------
    worths
        Of each memory.
    groups
        What may be priced, by the memories that it may be on.
    spend
        As of `kvplace.core.certificates.knapsack.set_above`.
    """
    alike: dict[tuple[frozenset[int], ...], list[Bin]] = {}
    for memory, worth in worths.items():
        found = Bin(((memory << SCALE_BITS) - 1, memory), worth, f"{memory} bytes")
        alike.setdefault(tuple(held for held in groups if memory in held), []).append(found)
    whole = (max(worths) << SCALE_BITS) - 1
    failures = (
        set_above([offers for held in there for offers in groups[held]], bins, spend, whole)
        for there, bins in alike.items()
    )
    return next(filter(None, failures), "")


def _priced(
    problem: Problem, certificate: Certificate
) -> Iterator[tuple[int | None, dict[int, Offers]]]:
    """Yield what each model is priced at least, None for one that fits nowhere, and its offers."""
    if problem.plain:
        sizes = scaled_sizes(problem, certificate.threshold)
        rows = (certificate.prices, sizes, resident_bytes(problem), problem.min_kv_bytes)
        for price, size, taken, kept in zip(*rows, strict=True):
            assert isinstance(price, int)
            yield price, {1: (Offer(price, (size, taken + kept)),)} if price else {}
        return
    table = problem.option_table
    found = every_possible(problem, certificate.threshold)
    for first, prices, possible in zip(table.starts, certificate.prices, found, strict=False):
        assert isinstance(prices, tuple)
        if len(possible) == 1:  # as most have
            ((at, size, kept),) = possible
            price, row = prices[at], first + at
            degree = table.degrees[row]
            whole = price * degree * table.copies[row]
            yield whole, {degree: (Offer(price, (size, kept)),)} if price else {}
            continue
        needed: int | None = None
        offers: dict[int, Offers] = {}
        for at, size, kept in possible:
            degree = table.degrees[first + at]
            whole = prices[at] * degree * table.copies[first + at]
            needed = whole if needed is None or whole < needed else needed
            if prices[at]:
                offers[degree] = (*offers.get(degree, ()), Offer(prices[at], (size, kept)))
        yield needed, offers
