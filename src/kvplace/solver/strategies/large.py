"""``auto`` for fleets of thousands of models and more: start, balance, relieve, prove.

The same plan on any machine and any number of threads, as long as no time limit cuts it short.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.certificates.certificate import Bound
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.packed import Packing, pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.construct.kernels import bisect_first_fit, least_pressure_first, most_room_first
from kvplace.solver.improve.parallel_pairs import WIDE, Improver
from kvplace.solver.instance.columns import Columns, fluid_level
from kvplace.solver.kernels import Crew

if TYPE_CHECKING:
    from kvplace.solver.bounds.size_classes import Prices

__all__ = ["refine_at_scale", "solve_at_scale"]

WORK = 1.2e6
"""Pairs of GPUs of many models looked at without a time limit, whatever the fleet."""
LEAST_EFFORT, MOST_EFFORT = 10.0, 40.0
"""The same per GPU, at least and at most; pairs of few models count less."""
REST_SHARE = 0.25
"""Share of the effort for what a proved optimum leaves open."""
FIXED = 30
"""Subsets that cost as much as finding two GPUs' models in memory."""
FEW = 2.7
"""Models per GPU up to which first fit is tried as well, and the configuration program asked."""
PATIENCE, TIMED_PATIENCE = 0.5, 2.0
"""Effort without a gain that ends the search, in multiples of the default: without and with a
time limit."""


def solve_at_scale(
    numbers: Columns,
    bound: Bound,
    *,
    given: Ints | None,
    gap: float,
    seed: int,
    iterations: int | None,
    watch: Watch,
    threads: int | None = None,
) -> "tuple[Ints | None, Prices | None, bool, int]":
    """Place all models.

    Parameters
    ----------
    numbers
        The problem.
    bound
        What is proved already.
    given
        (n,) an assignment to start from as well; None for none.
    gap
        Certified gap at which to stop.
    seed
        Of the order in which partners come.
    iterations
        Exchanges at most; None for the default effort.
    watch
        Clock and listener.
    threads
        How many; None for one per core. The plan does not depend on it.

    Returns
    -------
    tuple
        (n,) GPU per model, None where no start fits; prices that prove a better bound, if any
        were found; whether the exchanges allowed were used up; exchanges made.
    """
    if bound.value == math.inf:
        return None, None, False, 0
    watch.tell("start", bound=bound.value)
    level = fluid_level(numbers)
    best = _start(numbers, bound, level, given, watch)
    if best is None or not math.isfinite(best.pressure().max()):
        return None, None, False, 0
    watch.tell("start", float(best.pressure().max()))
    crew = Crew(threads)
    try:
        improver = Improver(best, level, seed, crew, watch, limit=iterations)
        usual = _effort(numbers)
        effort, patience = usual, PATIENCE * usual
        if iterations is not None or watch.left < math.inf:
            effort, patience = math.inf, TIMED_PATIENCE * usual
        improver.balance()
        prices = _prices(numbers, best, bound.value, watch)
        low = prices.target if prices else bound.value
        improver.relieve(low * (1 + gap), effort, patience)
        if float(best.pressure().max()) <= low * (1 + OPTIMAL_GAP) and gap < OPTIMAL_GAP:
            improver.relieve(0.0, REST_SHARE * min(usual, effort), math.inf)
    finally:
        crew.close()
    return best.gpu_of(numbers.n), prices, improver.limited, improver.exchanges


def refine_at_scale(
    numbers: Columns,
    bound: Bound,
    given: Ints,
    *,
    iterations: int | None,
    tolerance: float,
    margin: float,
    watch: Watch,
    threads: int | None = None,
) -> tuple[Ints, bool, int]:
    """Improve a valid assignment by exchanges alone.

    Parameters
    ----------
    numbers, bound, iterations, watch, threads
        As in `solve_at_scale`.
    given
        (n,) GPU per model.
    tolerance
        Relative gain that an exchange must exceed.
    margin
        Share of each GPU's memory that an exchange which takes memory there must leave free.

    Returns
    -------
    tuple
        (n,) GPU per model; whether the exchanges allowed were used up; exchanges made.
    """
    spare = np.ceil(margin * numbers.memory.astype(np.float64)).astype(np.int64)
    packing = pack_rows(numbers, given, spare=spare)
    watch.tell("refine", float(packing.pressure().max()), bound.value)
    crew = Crew(threads)
    try:
        improver = Improver(
            packing, fluid_level(numbers), 0, crew, watch, limit=iterations, gain=tolerance
        )
        usual = _effort(numbers)
        effort = math.inf if watch.left < math.inf else usual
        if iterations is None:
            improver.balance()
        improver.relieve(bound.value, effort, TIMED_PATIENCE * usual)
        if not improver.limited:
            improver.relieve(0.0, REST_SHARE * usual, math.inf)
    finally:
        crew.close()
    return packing.gpu_of(numbers.n), improver.limited, improver.exchanges


def _effort(numbers: Columns) -> float:
    """Return the pairs to look at per GPU, more where a pair has fewer subsets to look at."""
    k = numbers.n / numbers.g
    subsets = min(1 + k + k * (k - 1) / 2 + k * (k - 1) * (k - 2) / 6, WIDE)
    cost = (FIXED + subsets) / (FIXED + WIDE)
    return min(max(WORK / numbers.g, LEAST_EFFORT), MOST_EFFORT) / cost


def _start(
    numbers: Columns, bound: Bound, level: float, given: Ints | None, watch: Watch
) -> Packing | None:
    """Return the best start: most room first, and first fit where that fails or few share."""
    if numbers.loads.shape[2] > 1:
        starts = least_pressure_first(numbers, max(level, bound.value))
    else:
        found = most_room_first(numbers, level)
        starts = [] if found is None else [found]
        if found is None or _sparse(numbers):
            first = bisect_first_fit(numbers, bound.value, watch)
            starts += [] if first is None else [first]
    if given is not None:
        starts.append(pack_rows(numbers, given))
    return min(starts, key=lambda start: float(start.pressure().max()), default=None)


def _sparse(numbers: Columns) -> bool:
    """Whether so few models share a GPU that exchanges cannot fill it, and memory lies waste."""
    return numbers.n <= FEW * numbers.g


def _prices(numbers: Columns, packing: Packing, low: float, watch: Watch) -> "Prices | None":
    """Ask the configuration program by levels for a better bound, where that can pay."""
    if not _sparse(numbers) or low <= 0 or numbers.loads.shape[2] > 1:
        return None
    from kvplace.solver.bounds.size_classes import packing_bound  # noqa: PLC0415 - HiGHS: only here

    return packing_bound(numbers, packing, low, watch)
