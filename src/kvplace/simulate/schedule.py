"""What an engine puts into its next step: the rules of vLLM V1.

Running requests come first, in the order of their admission, each with the tokens it lacks, up to
the token budget of the step; prompts are cut into chunks that way. A running request that finds no
memory takes it from the request admitted last, which starts again from its prompt. Waiting requests
are admitted in order, while budget, slots and memory last, in steps that preempted nobody; one
whose prompt and tokens so far do not fit whole is not begun (``scheduler_reserve_full_isl``).
Source: vLLM, vllm/v1/core/sched/scheduler.py (Apache-2.0).
"""

from kvplace.simulate.memory import fits, free, take
from kvplace.simulate.state import World
from kvplace.solver.kernels import kernel


@kernel
def enqueue(w: World, e: int, r: int) -> None:
    """Put a request at the end of an engine's queue."""
    engine = w.engines[e]
    w.requests[r].after = -1
    if engine.waiting == 0:
        engine.head = r
    else:
        w.requests[engine.tail].after = r
    engine.tail = r
    engine.waiting += 1


@kernel
def _preempt(w: World, e: int, now: float) -> int:
    """Send the request admitted last back to the front of the queue; return it."""
    engine = w.engines[e]
    engine.running -= 1
    r: int = w.seats[e, engine.running, 0]
    request = w.requests[r]
    free(w, e, r, now)
    request.computed = 0
    request.preempted += 1
    engine.preemptions += 1
    request.after = engine.head
    engine.head = r
    if engine.waiting == 0:
        request.after = -1
        engine.tail = r
    engine.waiting += 1
    return r


@kernel
def fill(w: World, e: int, now: float) -> int:
    """Schedule the running requests; return the budget left, or -1 where somebody was preempted."""
    engine = w.engines[e]
    budget = engine.budget
    preempted = False
    i = 0
    while i < engine.running:
        r = w.seats[e, i, 0]
        request = w.requests[r]
        tokens = min(request.prompt + request.generated - request.computed, budget)
        w.seats[e, i, 1] = tokens
        i += 1
        while tokens > 0 and not take(w, e, r, request.computed + tokens, now):
            preempted = True
            if _preempt(w, e, now) == r:
                tokens = 0
        budget -= tokens
    return -1 if preempted else budget


@kernel
def admit(w: World, e: int, budget: int, now: float) -> None:
    """Take requests from the queue into the step."""
    engine = w.engines[e]
    while engine.waiting > 0 and budget > 0 and engine.running < engine.sequences:
        r = engine.head
        request = w.requests[r]
        cached = 0
        if request.prefix >= 0 and (w.warm[request.prefix] >> (engine.replica & 63)) & 1:
            most = min(request.prefix_tokens, request.prompt - 1)
            cached = most // engine.block_tokens * engine.block_tokens
        whole = request.prompt + request.generated
        tokens = min(whole - cached, budget)
        if not fits(w, e, r, whole) or not take(w, e, r, cached + tokens, now):
            return
        request.computed = cached
        engine.head = request.after
        engine.waiting -= 1
        w.seats[e, engine.running, 0] = r
        w.seats[e, engine.running, 1] = tokens
        engine.running += 1
        budget -= tokens
