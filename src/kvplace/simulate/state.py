"""What the kernels work on: engines, GPUs and requests as records, with what happens to them.

Engines, GPUs and requests are numbers within one component: GPUs that share no engine and no
router are simulated apart.
"""

from typing import Any, NamedTuple

import numpy as np

from kvplace.forecast.step_time import StepTime

SLICE, MPS, NONE = 0, 1, 2
"""How engines share a GPU: time slices, side by side, or without any contention."""

IDLE, GAP, STEP, STALLED = 0, 1, 2, 3
"""What an engine does: nothing; host work before a step; a step; waiting for memory."""


def _record(whole: str, real: str) -> "np.dtype[np.void]":
    fields: list[tuple[str, type]] = [(name, np.int64) for name in whole.split()]
    fields += [(name, np.float64) for name in real.split()]
    return np.dtype((np.record, fields))  # attributes also where kernels are not compiled


ENGINE = _record(
    # Given: where the list of its GPUs stands in `World.lists`; its number within its model; most
    # running requests and tokens of a step; tokens of a block; bytes of a block and of a running
    # request on each of its GPUs; bytes of its own pool there; its model's prompt beginnings.
    "first_gpu end_gpu replica sequences budget block_tokens block_bytes fixed_bytes limit "
    "window_block_bytes window_blocks "
    "first_prefix end_prefix "
    # Kept: what it does; how many run and wait, and the ends of the queue; bytes held on each GPU;
    # whether its step computes more than it reads.
    "phase running waiting head tail held steps preemptions computes",
    # Given: host work per step and per sequence; the coefficients of its step times.
    "host_seconds host_seconds_per_sequence "
    + " ".join(StepTime._fields)
    # Kept: seconds of its step left at `since`, alone, and its speed since then; the part of the
    # GPU that the step keeps busy alone; since when the engine waits for memory.
    + " work speed since use stalled_since",
)
GPU = _record(
    # Given: bytes of its pool; where the list of its engines stands in `World.lists`.
    "limit first_engine end_engine "
    # Kept: bytes held now and at most; engines with a step on it.
    "used peak active",
    # Kept: byte-seconds up to a moment; seconds with a step, and since when there is one.
    "used_since used_seconds active_since active_seconds",
)
REQUEST = _record(
    # Given: tokens; the engine, -1 where the router chooses among those that stand in
    # `World.lists`; number of the beginning that its prompt shares, -1 for none, and its length.
    "prompt output engine first_choice end_choice prefix prefix_tokens "
    # Kept: the next in the queue; tokens whose KV is there and that were given out; KV blocks;
    # recomputations; the engine that serves it.
    "after computed generated blocks preempted served_by",
    # Given: arrival. Kept: when its first and its last token came, `inf` before.
    "arrival first finish",
)


class World(NamedTuple):
    """A component, whole.

    Parameters
    ----------
    engines, gpus, requests
        (e,), (g,) and (r,) records; requests by arrival.
    lists
        Flat: GPUs of engines, engines on GPUs, engines that a router chooses from.
    seats
        (e, sequences, 2) running requests by admission, and their tokens in this step.
    warm
        (p,) bit set of the copies that hold a prompt beginning in their cache.
    tree
        Tournament over the engines' next events: the root is the first of all.
    """

    engines: Any  # numba's view of a record array has no type that checkers know
    gpus: Any
    requests: Any
    lists: Any
    seats: Any
    warm: Any
    tree: Any


def world(engines: Any, gpus: Any, requests: Any, lists: Any) -> World:
    """Return a component with nothing in it yet, at time 0."""
    count = len(engines)
    leaves = 1 << max(0, (count - 1).bit_length())
    engines["head"] = engines["tail"] = -1
    requests["after"] = requests["served_by"] = -1
    requests["first"] = requests["finish"] = np.inf
    return World(
        engines, gpus, requests, lists,
        seats=np.zeros((count, int(engines["sequences"].max(initial=1)), 2), np.int64),
        warm=np.zeros(int(requests["prefix"].max(initial=0)) + 1, np.int64),
        tree=np.full(2 * leaves, np.inf),
    )  # fmt: skip
