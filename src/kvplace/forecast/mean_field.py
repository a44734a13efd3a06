"""The fixed point of a fleet: how fast each engine runs when the others run as they do.

One engine is a queue in which every request is served at once, n at a time each at the pace of a
batch of n. With Poisson arrivals such a queue is insensitive: the chance of n requests is in
proportion to ``prod_k r L(k) / k``, with ``L(k)`` what a request would stay if the batch were k all
the time (Cohen 1979, "The multiple phase service network with generalized processor sharing", Acta
Informatica 12). Bursts widen the count by their peakedness z, its variance over its mean, which is
``(1 + cv^2) / 2`` for stays that are long against the gaps (Eckberg 1983): a token then sees z
instead of one request more than the mean.

Engines on one GPU are coupled by means alone. An engine runs at ``1 / (1 + K)`` with K others in a
step, and over many steps it runs at the mean of that, so its slow-down is ``1 / E[1 / (1 + K)]``:
the harmonic mean, which is below ``1 + E[K]``. The expectation is the integral of
``prod (1 - b + b x)`` over x from 0 to 1, b being the chance that another is in a step. Switching
takes its part of that wherever another one is.
"""

from typing import Any

import numpy as np

from kvplace.forecast.chances import in_time
from kvplace.forecast.records import GPU_USE, MPS, NONE, SLICE
from kvplace.solver.array_types import Floats
from kvplace.solver.kernels import kernel

_ENOUGH = 1e-4
"""Relative change of every slow-down at which the fixed point counts as reached."""

_UNDAMPED = 30
"""Iterations after which only half of each change is made."""

_NODES = (np.polynomial.legendre.leggauss(8)[0] + 1) / 2
_WEIGHTS = np.polynomial.legendre.leggauss(8)[1] / 2
"""Gauss-Legendre on [0, 1]: exact for up to 15 engines on a GPU, and close for more."""

BUSY_REST, LEAST_LEFT = 0.25, 0.2
"""As in `kvplace.simulate.events`."""


@kernel
def step_seconds(engine: Any, batch: float, tokens: float, context: float) -> float:
    """Return the seconds of a step that decodes a batch and computes so many prompt tokens.

    The formulas of `kvplace.forecast.step_time`.
    """
    all_tokens = batch + tokens
    reading = engine.dense_seconds
    if engine.experts_seconds > 0:
        reading += engine.experts_seconds * (1 - (1 - engine.expert_share) ** all_tokens)
    multiplying = engine.token_seconds * all_tokens
    larger = max(reading, multiplying)
    both = 0.0
    if larger > 0:
        smaller = min(reading, multiplying) / larger
        both = larger * (1 + smaller**engine.sharpness) ** (1 / engine.sharpness)
    cache = batch * (
        engine.sequence_seconds
        + engine.kv_token_seconds * context
        + engine.window_token_seconds * min(context, engine.window_tokens)
    )
    prompt = tokens * (engine.kv_token_seconds + engine.attention_seconds * tokens / 2)
    total: float = engine.fixed_seconds + both + cache + prompt + engine.link_seconds * all_tokens
    return total


