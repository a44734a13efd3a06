"""Bound, Certificate, and the checker that can say no.

The claim of a `Certificate` is: *every placement has max KVPR >= threshold*. Its evidence is
linear-programming duality for bin packing (Gilmore and Gomory, Operations Research 9, 1961).
Suppose a placement had max KVPR < K. Then on each GPU, in exact numbers,

    sum(w_j) < M,   w_j = s_j + l_j u / K,          and   sum(s_j + m_j) <= M,

with weights s, least KV m, loads l, the objective's memory unit u and usable memory M. Give each
model a price y_j >= 0 and each size of memory a worth z. If no set of models that satisfies both
lines is priced above z, and all models together are priced above all GPUs together, there is no
such placement.

Where degrees or copies are to be chosen, each option of a model, t shards of each of r copies,
has a price per shard, and the model counts with the least ``t r y`` of the options of which a
shard fits some GPU that it may run on. Where shards lie besides is left out, and so are rules
other than where a model may run: a relaxation, so the bound stays valid. GPUs outside the
certificate's scope are worth nothing, which holds where nothing that is priced can be there.

All arithmetic is on integers: w_j is rounded down and M up on a scale of 2**-64 bytes. Floats of
the problem are taken as the exact rationals they are.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kvplace.core.by_rule import RuleCertificate, check_rule
from kvplace.core.model import Split
from kvplace.core.problem import Problem

__all__ = [
    "SCALE_BITS",
    "Bound",
    "Certificate",
    "check_certificate",
    "possible_options",
    "scaled_sizes",
    "spelled_out",
]

SCALE_BITS = 64
"""Sizes are integers in units of 2**-64 bytes: fine enough where a single byte stays free."""
GRID = 1024
"""Most levels of room in the checker's table."""
PLAIN_STEPS = 500
"""Knapsack nodes before tables are made."""
MAX_STEPS = 2_000_000
"""Knapsack nodes after which the checker gives up, which counts as rejected."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Prices that prove a lower bound on the max KVPR of every placement.

    Parameters
    ----------
    threshold
        K in the objective's unit; ``inf`` claims that no valid placement exists at all.
    prices
        y, a non-negative integer per model, in the order of the problem's models; or, of a
        problem that is not `Problem.plain`, one per entry of `Problem.options`.
    worths
        z: usable bytes and a non-negative integer, one pair per size of memory in the scope.
    scope
        Ids of the GPUs that are worth anything; empty for all of them.
    """

    threshold: float
    prices: tuple[int | tuple[int, ...], ...]
    worths: tuple[tuple[int, int], ...]
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Offer:
    """One way to have a shard of a model on a GPU: its price, size at K, and least memory."""

    price: int
    size: int
    kept: int


