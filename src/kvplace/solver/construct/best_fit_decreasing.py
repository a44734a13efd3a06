"""Construct: bisection over the target KVPR with best fit decreasing.

At a target K a GPU is at or below K exactly when ``sum(s_j + l_j / K) <= M``: bin packing, and
monotone in K. Best fit decreasing is Johnson's rule (SIAM J. Comput. 3, 1974); bisection around
a packing rule is MULTIFIT (Coffman, Garey and Johnson, SIAM J. Comput. 7, 1978).
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bisection import best_below
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.pressure import fits

HALVINGS = 50

Order = Callable[[Instance, Sequence[float]], Sequence[float]]

ORDERS: dict[str, Order] = {
    "size": lambda _, w: w,
    "weights": lambda arrays, _: arrays.size,
    "load": lambda arrays, _: arrays.load,
}
"""What models are sorted by, largest first: size at K, weights, or load."""


def bisect_target(
    arrays: Instance, lower: float = 0.0, tolerance: float = 1e-9
) -> list[int] | None:
    """Return the best assignment that best fit decreasing finds, as a GPU per model, or None.

    There is none where no order packs even the weights alone.

    Parameters
    ----------
    arrays
        The problem.
    lower
        A lower bound on the optimum: where the search for K starts.
    tolerance
        Relative width of the interval of K at which to stop before 50 halvings.
    """
    best = pack(arrays, math.inf)
    if best is None:
        return None
    return best_below(
        lambda target: pack(arrays, target),
        lambda found: Assignment.single(arrays, found).worst(),
        best, lower, width=tolerance, most=HALVINGS,
    )  # fmt: skip


def pack(arrays: Instance, target: float) -> list[int] | None:
    """Return the first assignment at or below a target KVPR that some order gives, or None."""
    sizes = [
        s + load / target if load else s for s, load in zip(arrays.size, arrays.load, strict=True)
    ]
    seen = set()
    for order in ORDERS.values():
        keys = order(arrays, sizes)
        ranked = tuple(
            sorted(range(arrays.n), key=keys.__getitem__, reverse=True)
        )  # ties as they are
        if ranked not in seen:
            seen.add(ranked)
            found = _best_fit(arrays, sizes, ranked)
            if found:
                return found
    return None


def _best_fit(arrays: Instance, sizes: Sequence[float], ranked: Sequence[int]) -> list[int] | None:
    """Give each model in turn to the GPU with the least room that still takes it."""
    room = sorted((float(memory), g) for g, memory in enumerate(arrays.memory))
    free = list(arrays.memory)  # exact bytes, besides the floats of `room`
    kept = [0] * arrays.g
    gpu_of = [-1] * arrays.n
    for j in ranked:
        at = bisect_left(room, (sizes[j], -1))
        while at < len(room):
            g = room[at][1]
            if fits(free[g] - arrays.size[j], kept[g] + arrays.keep[j]):
                break
            at += 1
        else:
            return None
        left, g = room.pop(at)
        insort(room, (left - sizes[j], g))
        free[g] -= arrays.size[j]
        kept[g] += arrays.keep[j]
        gpu_of[j] = g
    return gpu_of
