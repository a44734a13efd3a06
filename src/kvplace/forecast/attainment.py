"""How many requests keep an objective, from the mean and the spread of a latency."""

import math
from collections.abc import Sequence

__all__ = ["first_token_chance", "smoothing", "token_chance"]


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


def token_chance(
    objective: float,
    mean: float,
    variance: float,
    stay: float,
    others: Sequence[tuple[float, float]],
    slow: float,
) -> float:
    """Return the chance that the mean time per token of a request keeps its objective.

    Parameters
    ----------
    objective, mean, variance
        Of the time per token; the variance is that between batches.
    stay
        Seconds that a request stays.
    others
        For each engine beside, the chance that it is in a step and for how long that lasts.
    slow
        Slow-down by them.

    Notes
    -----
    The variance between batches and between those who share the GPU is reduced by averaging over
    the stay; the time per token is taken as lognormal.
    """
    relative = variance / mean**2 * smoothing(1.0, 1.0) if mean > 0 else 0.0
    for busy, lasts in others:
        relative += busy * (1 - busy) * smoothing(stay, lasts) / slow**2
    return _lognormal(objective, mean, math.sqrt(relative) * mean)


def first_token_chance(
    objective: float,
    alone: float,
    prompt_spread: float,
    step: float,
    others: Sequence[tuple[float, float]],
    slow: float,
) -> float:
    """Return the chance that a first token comes within its objective.

    Parameters
    ----------
    objective
        Seconds, less what the host takes.
    alone
        Mean seconds without others on the GPU.
    prompt_spread, step
        Standard deviation of the prompt's seconds; seconds of a step that is waited for.
    others
        For each engine beside, the chance that it is in a step, and for how long.
    slow
        Slow-down by them on average.

    Notes
    -----
    Who shares the GPU hardly changes during one prefill, so the chance is that of each number of
    others, weighted by how often that many are at work.
    """
    if not others or slow <= 1:
        return _lognormal(objective, alone, math.hypot(prompt_spread, step / math.sqrt(12)))
    counts = [1.0]
    for busy, _ in others:
        counts = [
            (counts[k] * (1 - busy) if k < len(counts) else 0.0)
            + (counts[k - 1] * busy if k else 0.0)
            for k in range(len(counts) + 1)
        ]
    spread = math.hypot(prompt_spread, step / math.sqrt(12))
    mean = sum(chance * (1 + k) for k, chance in enumerate(counts))
    found = 0.0
    for k, chance in enumerate(counts):
        # Scaled so that the mean over all is the slow-down that the fixed point has.
        factor = 1 + k * (slow - 1) / max(1e-9, mean - 1)
        found += chance * _lognormal(objective, alone * factor, spread * factor)
    return found


def _lognormal(limit: float, mean: float, deviation: float) -> float:
    """Return the chance that a lognormal number is at most a limit."""
    if limit <= 0:
        return 0.0
    if mean <= 0:
        return 1.0
    if deviation <= 1e-9 * mean:
        return 1.0 if mean <= limit else 0.0
    variance = math.log1p((deviation / mean) ** 2)
    z = (math.log(limit / mean) + variance / 2) / math.sqrt(variance)
    return 0.5 * math.erfc(-z / math.sqrt(2))