_Offers = tuple[_Offer, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A proved lower limit on the optimum.

    Parameters
    ----------
    value
        No placement has a smaller max KVPR; ``inf`` where no placement is valid.
    method
        ``trivial``, ``fluid``, ``single-model``, ``lifted``, ``dual-feasible``,
        ``configuration`` or ``search``.
    certificate
        Checkable evidence for `value`; None for the trivial bound 0 and for ``search``, whose
        proof is an exhaustive search.
    """

    value: float
    method: str
    certificate: Certificate | RuleCertificate | None = None


def scaled_sizes(problem: Problem, threshold: float) -> list[int]:
    """Return w_j at a threshold, rounded down to multiples of 2**-64 bytes, as integers."""
    unit = problem.goal.memory_unit_bytes
    sizes = []
    for index, load in enumerate(problem.loads):
        weights = problem.need(index).weights_bytes << SCALE_BITS
        if load and threshold < math.inf:
            part, of = load.as_integer_ratio()
            top, bottom = float(threshold).as_integer_ratio()
            weights += part * (unit << SCALE_BITS) * bottom // (of * top)
        sizes.append(weights)
    return sizes


def spelled_out(problem: Problem, rule: RuleCertificate) -> Certificate:
    """Return the bound of a rule with the price of each model and the worth of each GPU."""
    threshold = rule.threshold
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


def check_certificate(  # noqa: PLR0911 - one return per way to fail
    problem: Problem, certificate: Certificate | RuleCertificate
) -> str:
    """Check a certificate against a problem, knowing nothing of who made it.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails.
    """
    if isinstance(certificate, RuleCertificate):
        return check_rule(problem, certificate)
    scope = frozenset(certificate.scope) or frozenset(gpu.id for gpu in problem.fleet.gpus)
    capacities = Counter(g.usable_bytes for g in problem.fleet.gpus if g.id in scope)
    failure = _malformed(problem, certificate, capacities)
    if failure:
        return failure
    worths = dict(certificate.worths)
    total, groups = 0, []
    outside: dict[int, int] = {}  # largest memory outside the scope, by the set allowed
    for index, (needed, offers) in enumerate(_priced(problem, certificate)):
        if needed is None:
            return ""  # not one shard of this model fits anywhere below the threshold
        total += needed
        if offers:
            groups.append(offers)
            allowed = problem.allowed(index)
            if id(allowed) not in outside:
                outside[id(allowed)] = max(map(problem.usable_bytes, allowed - scope), default=0)
            most = outside[id(allowed)]
            if any(o.size < most << SCALE_BITS and o.kept <= most for o in offers):
                return f"{problem.models[index].name!r} is priced and may be outside the scope"
    available = sum(count * worths[memory] for memory, count in capacities.items())
    if total <= available:
        return f"all models are priced {total}, not above all GPUs' {available}"
    for memory in capacities:
        failure = _knapsack_above(groups, memory, worths[memory])
        if failure:
            return failure
    return ""


def possible_options(problem: Problem, index: int, threshold: float) -> list[tuple[int, int, int]]:
    """Return the options of a model of which a shard fits a GPU below a threshold.

    Returns
    -------
    list of tuple
        Position in `Problem.options`, size of a shard at the threshold as in `scaled_sizes`, and
        bytes of weights and KV that it needs at least.
    """
    largest = problem.largest_bytes(index)
    unit = problem.goal.memory_unit_bytes
    uneven = problem.models[index].replicas.split is not Split.EVEN
    found = []
    for at, (degree, copies) in enumerate(problem.options(index)):
        need = problem.need(index, degree, copies)
        size = least = need.weights_bytes << SCALE_BITS
        if need.load and threshold < math.inf:
            size += math.floor(Fraction(need.load) * (unit << SCALE_BITS) / Fraction(threshold))
        kept = need.weights_bytes + need.min_kv_bytes
        # Of copies that carry uneven parts one carries an even part or more; what the others
        # carry is not known.
        if size < largest << SCALE_BITS and kept <= largest:
            found.append((at, least if uneven and copies > 1 else size, kept))
    return found


def _priced(problem: Problem, certificate: Certificate) -> Iterator[tuple[int | None, _Offers]]:
    """Yield what each model is priced at least, None for a model that fits nowhere, and offers."""
    if problem.plain:
        sizes = scaled_sizes(problem, certificate.threshold)
        for index, (price, size) in enumerate(zip(certificate.prices, sizes, strict=True)):
            assert isinstance(price, int)
            need = problem.need(index)
            offer = _Offer(price, size, need.weights_bytes + need.min_kv_bytes)
            yield price, (offer,) if price else ()
        return
    for index, prices in enumerate(certificate.prices):
        assert isinstance(prices, tuple)
        options = problem.options(index)
        possible = possible_options(problem, index, certificate.threshold)
        offers = {_Offer(prices[at], size, kept) for at, size, kept in possible if prices[at]}
        ordered = sorted(offers, key=lambda o: (o.size, -o.price, o.kept))
        needed = (prices[at] * options[at][0] * options[at][1] for at, _, _ in possible)
        yield min(needed, default=None), tuple(ordered)


def _malformed(  # noqa: PLR0911 - one return per way to be malformed
    problem: Problem, certificate: Certificate, capacities: Counter[int]
) -> str:
    """Say why a certificate speaks of no problem, or not of this one; empty where it does."""
    threshold, worths = certificate.threshold, dict(certificate.worths)
    if not threshold > 0:
        return f"the threshold {threshold!r} is not above 0"
    if any(problem.fleet.gpu(gpu) is None for gpu in certificate.scope):
        return "its scope names a GPU that the fleet does not have"
    if worths.keys() != capacities.keys() or len(worths) != len(certificate.worths):
        return "the worths do not name each size of memory of the fleet once"
    if len(certificate.prices) != len(problem.models):
        return f"{len(certificate.prices)} prices for {len(problem.models)} models"
    numbers: list[Any] = [*worths.values(), *certificate.prices]
    if not problem.plain:
        numbers = list(worths.values())
        for index, price in enumerate(certificate.prices):
            options = len(problem.options(index))
            listed = price if isinstance(price, tuple) else (price,)
            if len(listed) != options or listed is not price:
                return f"{problem.models[index].name!r} needs {options} prices, one per option"
            numbers.extend(listed)
    if any(type(n) is not int or n < 0 for n in numbers):
        return "a price or a worth is not a non-negative integer"
    return ""


def _knapsack_above(groups: list[_Offers], memory: int, worth: int) -> str:
    """Say whether a set of shards that fits `memory`, one per group, is priced above `worth`.

    Depth-first over the groups, cut where what the remaining ones could add at most cannot lift
    the price above `worth`: by the best price per size among them, or by a table made by dynamic
    programming with sizes rounded down to `GRID` levels. Equal groups are taken by their number,
    so that equal sets are seen once.
    """
    capacity = (memory << SCALE_BITS) - 1  # strictly below M
    fitting = (
        tuple(offer for offer in offers if offer.size <= capacity and offer.kept <= memory)
        for offers in groups
    )
    alike = Counter(offers for offers in fitting if offers)
    for kept, room in ((False, capacity), (True, memory)):
        relaxed = [(_relaxed(offers, kept=kept), count) for offers, count in alike.items()]
        if _fractional(relaxed, room) <= worth:
            return ""
    kinds = sorted(alike.items(), key=lambda kind: (-kind[0][0].size, str(kind[0])))
    kinds = [
        kind
        for offers, count in kinds
        for kind in ([(offers, count)] if len(offers) == 1 else [(offers, 1)] * count)
    ]
    levels = min(GRID, 8 * len(kinds))
    by_size: list[list[int]] = []
    by_least: list[list[int]] = []
    dense = _densest([offers for offers, _ in kinds])
    stack = [(0, capacity, memory, 0)]
    steps = 0
    while stack:
        at, room, least, price = stack.pop()
        if price > worth:
            return f"a set of models that fits {memory} bytes is priced above its worth {worth}"
        steps += 1
        if steps > MAX_STEPS:
            return f"the knapsack for {memory} bytes is not settled after {MAX_STEPS} steps"
        if at == len(kinds):
            continue
        best, size = dense[at]
        if size and price + room * best // size <= worth:
            continue
        if steps == PLAIN_STEPS:  # most searches end before the tables pay
            by_size = _tables(
                [([(o.price, o.size) for o in offers], n) for offers, n in kinds], capacity, levels
            )
            by_least = _tables(
                [([(o.price, o.kept) for o in offers], n) for offers, n in kinds], memory, levels
            )
        if by_size:
            more = by_size[at][room * levels // capacity] if capacity else 0
            if price + min(more, by_least[at][least * levels // memory]) <= worth:
                continue
        offers, count = kinds[at]
        stack.append((at + 1, room, least, price))
        for offer in offers:
            most = min(
                count,
                room // offer.size if offer.size else count,
                least // offer.kept if offer.kept else count,
            )
            stack.extend(
                (at + 1, room - k * offer.size, least - k * offer.kept, price + k * offer.price)
                for k in range(1, most + 1)
            )
    return ""


def _densest(kinds: list[_Offers]) -> list[tuple[int, int]]:
    """Return, per kind, price and size of the best offer per size of it and those after it."""
    best, found = (0, 1), []
    for offers in reversed(kinds):
        for offer in offers:
            if offer.price * best[1] > best[0] * offer.size:
                best = offer.price, offer.size
        found.append(best)
    return found[::-1]


def _relaxed(offers: _Offers, *, kept: bool) -> tuple[int, int | Fraction]:
    """Return a price and a size that dominate one of some offers, fractions of it allowed."""
    sizes = [offer.kept if kept else offer.size for offer in offers]
    if len(offers) == 1:
        return offers[0].price, sizes[0]
    price = max(offer.price for offer in offers)
    pairs = zip(offers, sizes, strict=True)
    return price, min(Fraction(price * size, offer.price) for offer, size in pairs)


def _fractional(
    items: list[tuple[tuple[int, int | Fraction], int]], capacity: int
) -> int | Fraction:
    """Return the highest price of items that fit, fractions of the last allowed (Dantzig)."""
    total: int | Fraction = sum(value * count for (value, size), count in items if size == 0)
    room: int | Fraction = capacity
    rest = [(value, size, count) for (value, size), count in items if size > 0]
    for value, size, count in sorted(rest, key=lambda item: Fraction(-item[0]) / item[1]):
        if size * count >= room:
            return total + Fraction(value * room) / size
        total += value * count
        room -= size * count
    return total


def _tables(
    items: list[tuple[list[tuple[int, int]], int]], capacity: int, levels: int
) -> list[list[int]]:
    """Return, per item and level of room, what it and those after it could add at most.

    Parameters
    ----------
    items
        Pairs of price and size of which one is taken, and how often the item is there.
    capacity
        Size of the whole room.
    levels
        Steps into which it is cut.
    """
    table = [0] * (levels + 1)
    tables = [table]
    for offers, count in reversed(items):
        steps = [(value, size * levels // capacity if capacity else 0) for value, size in offers]
        free = max((value for value, step in steps if step == 0), default=0)
        least = min((step for _, step in steps if step), default=0)
        for _ in range(min(count, levels // least) if least else 0):
            lifted = list(table)
            for value, step in steps:
                if step and step <= levels:
                    shifted = [entry + value for entry in table[: levels + 1 - step]]
                    lifted[step:] = map(max, lifted[step:], shifted)
            table = lifted
        if free:
            table = [entry + count * free for entry in table]
        tables.append(table)
    return tables[::-1]
