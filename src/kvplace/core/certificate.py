"""Bound, Certificate, and the checker that can say no.

The claim of a `Certificate` is: *every placement has max KVPR >= threshold*. Its evidence is
linear-programming duality for bin packing (Gilmore and Gomory, Operations Research 9, 1961).
Suppose a placement had max KVPR < K. Then on each GPU, in exact numbers,

    sum(w_j) < M,   w_j = s_j + l_j u / K,          and   sum(s_j + m_j) <= M,

with weights s, least KV m, loads l, the objective's memory unit u and usable memory M. Give each
model a price y_j >= 0 and each size of memory a worth z. If no set of models that satisfies both
lines is priced above z, and all models together are priced above all GPUs together, there is no
such placement.

The argument is for one undivided replica of every model; a problem that leaves a choice of
degrees or copies has no such certificate.

All arithmetic is on integers: w_j is rounded down and M up on a scale of 2**-64 bytes. Floats of
the problem are taken as the exact rationals they are.
"""

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from kvplace.core.problem import Problem

__all__ = ["SCALE_BITS", "Bound", "Certificate", "check_certificate", "scaled_sizes"]

SCALE_BITS = 64
"""Sizes are integers in units of 2**-64 bytes: fine enough where a single byte stays free."""
GRID = 1024
"""Most levels of room in the checker's table."""
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
        y, a non-negative integer per model, in the order of the problem's models.
    worths
        z: usable bytes and a non-negative integer, one pair per size of memory in the fleet.
    """

    threshold: float
    prices: tuple[int, ...]
    worths: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A proved lower limit on the optimum.

    Parameters
    ----------
    value
        No placement has a smaller max KVPR; ``inf`` where no placement is valid.
    method
        ``trivial``, ``fluid``, ``single-model``, ``dual-feasible``, ``configuration`` or
        ``search``.
    certificate
        Checkable evidence for `value`; None for the trivial bound 0 and for ``search``, whose
        proof is an exhaustive search.
    """

    value: float
    method: str
    certificate: Certificate | None = None


def scaled_sizes(problem: Problem, threshold: float) -> list[int]:
    """Return w_j at a threshold, rounded down to multiples of 2**-64 bytes, as integers."""
    unit = problem.goal.memory_unit_bytes
    sizes = []
    for index, load in enumerate(problem.loads):
        weights = problem.need(index).weights_bytes << SCALE_BITS
        if load and threshold < math.inf:
            weights += math.floor(Fraction(load) * (unit << SCALE_BITS) / Fraction(threshold))
        sizes.append(weights)
    return sizes


def check_certificate(problem: Problem, certificate: Certificate) -> str:
    """Check a certificate against a problem, knowing nothing of who made it.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails.
    """
    capacities = Counter(gpu.usable_bytes for gpu in problem.fleet.gpus)
    failure = _malformed(problem, certificate, capacities)
    if failure:
        return failure
    worths = dict(certificate.worths)
    total = sum(certificate.prices)
    available = sum(count * worths[memory] for memory, count in capacities.items())
    if total <= available:
        return f"all models are priced {total}, not above all GPUs' {available}"
    sizes = scaled_sizes(problem, certificate.threshold)
    rest = [problem.need(i) for i in range(len(sizes))]
    items = [
        (price, size, need.weights_bytes + need.min_kv_bytes)
        for price, size, need in zip(certificate.prices, sizes, rest, strict=True)
        if price > 0
    ]
    for memory in capacities:
        failure = _knapsack_above(items, memory, worths[memory])
        if failure:
            return failure
    return ""


def _malformed(problem: Problem, certificate: Certificate, capacities: Counter[int]) -> str:
    """Say why a certificate speaks of no problem, or not of this one; empty where it does."""
    threshold, worths = certificate.threshold, dict(certificate.worths)
    if not threshold > 0:
        return f"the threshold {threshold!r} is not above 0"
    split = [m.name for m in problem.models if set(m.tensor_parallel) != {1} or m.replicas.max > 1]
    if split:
        return f"{split[0]!r} may be split or copied, of which the prices say nothing"
    if worths.keys() != capacities.keys() or len(worths) != len(certificate.worths):
        return "the worths do not name each size of memory of the fleet once"
    if len(certificate.prices) != len(problem.models):
        return f"{len(certificate.prices)} prices for {len(problem.models)} models"
    if any(type(n) is not int or n < 0 for n in (*certificate.prices, *worths.values())):
        return "a price or a worth is not a non-negative integer"
    return ""


def _knapsack_above(items: list[tuple[int, int, int]], memory: int, worth: int) -> str:
    """Say whether some set of items that fits `memory` is priced above `worth`.

    Depth-first over the items, cut where a table of what the remaining items could add at most,
    made by dynamic programming with sizes rounded down to `GRID` levels, cannot lift the price
    above `worth`. Equal items are taken by their number, so that equal sets are seen once.
    """
    capacity = (memory << SCALE_BITS) - 1  # strictly below M
    alike = Counter(it for it in items if it[1] <= capacity and it[2] <= memory)
    kinds = sorted(alike.items(), key=lambda kind: (-kind[0][1], kind[0]))
    if _fractional([(value, size, count) for (value, size, _), count in kinds], capacity) <= worth:
        return ""
    levels = min(GRID, 8 * len(kinds))
    by_size = _tables([(value, size, count) for (value, size, _), count in kinds], capacity, levels)
    by_least = _tables([(value, kept, count) for (value, _, kept), count in kinds], memory, levels)
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
        more = by_size[at][room * levels // capacity] if capacity else 0
        if price + min(more, by_least[at][least * levels // memory]) <= worth:
            continue
        (value, size, kept), most = kinds[at]
        most = min(most, room // size if size else most, least // kept if kept else most)
        stack.extend(
            (at + 1, room - take * size, least - take * kept, price + take * value)
            for take in range(most + 1)
        )
    return ""


def _fractional(items: list[tuple[int, int, int]], capacity: int) -> Fraction:
    """Return the highest price of items that fit, fractions of the last allowed (Dantzig)."""
    total, room = Fraction(0), capacity
    free = [(value, size, count) for value, size, count in items if size == 0]
    total += sum(value * count for value, _, count in free)
    rest = [item for item in items if item[1] > 0]
    for value, size, count in sorted(rest, key=lambda item: Fraction(-item[0], item[1])):
        if size * count >= room:
            return total + Fraction(value * room, size)
        total += value * count
        room -= size * count
    return total


def _tables(items: list[tuple[int, int, int]], capacity: int, levels: int) -> list[list[int]]:
    """Return, per item and level of room, what it and those after it could add at most.

    Parameters
    ----------
    items
        Price, size and number of each.
    capacity
        Size of the whole room.
    levels
        Steps into which it is cut.
    """
    table = [0] * (levels + 1)
    tables = [table]
    for value, size, count in reversed(items):
        step = size * levels // capacity if capacity else 0
        if step == 0:
            table = [entry + count * value for entry in table]
        for _ in range(min(count, levels // step) if step else 0):
            lifted = [entry + value for entry in table[: levels + 1 - step]]
            table = table[:step] + list(map(max, table[step:], lifted))
        tables.append(table)
    return tables[::-1]
