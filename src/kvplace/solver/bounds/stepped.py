"""The stepped bound: where weights come in whole steps, so does the memory that they leave free.

With weights that are multiples of d, a load needs a whole number of steps of d to stay below K,
and what it needs of the last of them only in part is lost to the GPU. So each model is priced at
the whole steps in its size, ``floor(w_j / d)``, and a GPU is worth those strictly below its
memory: a dual feasible function (Fekete and Schepers, Mathematical Programming 91, 2001). Then
the largest models are raised in turn to what their company leaves them, by sequential lifting
(Padberg, Mathematical Programming 5, 1973). Prices are small whole numbers, so the company of
most steps is found exactly, by the least size for every number of steps.
"""

import math

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.bounds.certify import Priced
from kvplace.solver.instance.instance import Instance

__all__ = ["Stepped"]

MOST_STEPS = 2_048
"""Steps in the largest memory above which they are too fine to lose anything."""
LIFTED = 32
"""Models raised, the largest first."""
EDGE = 1e-12
"""Relative width by which loads are lowered, so that rounding never counts a step too many."""


class Stepped:
    """Whole steps of memory, where every model's weights are a multiple of one step."""

    method = "lifted"
    stage = "stepped-bound"

    def supports(self, instance: Instance) -> bool:  # noqa: D102 - as of the protocol
        step = math.gcd(*instance.size)
        return step > 0 and instance.memory[0] <= step * MOST_STEPS

    def prove(self, instance: Instance, target: float) -> Priced | None:  # noqa: D102 - same
        step = math.gcd(*instance.size)
        memory, count = np.unique(np.array(instance.memory, dtype=np.int64), return_counts=True)
        worths = -(-memory // step) - 1
        total = int(worths @ count)
        extra = np.array(instance.load) * (1 - EDGE) / (target * step)
        whole = np.array([size // step for size in instance.size])
        prices = whole + np.floor(extra).astype(np.int64)
        if prices.sum() <= total:
            sizes = np.array([size / step for size in instance.size]) * (1 - EDGE) + extra
            prices = _raised(prices, sizes, memory / step, worths)
        if prices.sum() <= total:
            return None
        worth_of = dict(zip(memory.tolist(), worths.tolist(), strict=True))
        return Priced(target, prices.tolist(), worth_of, whole=True)


def _raised(prices: Ints, sizes: Floats, memory: Floats, worths: Ints) -> Ints:
    """Return prices at which still no set that fits is priced above its GPU's worth."""
    prices = prices.copy()
    order = np.argsort(-sizes, kind="stable")
    top, rest = order[:LIFTED], order[LIFTED:]
    alone = np.full(int(worths.max()) + 2, np.inf)
    alone[0] = 0.0
    for j in rest:
        alone = _with(alone, int(prices[j]), float(sizes[j]))
    for j in top:
        least = alone
        for i in top:
            if i != j:
                least = _with(least, int(prices[i]), float(sizes[i]))
        left = [
            int(worth - np.flatnonzero(least < capacity - sizes[j])[-1])
            for capacity, worth in zip(memory, worths, strict=True)
            if sizes[j] < capacity
        ]
        if left:
            prices[j] = max(int(prices[j]), min(left))
    return prices


def _with(least: Floats, price: int, size: float) -> Floats:
    """Return the least size of a set of that price or more, per price, with one more model."""
    if price == 0:
        return least
    taken = np.empty_like(least)
    taken[:price] = size
    taken[price:] = least[: max(0, len(least) - price)] + size
    result: Floats = np.minimum(least, taken)
    return result
