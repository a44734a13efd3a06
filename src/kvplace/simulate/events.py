"""The event loop: arrivals, host work, steps, and how steps on one GPU slow each other down."""

from collections.abc import Callable

import numpy as np

from kvplace.simulate.memory import free
from kvplace.simulate.schedule import admit, enqueue, fill
from kvplace.simulate.state import (
    ENGINE,
    GAP,
    GPU,
    IDLE,
    MPS,
    NONE,
    REQUEST,
    STALLED,
    STEP,
    World,
    world,
)  # fmt: skip
from kvplace.solver.array_types import Ints
from kvplace.solver.kernels import compiled_in_time, kernel

BUSY_REST = 0.25
"""Side by side: part of a step that neither reading nor multiplying explains in which it keeps the
GPU busy all the same. Between two measurements: 0.5 on an H100 (benchmarks/gpu_check.py, two 8B
decodes), 0.1 on an A100 (Qwen3-4B, NVIDIA Dynamo's results of GPU sharing)."""

LEAST_LEFT = 0.2
"""Side by side: part of the GPU that a step that computes leaves to those that read memory.
Measured on an H100: a decode beside a prefill runs at 0.23 of its speed, the prefill at 0.86."""

_LOOK = 256
"""Events between two looks at whether somebody wants to stop, or to know how far it is."""


def ready(ended: Callable[[], object]) -> bool:
    """Compile the loop, unless it is on disk; return whether that is done before a search ends."""

    def nothing() -> None:
        one = np.zeros(1, np.int64)
        empty = world(np.zeros(1, ENGINE), np.zeros(1, GPU), np.zeros(0, REQUEST), one)
        run(empty, 0, 0.0, 0.0, one, one)

    return compiled_in_time(run, nothing, ended)


@kernel
def run(w: World, sharing: int, loss: float, horizon: float, stop: Ints, come: Ints) -> float:
    """Simulate up to a moment, or until nothing is left to do.

    Parameters
    ----------
    w
        The component.
    sharing
        `SLICE`, `MPS` or `NONE`.
    loss
        Part of a GPU's time that slices lose while several engines have a step.
    horizon
        Seconds; what has not happened then does not happen.
    stop
        One integer; the loop ends soon after it is no longer 0.
    come
        One integer that is set, now and then, to the number of requests that have arrived.

    Returns
    -------
    float
        When it ended; -1 where it was stopped.
    """
    clock = 0.0
    events = 0
    r = 0
    while True:
        events += 1
        if events % _LOOK == 0:
            come[0] = r
            if stop[0] != 0:
                return -1.0
        arrival = w.requests[r].arrival if r < len(w.requests) else np.inf
        now = min(arrival, w.tree[1])
        if now > horizon or now == np.inf:
            clock = min(now, horizon) if now < np.inf else clock
            break
        clock = now
        if arrival <= w.tree[1]:
            e = _route(w, r)
            w.requests[r].served_by = e
            enqueue(w, e, r)
            r += 1
            if w.engines[e].phase == IDLE:
                _start(w, e, now, sharing, loss)
            continue
        e = _earliest(w)
        if w.engines[e].phase == GAP:
            _enter(w, e, now, sharing, loss)
            continue
        if _end(w, e, now, sharing, loss):
            _wake(w, e, now, sharing, loss)
        _start(w, e, now, sharing, loss)
    _close(w, clock)
    return clock


@kernel
def _route(w: World, r: int) -> int:
    """Return the engine of a request: given, or the one with the fewest requests."""
    request = w.requests[r]
    best: int = request.engine
    if best >= 0:
        return best
    best = w.lists[request.first_choice]
    least = w.engines[best].running + w.engines[best].waiting
    for at in range(request.first_choice + 1, request.end_choice):
        e = w.lists[at]
        count = w.engines[e].running + w.engines[e].waiting
        if count < least:
            best, least = e, count
    return best


