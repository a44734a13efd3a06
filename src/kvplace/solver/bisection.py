"""Searches on a target: for where an answer changes, and for the least that is reached."""

import math
from collections.abc import Callable
from typing import TypeVar

from kvplace.solver.clock import Watch

T = TypeVar("T")


def bisect(
    impossible: Callable[[float], bool],
    low: float,
    high: float,
    *,
    width: float = 1e-9,
    most: int = 60,
) -> tuple[float, float]:
    """Narrow the interval between a target that is impossible and one that may be possible.

    Parameters
    ----------
    impossible
        Whether a target is proved impossible; if so, every lower one is.
    low, high
        Ends of the interval.
    width
        Relative width of the interval at which to stop.
    most
        Targets asked about at most.

    Returns
    -------
    tuple of float
        The highest target found impossible, or `low`, and the lowest found not to be, or `high`.
    """
    for _ in range(most):
        target = (low + high) / 2
        inside = low < target < high and math.isfinite(target)
        if high - low <= width * high or not inside:
            break
        if impossible(target):
            low = target
        else:
            high = target
    return low, high


def reach_above(
    reach: Callable[[float], T | None],
    bound: float,
    first: float,
    last: float,
    watch: Watch | None = None,
    growth: float = 2.0,
) -> tuple[T | None, float, float]:
    """Try targets further and further above a bound until one is reached.

    Parameters
    ----------
    reach
        Returns what reaches a target, or None.
    bound
        A lower bound, above 0 if any target is to be tried.
    first, last
        Parts above the bound of the first target and, at most, of the last.
    watch
        Ends it early.
    growth
        Factor from one part to the next.

    Returns
    -------
    tuple
        What reaches a target, None where nothing does; the highest target that was not reached, or
        the bound; and the target reached, ``inf`` for none.
    """
    failed, part = bound, first
    while bound > 0 and part < last and (watch is None or watch.stop is None):
        target = bound * (1 + part)
        found = reach(target)
        if found is not None:
            return found, failed, target
        failed, part = target, part * growth
    return None, failed, math.inf


def best_below(
    find: Callable[[float], T | None],
    worth: Callable[[T], float],
    best: T,
    low: float,
    *,
    width: float = 1e-9,
    most: int = 50,
    watch: Watch | None = None,
) -> T:
    """Try targets half-way between one that is not reached and the least value that was.

    Parameters
    ----------
    find
        Returns what is found at a target, whose value may be below or above it, or None.
    worth
        Returns the value of what is found.
    best
        What is known already, and is returned where nothing is better.
    low
        A target that is not reached.
    width, most
        As of `bisect`.
    watch
        Ends it early.
    """
    high = worth(best)
    for _ in range(most):
        if high - low <= width * high or (watch is not None and watch.stop is not None):
            break
        target = (low + high) / 2
        found = find(target)
        value = math.inf if found is None else worth(found)
        if found is not None and value < high:
            best, high = found, value
        else:
            low = target
    return best
