"""Certificates under several pressures: the KV memory and the time of GPUs, in every window.

Suppose a placement had max pressure < K. Then on each GPU of usable memory M, in every window w,

    sum(s_j + l_jw / K) < M   and   sum(u_jw) < K,   besides   sum(s_j + m_j) <= M,

with weights s, least KV m, mean KV bytes in use l, and shares u of the time of that type of GPU.
So whatever non-negative weights a_w and b_w are not all zero,

    sum_j ( sum_w a_w (s_j + l_jw / K) + b_w u_jw )  <  sum_w a_w M + b_w K

holds as well: one limit on one weighted size. A certificate states one or more such weightings.
Its prices and worths then prove the claim as those of one pressure do: no set of models that
keeps every weighted limit of a kind of GPU is priced above its worth, and all models together are
priced above all GPUs together. Each limit alone is a relaxation, so the bound stays valid; with
the weightings that take one pressure each, nothing is relaxed.

An option of a model counts where a shard of it alone is within every single pressure on some kind
of GPU that the model may run on. Copies that carry uneven parts of the demand count by their
weights alone, on every kind that holds these: one carries an even part or more, which has to be
within every pressure somewhere, but the others may carry so little that they are where it is not.

All arithmetic is on integers: sizes are rounded down and limits up on a scale of 2**-64, of bytes
and of shares. Floats of the problem are taken as the exact rationals they are.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kvplace.core.certificates.claim import PRICE_BITS, Certificate
from kvplace.core.certificates.knapsack import TooLarge, set_above
from kvplace.core.certificates.offers import SCALE_BITS, Bin, Offer, Offers
from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

Kind = tuple[str, int]
"""A kind of GPU: its type, and its usable bytes."""
MIXED = 64
"""Weightings, beside those of one pressure each, above which the checker gives up."""


class WeightedOption(NamedTuple):
    """One option of a model, a shard of which alone is within every pressure on some GPU.

    Parameters
    ----------
    at
        Position in `Problem.options`.
    shards
        Shards of all its copies together.
    kept
        Bytes of weights and KV that a shard needs at least.
    sizes
        Weighted sizes of a shard, one per weighting, on each kind of GPU that can hold it.
    """

    at: int
    shards: int
    kept: int
    sizes: dict[Kind, tuple[int, ...]]


def kinds_of(problem: Problem, gpus: frozenset[str]) -> Counter[Kind]:
    """Count some GPUs of a problem by kind."""
    return Counter((g.type, g.usable_bytes) for g in problem.fleet.gpus if g.id in gpus)


def weighted_limit(threshold: float, memory: int, weights: Sequence[int]) -> int:
    """Return what the weighted sizes on a GPU of a memory sum up to at most below a threshold."""
    windows = len(weights) // 2
    top, bottom = threshold.as_integer_ratio()
    whole = bottom * sum(weights[:windows]) * memory + top * sum(weights[windows:])
    return -(-(whole << SCALE_BITS) // bottom) - 1


def weighted_sizes(
    problem: Problem, threshold: float, weights: Sequence[Sequence[int]]
) -> Iterator[list[WeightedOption]]:
    """Yield the options of each model that are within every pressure somewhere, with their sizes.

    Parameters
    ----------
    problem
        A problem under the objective ``pressure``.
    threshold
        K, finite and above 0.
    weights
        Weightings, as in `Certificate.weights`.
    """
    table, options = problem.pressures.table, problem.option_table
    windows, gpu_types = table.windows, table.gpu_types
    # Most weights of a weighting are 0.
    weighed = [[(at, weight) for at, weight in enumerate(row) if weight] for row in weights]
    every = sorted({at for row in weighed for at, _ in row})
    of_kv = [at for at in every if at < windows]
    of_time = [at for at in every if at >= windows]
    top, bottom = threshold.as_integer_ratio()
    share_limit = -(-(top << SCALE_BITS) // bottom)
    kinds: dict[int, list[Kind]] = {}
    for index in range(len(problem.names)):
        allowed = problem.allowed(index)
        if id(allowed) not in kinds:
            kinds[id(allowed)] = sorted(kinds_of(problem, allowed))
        of_model = kinds[id(allowed)]
        largest = max((memory for _, memory in of_model), default=0)
        first, end = options.starts[index], options.starts[index + 1]
        uneven = not problem.plain and problem.models[index].replicas.split is not Split.EVEN
        found = []
        for row in range(first, end):
            least = options.weights_bytes[row]
            kept = least + options.min_kv_bytes[row]
            if kept > largest or not problem.seated(index, row):
                continue
            # Of copies that carry uneven parts one carries an even part or more; what the others
            # carry is not known.
            idle = uneven and options.copies[row] > 1
            loads, whole = table.loads_of(row), least << SCALE_BITS
            most = whole + _scaled_load(max(loads), top, bottom)
            taken = {
                at: whole if idle else whole + _scaled_load(loads[at], top, bottom) for at in of_kv
            }
            degree = options.degrees[row]
            wide = problem.wide(index, degree) if degree > 1 else of_model
            sizes, seated = {}, False
            in_time: dict[str, Sequence[float]] = {}
            for kind in of_model:
                if kind not in wide:
                    continue
                gpu_type, memory = kind
                if gpu_type not in in_time:
                    in_time[gpu_type] = table.shares_of(row, gpu_types.index(gpu_type))
                shares = in_time[gpu_type]
                within = (
                    kept <= memory
                    and most < memory << SCALE_BITS
                    and scaled_share(max(shares)) < share_limit
                )
                seated |= within
                if within or (idle and kept <= memory):
                    for at in of_time:
                        taken[at] = 0 if idle else scaled_share(shares[at - windows])
                    sizes[kind] = tuple(
                        sum(weight * taken[at] for at, weight in row_) for row_ in weighed
                    )
            if seated:
                shards = options.degrees[row] * options.copies[row]
                found.append(WeightedOption(row - first, shards, kept, sizes))
        yield found


def _scaled_load(load: float, top: int, bottom: int) -> int:
    """Return a load over the threshold ``top / bottom`` in 2**-64 of a byte, rounded down."""
    part, of = load.as_integer_ratio()
    return (part * bottom << SCALE_BITS) // (of * top)


def check_weighted(
    problem: Problem, certificate: Certificate, spend: Callable[[int], object] | None = None
) -> str:
    """Check a certificate with weights against a problem, knowing nothing of who made it.

    Parameters
    ----------
    problem, certificate
        What it is said of, and what says it.
    spend
        As of `kvplace.core.certificates.knapsack.set_above`.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails. A `TooLarge`
        says that the certificate takes more work or memory than the checker spends.
    """
    everything = frozenset(gpu.id for gpu in problem.fleet.gpus)
    scope = frozenset(certificate.scope) or everything
    kinds = kinds_of(problem, scope)
    failure = malformed_weighted(problem, certificate, kinds) or _too_many(problem, certificate)
    if failure:
        return failure
    pairs = zip(certificate.types, certificate.worths, strict=True)
    worths = {(gpu_type, memory): worth for gpu_type, (memory, worth) in pairs}
    groups: dict[Kind, list[Offers]] = {kind: [] for kind in kinds}
    outside: dict[int, Counter[Kind]] = {}
    total = 0
    found = weighted_sizes(problem, certificate.threshold, certificate.weights)
    for index, options in enumerate(found):
        if not options:
            return ""  # not one shard of this model is within every pressure anywhere
        prices = certificate.prices[index]
        listed = (prices,) if isinstance(prices, int) else prices
        total += min(listed[option.at] * option.shards for option in options)
        allowed = problem.allowed(index)
        if id(allowed) not in outside:
            outside[id(allowed)] = kinds_of(problem, allowed - scope)
        offers: dict[Kind, list[Offer]] = {}
        for option in options:
            price = listed[option.at]
            for kind, sizes in option.sizes.items() if price else ():
                if kind in outside[id(allowed)]:
                    return f"{problem.names[index]!r} is priced and may be outside the scope"
                offers.setdefault(kind, []).append(Offer(price, (*sizes, option.kept)))
        for kind, of_kind in offers.items():
            groups[kind].append(tuple(sorted(set(of_kind), key=lambda o: (o.sizes, -o.price))))
    available = sum(count * worths[kind] for kind, count in kinds.items())
    if total <= available:
        return f"all models are priced {total}, not above all GPUs' {available}"
    first = certificate.weights[0]
    whole = max(weighted_limit(certificate.threshold, memory, first) for _, memory in worths)
    for kind, worth in worths.items():
        gpu_type, memory = kind
        limits = [weighted_limit(certificate.threshold, memory, w) for w in certificate.weights]
        name = f"{memory} bytes of {gpu_type}"
        failure = set_above(groups[kind], [Bin((*limits, memory), worth, name)], spend, whole)
        if failure:
            return failure
    return ""


def _too_many(problem: Problem, certificate: Certificate) -> str:
    """Say that there are more weightings than are worked with; empty where there are not."""
    stated, most = len(certificate.weights), 2 * len(problem.windows) + MIXED
    if stated <= most:
        return ""
    return TooLarge(f"{stated:,} weightings are more than the {most} that are checked")


def scaled_share(share: float) -> int:
    """Return a share of time as a whole number of 2**-64, rounded down."""
    part, of = share.as_integer_ratio()
    return (part << SCALE_BITS) // of


def malformed_weighted(  # noqa: PLR0911 - one return per way to be malformed
    problem: Problem, certificate: Certificate, kinds: Counter[Kind]
) -> str:
    """Say why a certificate speaks of no problem, or not of this one; empty where it does."""
    threshold, windows = certificate.threshold, len(problem.windows)
    if problem.goal is not Objective.PRESSURE:
        return f"it has weights, of which the objective {problem.goal.value} knows nothing"
    if not 0 < threshold < math.inf:
        return f"the threshold {threshold!r} is not finite and above 0"
    if any(problem.fleet.gpu(gpu) is None for gpu in certificate.scope):
        return "its scope names a GPU that the fleet does not have"
    if not certificate.weights or any(len(row) != 2 * windows for row in certificate.weights):
        return f"a weighting needs {2 * windows} weights, two per window"
    if any(not any(row) for row in certificate.weights):
        return "a weighting has no weight above 0"
    if len(certificate.types) != len(certificate.worths):
        return f"{len(certificate.types)} types for {len(certificate.worths)} worths"
    pairs = zip(certificate.types, certificate.worths, strict=True)
    named = Counter((gpu_type, memory) for gpu_type, (memory, _) in pairs)
    if named.keys() != kinds.keys() or max(named.values(), default=0) > 1:
        return "the worths do not name each kind of GPU of the fleet once"
    if len(certificate.prices) != len(problem.names):
        return f"{len(certificate.prices)} prices for {len(problem.names)} models"
    numbers: list[Any] = [worth for _, worth in certificate.worths]
    numbers += [weight for row in certificate.weights for weight in row]
    table = problem.option_table
    for index, price in enumerate(certificate.prices):
        if problem.plain:
            numbers.append(price)
        elif isinstance(price, tuple) and len(price) == table.count(index):
            numbers.extend(price)
        else:
            return f"{problem.names[index]!r} needs {table.count(index)} prices, one per option"
    if not set(map(type, numbers)) <= {int} or min(numbers, default=0) < 0:
        return "a price, a worth or a weight is not a non-negative integer"
    if max(numbers, default=0).bit_length() > PRICE_BITS:
        return f"a price, a worth or a weight has more than {PRICE_BITS} bits"
    return ""