@kernel
def _start(w: World, e: int, now: float, sharing: int, loss: float) -> None:
    """Begin the next step of an engine, if there is anything to do and memory for it."""
    engine = w.engines[e]
    budget = fill(w, e, now)
    if budget < 0:
        _forget(w, e)
        # What was given back may be what another engine waits for.
        _wake(w, e, now, sharing, loss)
        budget = engine.budget if engine.running == 0 else 0
    admit(w, e, budget, now)
    _launch(w, e, now, sharing, loss)


@kernel
def _launch(w: World, e: int, now: float, sharing: int, loss: float) -> None:
    """Begin a step with what is scheduled; without any, wait for a request or for memory."""
    engine = w.engines[e]
    if engine.running == 0:
        if engine.waiting == 0:
            engine.phase = IDLE
        elif engine.phase != STALLED:
            engine.phase = STALLED
            engine.stalled_since = now
        _set(w, e, np.inf)
        return
    _weigh(w, e)
    gap = engine.host_seconds + engine.host_seconds_per_sequence * engine.running
    if gap > 0:
        engine.phase = GAP
        _set(w, e, now + gap)
    else:
        _enter(w, e, now, sharing, loss)


@kernel
def _weigh(w: World, e: int) -> None:
    """Compute what the scheduled step takes alone: its seconds, and how much of the GPU it keeps.

    The formulas of `kvplace.forecast.step_time`, for a step that decodes some sequences and
    computes parts of some prompts.
    """
    engine = w.engines[e]
    tokens = 0
    cache = 0.0
    pairs = 0.0
    for i in range(engine.running):
        new = w.seats[e, i, 1]
        if new == 0:
            continue
        context = w.requests[w.seats[e, i, 0]].computed + new
        tokens += new
        cache += engine.kv_token_seconds * context
        if new > 1:
            pairs += new * (context - 0.5 * new)
        else:
            cache += engine.sequence_seconds
            cache += engine.window_token_seconds * min(float(context), engine.window_tokens)
    reading = engine.dense_seconds
    if engine.experts_seconds > 0:
        reading += engine.experts_seconds * (1 - (1 - engine.expert_share) ** tokens)
    multiplying = engine.token_seconds * tokens
    larger = max(reading, multiplying)
    both = 0.0
    if larger > 0:
        smaller = min(reading, multiplying) / larger
        both = larger * (1 + smaller**engine.sharpness) ** (1 / engine.sharpness)
    attention = engine.attention_seconds * pairs
    total = engine.fixed_seconds + both + cache + attention + engine.link_seconds * tokens
    total = max(1e-9, total)
    engine.work = total
    explained = min(total, reading + cache + multiplying + attention)
    engine.use = (explained + BUSY_REST * (total - explained)) / total
    engine.computes = multiplying + attention > reading + cache
    engine.steps += 1


@kernel
def _enter(w: World, e: int, now: float, sharing: int, loss: float) -> None:
    """Put an engine's step on its GPUs."""
    engine = w.engines[e]
    engine.phase = STEP
    engine.since = now
    engine.speed = 0.0
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        if gpu.active == 0:
            gpu.active_since = now
        gpu.active += 1
    _share(w, e, now, sharing, loss)


@kernel
def _share(w: World, e: int, now: float, sharing: int, loss: float) -> None:
    """Give every step that shares a GPU with an engine the speed it has from now on."""
    engine = w.engines[e]
    if sharing == NONE:
        if engine.phase == STEP:
            engine.speed = 1.0
            _set(w, e, now + engine.work)
        return
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        for other in range(gpu.first_engine, gpu.end_engine):
            f = w.lists[other]
            if w.engines[f].phase == STEP:
                _respeed(w, f, now, sharing, loss)


