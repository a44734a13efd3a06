"""The lifted bound: fluid prices, raised for models that leave room nobody can use.

The fluid bound prices a model at its size. A hot model whose size at K fills most of a GPU leaves
a little room there, into which only some sets of the others fit; what the best of them leaves
free is lost. So its price may rise to the whole GPU less the most that fits beside it, and no
set is then priced above its GPU: no two models above half of the largest GPU share one. Each
costs a knapsack over little room, so the bound serves fleets of any size.
"""

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.bounds.certify import Priced
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.instance.instance import Instance

__all__ = ["Lifted"]

LIFTED = 32
"""Most models lifted, the largest first: they leave the least room."""
EDGE = 1e-12
"""Relative width by which prices are lowered, so that rounding cannot lift a set above a GPU."""


class Lifted:
    """Fluid prices, raised for the models that leave room nobody can use."""

    method = "lifted"
    stage = "lifted-bound"

    def supports(self, instance: Instance) -> bool:  # noqa: D102 - as of the protocol
        return instance.n > 1

    def prove(self, instance: Instance, target: float) -> Priced | None:  # noqa: D102 - same
        memory, count = np.unique(np.array(instance.memory, dtype=np.float64), return_counts=True)
        prices = _lifted(instance, memory, target)
        if float(prices.sum()) <= float(memory @ count) * (1 + 4 * EDGE):
            return None
        worths = {int(capacity): float(capacity) for capacity in memory}
        return Priced(target, prices.tolist(), worths)


def _lifted(instance: Instance, memory: Floats, target: float) -> Floats:
    """Return (n,) prices at a target, in bytes, at which no set is dearer than its GPU."""
    sizes = np.array(instance.size, dtype=np.float64) + np.array(instance.load) / target
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
