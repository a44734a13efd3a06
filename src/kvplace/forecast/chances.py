"""Chances of lognormal and normal numbers, and of means over a window, for kernels."""

import math

from kvplace.solver.kernels import kernel


@kernel
def in_time(limit: float, mean: float, deviation: float) -> float:
    """Return the chance that a lognormal number is at most a limit."""
    if limit <= 0:
        return 0.0
    if mean <= 0:
        return 1.0
    if deviation <= 1e-9 * mean:
        return 1.0 if mean <= limit else 0.0
    variance = math.log1p((deviation / mean) ** 2)
    z = (math.log(limit / mean) + variance / 2) / math.sqrt(variance)
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@kernel
def within(limit: float, mean: float, deviation: float) -> float:
    """Return the part of the mean of a lognormal number that numbers up to a limit make up."""
    if limit <= 0 or mean <= 0:
        return 0.0
    if deviation <= 1e-9 * mean:
        return 1.0 if mean <= limit else 0.0
    variance = math.log1p((deviation / mean) ** 2)
    z = (math.log(limit / mean) - variance / 2) / math.sqrt(variance)
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@kernel
def smoothing(window: float, memory: float) -> float:
    """Return what is left of a variance when a process is averaged over a window.

    Parameters
    ----------
    window
        Length of the window.
    memory
        Time over which the correlation of the process falls to 1/e.

    Returns
    -------
    float
        ``2 (exp(-x) - 1 + x) / x^2`` with ``x = window / memory``: 1 for a short window.
    """
    if memory <= 0:
        return 0.0
    x = window / memory
    return 1.0 if x < 1e-3 else 2 * (math.exp(-x) - 1 + x) / x**2


@kernel
def overflow(mean: float, variance: float, pool: float) -> float:
    """Return the chance that more KV is asked for than a pool holds; sums of many are normal."""
    if variance <= 0:
        return 1.0 if mean > pool else 0.0
    return 0.5 * math.erfc((pool - mean) / math.sqrt(2.0 * variance))
