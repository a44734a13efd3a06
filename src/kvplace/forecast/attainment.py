"""How many requests keep their objectives, from the means and the spreads of their latencies.

Who shares a GPU hardly changes during one prefill, so the chance of a first token in time is that
of each number of others, weighted by how often so many are at work. The time per token is a mean
over a stay: what varies faster than that is averaged away. What is left makes the mean over
requests larger than that over tokens, which a slow spell has fewer of: the mean of a slow-down S is
``1 + Var(S) / E[S]^2`` times its harmonic mean, to the second order. Latencies are taken as
lognormal, and so are the tokens of a request, some of which no pool can hold.
"""

import math
from typing import Any

from kvplace.forecast.chances import in_time, overflow, smoothing, within
from kvplace.forecast.mean_field import prompt_slow
from kvplace.solver.kernels import kernel

_MOST_OTHERS = 24
"""Engines on a GPU beyond which the distribution of how many are at work is cut."""


@kernel
def attain(engines: Any, gpus: Any, lists: Any) -> None:
    """Set what each engine attains once the fixed point is found, and how each pool is used."""
    for e in range(len(engines)):
        if engines[e].rate > 0:
            _fit(engines, gpus, lists, e)
    for g in range(len(gpus)):
        gpu = gpus[g]
        mean, variance, idle, leaving = 0.0, 0.0, 1.0, 0.0
        for at in range(gpu.first_engine, gpu.end_engine):
            one = engines[lists[at]]
            if one.rate == 0:
                continue
            held = one.token_bytes * one.context + one.sequence_bytes
            held += one.window_bytes * min(one.context, one.window_tokens)
            spread = one.token_bytes * math.hypot(one.prompt_cv * one.prompt, one.output / 2)
            mean += one.number * one.held * held
            variance += one.number * one.held * (held**2 * one.peakedness + spread**2)
            leaving += one.rate
            idle *= 1 - one.busy
        gpu.held = mean
        gpu.overflow = overflow(mean, variance, gpu.pool)
        # Who waits in a queue with many servers waits 1 / (c mu - r) on the mean (Erlang C).
        room = max(1e-9, gpu.pool - mean)
        gpu.waiting = mean / room / leaving if leaving > 0 else 0.0
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
def _fit(engines: Any, gpus: Any, lists: Any, e: int) -> None:
    """Set which part of an engine's requests the pool can hold at all, and of what they hold."""
    engine = engines[e]
    # The context of a decoded token is the prompt and the half of the output, weighted by length.
    prompt = engine.context - engine.output / 2 * (1 + engine.output_cv**2)
    deviation = math.hypot(prompt * engine.prompt_cv, engine.output * engine.output_cv)
    engine.fitting, engine.held = 1.0, 1.0
    if engine.token_bytes <= 0:
        return
    besides = engine.sequence_bytes + engine.window_bytes * engine.window_tokens
    for at in range(engine.first_gpu, engine.end_gpu):
        tokens = (gpus[lists[at]].pool - besides) / engine.token_bytes
        fitting = in_time(tokens, prompt + engine.output, deviation)
        engine.fitting = min(engine.fitting, fitting)
        engine.held = min(engine.held, within(tokens, prompt + engine.output, deviation))


@kernel
def _attain(engines: Any, gpus: Any, lists: Any, e: int) -> None:
    """Set the latencies of one engine, and the part of its requests that keep all objectives."""
    engine = engines[e]
    slow, gap, prompt = engine.slow, engine.host_seconds, engine.first_seconds
    prefilling = min(0.95, engine.rate * engine.prompt_seconds * prompt_slow(engine))
    decoding, step = 1 - engine.idle, engine.step
    # Kingman's formula for the prompts ahead; half a step until the next one begins, and half of
    # one more, because the prompt is computed beside the batch.
    spread = (engine.peakedness * 2 - 1 + engine.prompt_cv**2) / 2
    ahead = prefilling / (1 - prefilling) * prompt * spread
    at_once = slow * (1 + _sharing_varies(engines, gpus, lists, e, 0.0))
    # What goes before others is as slow whoever else is at work.
    led = engine.leads * engine.led * (ahead + prompt) + gap
    alone = decoding * step + (1 - engine.leads) * (ahead + prompt)
    engine.ttft = alone * at_once + led
    varies = _sharing_varies(engines, gpus, lists, e, engine.output * engine.tpot + engine.ttft)
    engine.tpot *= 1 + varies
    stay = engine.output * engine.tpot + engine.ttft
    good = (1 - engine.full) * engine.fitting
    if math.isfinite(engine.ttft_objective):
        deviation = math.hypot(prompt * engine.prompt_cv, step / math.sqrt(12.0))
        limit = engine.ttft_objective - gap
        good *= _first_in_time(engines, gpus, lists, e, at_once, limit, alone, led - gap, deviation)
    if math.isfinite(engine.tpot_objective) and engine.output > 1:
        relative = engine.tpot_variance / engine.tpot**2 * smoothing(1.0, 1.0) + varies
        good *= in_time(engine.tpot_objective, engine.tpot, math.sqrt(relative) * engine.tpot)
    if math.isfinite(engine.latency_objective):
        good *= in_time(engine.latency_objective, stay, stay * engine.output_cv)
    # A pool that overflows makes requests wait; those are lost that wait longer than they can.
    spare = max(0.0, min(engine.ttft_objective - engine.ttft, engine.latency_objective - stay))
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = gpus[lists[at]]
        good *= 1 - gpu.overflow * math.exp(-spare / max(1e-9, gpu.waiting))
    engine.attained = good


@kernel
def _sharing_varies(engines: Any, gpus: Any, lists: Any, e: int, stay: float) -> float:
    """Return the relative variance of an engine's slow-down from one stay to the next."""
    engine = engines[e]
    gpu = gpus[lists[engine.first_gpu]]
    mean, variance = 1.0, 0.0
    for at in range(gpu.first_engine, gpu.end_engine):
        other = engines[lists[at]]
        if lists[at] != e and other.rate > 0:
            mean += other.busy * engine.each
            memory = smoothing(stay, other.number / other.rate)
            variance += other.busy * (1 - other.busy) * memory
    return float(variance * (engine.each / mean) ** 2)


@kernel
def _first_in_time(
    engines: Any,
    gpus: Any,
    lists: Any,
    e: int,
    slow: float,
    limit: float,
    alone: float,
    led: float,
    deviation: float,
) -> float:
    """Return the chance that a first token comes in time, over how many others are at work.

    Of its time, `alone` gets longer with their number, and `led` does not.
    """
    engine = engines[e]
    varies = deviation / max(1e-12, alone + led)
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
    if others == 0 or slow <= 1 or mean <= 1:
        seconds = alone * slow + led
        return in_time(limit, seconds, varies * seconds)
    found = 0.0
    for k in range(others + 1):
        # Scaled so that the mean over all is the slow-down that the fixed point has.
        factor = 1 + k * (slow - 1) / (mean - 1)
        seconds = alone * factor + led
        found += counts[k] * in_time(limit, seconds, varies * seconds)
    return found