@kernel
def settle(
    engines: Any, gpus: Any, lists: Any, steps: Floats, sharing: int, loss: float, most: int
) -> int:
    """Find the fixed point; return the iterations it took, or `most` where it did not settle.

    Parameters
    ----------
    engines, gpus
        Records of `kvplace.forecast.records`; what is kept in them is filled.
    lists
        GPUs of engines and engines on GPUs, flat.
    steps
        (e, n) seconds of a decode step by batch from 1; filled here.
    sharing
        `SLICE`, `MPS` or `NONE`.
    loss
        Part of a GPU's time that slices lose while several engines have a step.
    most
        Iterations at most.
    """
    for e in range(len(engines)):
        engine = engines[e]
        engine.first_seconds = step_seconds(engine, 0.0, engine.prompt, 0.0)
        with_prompt = step_seconds(engine, 1.0, engine.prompt, engine.context)
        engine.prompt_seconds = with_prompt - step_seconds(engine, 1.0, 0.0, engine.context)
        for n in range(steps.shape[1]):
            steps[e, n] = step_seconds(engine, n + 1.0, 0.0, engine.context)
        engine.slow = 1.0
        engine.number = 0.0
        engine.each = 0.0 if sharing == NONE else 1.0
        engine.leads = _leads(engine) if sharing == MPS else 0.0
        engine.led = 1.0
        _occupy(engine, steps[e])
    # A GPU on which nothing changed has settled: only the others are gone through again.
    restless = np.ones(len(gpus), np.bool_)
    for iteration in range(most):
        moved = np.zeros(len(gpus), np.bool_)
        for e in range(len(engines)):
            engine = engines[e]
            if engine.rate == 0 or not _any_of(restless, engine, lists):
                continue
            slow = 1.0
            if sharing != NONE:
                for at in range(engine.first_gpu, engine.end_gpu):
                    gpu = gpus[lists[at]]
                    slow = max(slow, _slow_down(engines, lists, gpu, e, sharing, loss))
            if abs(slow - engine.slow) >= _ENOUGH * slow:
                for at in range(engine.first_gpu, engine.end_gpu):
                    moved[lists[at]] = True
            # Slow-downs grow from 1 to the fixed point; should they swing, halves settle them.
            engine.slow = slow if iteration < _UNDAMPED else 0.5 * (slow + engine.slow)
            _occupy(engine, steps[e])
        if not moved.any():
            return iteration
        restless = moved
    return most


@kernel
def _any_of(marked: Any, engine: Any, lists: Any) -> bool:
    """Return whether one of an engine's GPUs is marked."""
    found = False
    for at in range(engine.first_gpu, engine.end_gpu):
        found |= marked[lists[at]]
    return found


@kernel
def _slow_down(engines: Any, lists: Any, gpu: Any, e: int, sharing: int, loss: float) -> float:
    """Return how much slower an engine's steps are on a GPU than alone there."""
    if sharing == SLICE:
        speed, alone = 0.0, 1.0
        for at in range(gpu.first_engine, gpu.end_engine):
            f = lists[at]
            if f != e:
                engines[f].beside = _busy_beside(engines, lists, gpu, f, e, loss)
                alone *= 1 - engines[f].beside
        if alone == 1.0:
            return 1.0
        for node in range(len(_NODES)):
            product = 1.0
            for at in range(gpu.first_engine, gpu.end_engine):
                f = lists[at]
                if f != e:
                    product *= 1 - engines[f].beside * (1 - _NODES[node])
            speed += _WEIGHTS[node] * product
        return float(1 / max(speed - loss * (speed - alone), 1e-9))
    ahead, beside, others = 0.0, engines[e].use, 0.0
    for at in range(gpu.first_engine, gpu.end_engine):
        f = lists[at]
        if f != e:
            ahead += engines[f].computing * GPU_USE
            beside += (engines[f].busy - engines[f].computing) * engines[f].use
            others += engines[f].busy
    slow = max(1.0, beside / max(LEAST_LEFT, 1 - ahead))
    # Prompts share with prompts alone.
    engines[e].led = max(1.0, GPU_USE + ahead)
    engines[e].each = min(1.0, (slow - 1) / others) if others > 0 else 0.0
    return float(slow)


@kernel
def _leads(engine: Any) -> float:
    """Return the chance that a prompt is so long that its step computes more than it reads."""
    each = engine.token_seconds + engine.attention_seconds * engine.prompt / 2
    if each <= 0:
        return 0.0
    reading = engine.dense_seconds + engine.experts_seconds
    return 1 - in_time(reading / each, engine.prompt, engine.prompt_cv * engine.prompt)