@kernel
def _respeed(w: World, f: int, now: float, sharing: int, loss: float) -> None:
    """Note how far a step is, and set its speed: that on the slowest of its GPUs."""
    engine = w.engines[f]
    slow = 1.0
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        if sharing == MPS:
            ahead = 0.0
            behind = 0.0
            for other in range(gpu.first_engine, gpu.end_engine):
                beside = w.engines[w.lists[other]]
                if beside.phase == STEP:
                    if beside.computes:
                        ahead += beside.use
                    else:
                        behind += beside.use
            if engine.computes:
                slow = max(slow, ahead)
            else:
                slow = max(slow, behind / max(LEAST_LEFT, 1.0 - ahead))
        else:
            slow = max(slow, gpu.active / (1.0 - loss) if gpu.active > 1 else 1.0)
    speed = 1.0 / slow
    if speed != engine.speed:
        engine.work = max(0.0, engine.work - engine.speed * (now - engine.since))
        engine.since = now
        engine.speed = speed
        _set(w, f, now + engine.work * slow)


@kernel
def _end(w: World, e: int, now: float, sharing: int, loss: float) -> bool:
    """Take a step off its GPUs and give out its tokens; return whether memory was given back."""
    engine = w.engines[e]
    engine.phase = IDLE
    _set(w, e, np.inf)
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        gpu.active -= 1
        if gpu.active == 0:
            gpu.active_seconds += now - gpu.active_since
    _share(w, e, now, sharing, loss)
    kept = 0
    running: int = engine.running
    for i in range(running):
        r, new = w.seats[e, i, 0], w.seats[e, i, 1]
        request = w.requests[r]
        request.computed += new
        if new > 0 and request.computed == request.prompt + request.generated:
            request.generated += 1
            if request.generated == 1:
                request.first = now
                if request.prefix >= 0:
                    w.warm[request.prefix] |= 1 << (engine.replica & 63)
            if request.generated >= request.output:
                request.finish = now
                free(w, e, r, now)
                continue
        w.seats[e, kept, 0] = r
        kept += 1
    engine.running = kept
    return kept < running


@kernel
def _wake(w: World, e: int, now: float, sharing: int, loss: float) -> None:
    """Let engines that wait for memory on an engine's GPUs try again, the longest wait first."""
    engine = w.engines[e]
    for at in range(engine.first_gpu, engine.end_gpu):
        gpu = w.gpus[w.lists[at]]
        asked, asked_since = -1, -1.0
        while True:
            best, best_since = -1, np.inf
            for other in range(gpu.first_engine, gpu.end_engine):
                f = w.lists[other]
                since = w.engines[f].stalled_since
                later = since > asked_since or (since == asked_since and f > asked)
                if w.engines[f].phase == STALLED and f != e and later and since < best_since:
                    best, best_since = f, since
            if best < 0:
                break
            asked, asked_since = best, best_since
            admit(w, best, w.engines[best].budget, now)
            _launch(w, best, now, sharing, loss)


@kernel
def _forget(w: World, e: int) -> None:
    """Empty the prefix cache of an engine: its memory was needed."""
    engine = w.engines[e]
    for prefix in range(engine.first_prefix, engine.end_prefix):
        w.warm[prefix] &= ~(1 << (engine.replica & 63))


@kernel
def _set(w: World, e: int, when: float) -> None:
    """Set when the next event of an engine is."""
    at = len(w.tree) // 2 + e
    w.tree[at] = when
    at >>= 1
    while at > 0:
        least = min(w.tree[2 * at], w.tree[2 * at + 1])
        if w.tree[at] == least:
            break
        w.tree[at] = least
        at >>= 1


@kernel
def _earliest(w: World) -> int:
    """Return the engine with the next event, the first of several."""
    leaves = len(w.tree) // 2
    at = 1
    while at < leaves:
        at = 2 * at if w.tree[2 * at] == w.tree[at] else 2 * at + 1
    return at - leaves


@kernel
def _close(w: World, now: float) -> None:
    """Count memory and activity up to the end."""
    for g in range(len(w.gpus)):
        gpu = w.gpus[g]
        gpu.used_seconds += gpu.used * (now - gpu.used_since)
        if gpu.active > 0:
            gpu.active_seconds += now - gpu.active_since
