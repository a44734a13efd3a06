"""How many requests keep their objectives, from the means and the spreads of their latencies.

Who shares a GPU hardly changes during one prefill, so the chance of a first token in time is that
of each number of others, weighted by how often so many are at work. The time per token is a mean
over a stay: what varies faster than that is averaged away. Latencies are taken as lognormal.
"""

import math
from typing import Any

from kvplace.solver.kernels import kernel

__all__ = ["attain", "in_time", "overflow", "smoothing"]

_MOST_OTHERS = 24
"""Engines on a GPU beyond which the distribution of how many are at work is cut."""


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


@kernel
def attain(engines: Any, gpus: Any, lists: Any) -> None:
    """Set what each engine attains once the fixed point is found, and how each pool is used."""
    for g in range(len(gpus)):
        gpu = gpus[g]
        mean, variance, idle = 0.0, 0.0, 1.0
        for at in range(gpu.first_engine, gpu.end_engine):
            one = engines[lists[at]]
            if one.rate == 0:
                continue
            held = one.token_bytes * one.context + one.sequence_bytes
            held += one.window_bytes * min(one.context, one.window_tokens)
            spread = one.token_bytes * math.hypot(one.prompt_cv * one.prompt, one.output / 2)
            mean += one.number * held
            variance += one.number * (held**2 * one.peakedness + spread**2)
            idle *= 1 - one.busy
        gpu.held = mean
        gpu.overflow = overflow(mean, variance, gpu.pool)
        gpu.busy = 1 - idle
    for e in range(len(engines)):
        if engines[e].rate > 0:
            _attain(engines, gpus, lists, e)
    for g in range(len(gpus)):
        gpu = gpus[g]
        gpu.asked, gpu.kept = 0.0, 0.0
        gpu.pressure = gpu.held / gpu.pool if gpu.pool > 0 else 0.0
        for at in range(gpu.first_engine, gpu.end_engine):
            one = engines[lists[at]]
            gpu.asked += one.rate
            gpu.kept += one.rate * one.attained
            if one.rate > 0:
                gpu.pressure = max(
                    gpu.pressure, one.tpot / one.tpot_objective, one.ttft / one.ttft_objective
                )


@kernel
def _attain(engines: Any, gpus: Any, lists: Any, e: int) -> None:
    """Set the TTFT of one engine, and the part of its requests that keep all objectives."""
    engine = engines[e]
    slow, gap, prompt = engine.slow, engine.host_seconds, engine.first_seconds
    prefilling = min(0.95, engine.rate * engine.prompt_seconds * slow)
    decoding, step = 1 - engine.idle, engine.step
    # Kingman's formula for the prompts ahead; half a step until the next one begins, and half of
    # one more, because the prompt is computed beside the batch.
    spread = (engine.peakedness * 2 - 1 + engine.prompt_cv**2) / 2
    ahead = prefilling / (1 - prefilling) * prompt * spread
    alone = decoding * step + ahead + prompt
    engine.ttft = alone * slow + gap
    stay = engine.output * engine.tpot + engine.ttft
    good = 1 - engine.full
    if math.isfinite(engine.ttft_objective):
        deviation = math.hypot(prompt * engine.prompt_cv, step / math.sqrt(12.0))
        limit = engine.ttft_objective - gap
        good *= _first_in_time(engines, gpus, lists, e, limit, alone, deviation)
    if math.isfinite(engine.tpot_objective) and engine.output > 1:
        relative = engine.tpot_variance / engine.tpot**2 * smoothing(1.0, 1.0)
        gpu = gpus[lists[engine.first_gpu]]
        for at in range(gpu.first_engine, gpu.end_engine):
            f = lists[at]
            other = engines[f]
            if f != e and other.rate > 0:
                memory = smoothing(stay, other.number / other.rate)
                relative += other.busy * (1 - other.busy) * memory / slow**2
        good *= in_time(engine.tpot_objective, engine.tpot, math.sqrt(relative) * engine.tpot)
    if math.isfinite(engine.latency_objective):
        good *= in_time(engine.latency_objective, stay, stay * engine.output_cv)
    for at in range(engine.first_gpu, engine.end_gpu):
        good *= 1 - gpus[lists[at]].overflow
    engine.attained = good


@kernel
def _first_in_time(
    engines: Any, gpus: Any, lists: Any, e: int, limit: float, alone: float, deviation: float
) -> float:
    """Return the chance that a first token comes in time, over how many others are at work."""
    engine = engines[e]
    counts = [0.0] * (_MOST_OTHERS + 1)
    counts[0] = 1.0
    others = 0
    gpu = gpus[lists[engine.first_gpu]]
    mean = 1.0
    for at in range(gpu.first_engine, gpu.end_engine):
        f = lists[at]
        if f == e or engines[f].rate == 0 or others == _MOST_OTHERS:
            continue
        busy = engines[f].busy
        others += 1
        mean += busy
        for k in range(others, 0, -1):
            counts[k] = counts[k] * (1 - busy) + counts[k - 1] * busy
        counts[0] *= 1 - busy
    if others == 0 or engine.slow <= 1 or mean <= 1:
        return in_time(limit, alone * engine.slow, deviation * engine.slow)
    found = 0.0
    for k in range(others + 1):
        # Scaled so that the mean over all is the slow-down that the fixed point has.
        factor = 1 + k * (engine.slow - 1) / (mean - 1)
        found += counts[k] * in_time(limit, alone * factor, deviation * factor)
    return found