@kernel
def prompt_slow(engine: Any) -> float:
    """Return how much slower a prompt is computed than alone on the GPU."""
    return float(engine.leads * engine.led + (1 - engine.leads) * engine.slow)


@kernel
def _busy_beside(engines: Any, lists: Any, gpu: Any, f: int, e: int, loss: float) -> float:
    """Return the chance that an engine is in a step while another one is.

    More than its chance at any time: the other slows it down, and it has more requests then. How
    much of that it reaches depends on how long the other is at work, against its own stays.
    """
    one, other = engines[f], engines[e]
    if one.rate == 0 or one.idle >= 1:
        return 0.0
    speed = 0.0
    for node in range(len(_NODES)):
        product = _NODES[node]
        for at in range(gpu.first_engine, gpu.end_engine):
            g = lists[at]
            if g not in (e, f):
                product *= 1 - engines[g].busy * (1 - _NODES[node])
        speed += _WEIGHTS[node] * product
    ratio = max(1.0, 1 / max((1 - loss) * speed, 1e-9) / one.slow)
    slowed = one.busy * (1 - one.idle**ratio) / (1 - one.idle)
    spell = (1 / max(other.idle, 1e-9) - 1) / other.rate
    reached = spell / (spell + one.number / one.rate)
    return float(min(1.0, one.busy + reached * (slowed - one.busy)))


@kernel
def _occupy(engine: Any, steps: Floats) -> None:
    """Set how many requests an engine has, and how fast they go, from its slow-down."""
    rate, output, slow = engine.rate, engine.output, engine.slow
    if rate == 0:
        return
    gap, gap_each = engine.host_seconds, engine.host_seconds_per_sequence
    # A prompt lengthens the steps that it is computed in, for all that decode meanwhile.
    of_prompt = prompt_slow(engine)
    prefilling = min(0.95, rate * engine.prompt_seconds * of_prompt)
    most = len(steps)
    weight, total = 1.0, 1.0
    number, tokens, token_time, token_square, stepping = 0.0, 0.0, 0.0, 0.0, 0.0
    first = engine.first_seconds * of_prompt + gap
    for n in range(1, engine.sequences + 1):
        step = steps[n - 1] if n <= most else steps[most - 1] * n / most
        pace = step * slow + gap + gap_each * n
        each = pace / (1 - prefilling)
        growth = rate * ((output - 1) * each + first) / n
        weight *= growth
        total += weight
        number += weight * n
        given = weight * n / each
        tokens += given
        token_time += weight * n
        token_square += weight * n * each
        stepping += weight * step * slow / pace
        if growth < 1 and weight < 1e-9 * total:
            break
        if weight > 1e200:
            scale = 1 / weight
            weight, total, number, tokens = 1.0, total * scale, number * scale, tokens * scale
            token_time, token_square = token_time * scale, token_square * scale
            stepping *= scale
    engine.full = weight / total if n == engine.sequences else 0.0
    mean = token_time / tokens
    batch = max(1.0, number / max(1e-12, total - 1))
    at = min(most, int(batch + 0.5))
    step = steps[at - 1]
    # Bursts bring (z - 1) more requests into the batch that a token sees.
    more = steps[min(most, at + 1) - 1] - step
    more = (more * slow + gap_each) / (1 - prefilling) * (engine.peakedness - 1)
    engine.tpot = max(0.5 * mean, mean + more)
    engine.number = number / total * engine.tpot / mean
    engine.tpot_variance = max(0.0, token_square / tokens - mean**2) * engine.peakedness
    engine.idle = 1 / total
    engine.busy = min(1.0, stepping / total)
    engine.batch = batch
    engine.step = step
    explained = step - engine.fixed_seconds
    engine.use = (explained + BUSY_REST * engine.fixed_seconds) / max(step, 1e-12)
    # Above what it serves, an engine computes the prompts of what it takes in, not of all.
    prompts = rate * (1 - engine.full) * engine.first_seconds
    engine.computing = min(engine.busy, engine.leads * prompts * engine.led)
