"""The lifted bound: fluid prices, raised for models that leave room nobody can use.

The fluid bound prices a model at its size. A hot model whose size at K fills most of a GPU leaves
a little room there, into which only some sets of the others fit; what the best of them leaves
free is lost. So its price may rise to the whole GPU less the most that fits beside it, and no
set is then priced above its GPU: no two models above half of the largest GPU share one. Each
costs a knapsack over little room, so the bound serves fleets of any size.
"""

import math

import numpy as np

from kvplace.core.certificates.certificate import Bound, Certificate
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats
from kvplace.solver.bounds.bisection import climb
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.instance.instance import Instance

__all__ = ["lifted_bound"]

LIFTED = 32
"""Most models lifted, the largest first: they leave the least room."""
SCALE = 10**12
EDGE = 1e-12
"""Relative width by which prices are lowered, so that rounding cannot lift a set above a GPU."""


def lifted_bound(
    problem: Problem, arrays: Instance, low: float, high: float, watch: Watch
) -> Bound | None:
    """Return the best bound above `low` by lifted prices, or None.

    Parameters
    ----------
    problem, arrays
        What the bound is on.
    low, high
        A proved bound, and the value of a placement.
    watch
        Ends the bisection early.
    """
    memory, count = np.unique(np.array(arrays.memory, dtype=np.float64), return_counts=True)
    total = float(memory @ count)

    def prove(target: float) -> Floats | None:
        prices = _lifted(arrays, memory, target)
        return prices if float(prices.sum()) > total * (1 + 4 * EDGE) else None

    best = climb(prove, low, high, watch)
    if best is None:
        return None
    return Bound(best[0], "lifted", _certificate(problem, arrays, memory, *best))


def _lifted(arrays: Instance, memory: Floats, target: float) -> Floats:
    """Return (n,) prices at a target, in bytes, at which no set is dearer than its GPU."""
    sizes = np.array(arrays.size, dtype=np.float64) + np.array(arrays.load) / target
    prices = sizes * (1 - EDGE)
    largest = memory[-1]
    hot = [j for j in np.argsort(-sizes, kind="stable")[:LIFTED] if 2 * sizes[j] > largest]
    for j in hot:
        beside = []
        for capacity in memory[memory >= sizes[j]]:
            room = float(capacity - sizes[j])
            others = np.flatnonzero((sizes > 0) & (sizes <= room))
            most = Knapsack(sizes[others], prices[others], room).upper if len(others) else 0.0
            beside.append(float(capacity) - most)
        prices[j] = max(prices[j], min(beside, default=float(largest)) * (1 - EDGE))
    return prices


def _certificate(
    problem: Problem, arrays: Instance, memory: Floats, target: float, prices: Floats
) -> Certificate:
    """Return the integer certificate of prices at a target."""
    scale = SCALE / float(memory[-1])
    whole = [0] * len(problem.models)
    for j, price in enumerate(prices):
        whole[arrays.model_index[j]] = math.floor(price * scale)
    worths = tuple((int(capacity), math.ceil(capacity * scale)) for capacity in memory)
    return Certificate(target, tuple(whole), worths)
