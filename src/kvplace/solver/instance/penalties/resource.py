"""What shards take of a further capacity above what there is."""

import math
from collections.abc import Sequence
from functools import partial

from kvplace.core.evaluation.constraints import ROUNDING
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker, Tracker

__all__ = ["ResourceTracker", "resource_penalty"]

STEPS = 2**52
"""Steps of the largest amount or capacity of a resource."""
AMOUNT_BITS = 26
"""Bits of the amount by which a capacity of 1 or more is exceeded; a smaller one counts as 1."""


class ResourceTracker(Tracker):
    """What shards take of a capacity above what there is.

    Counted in whole steps, so that what is taken and given back leaves nothing of rounding, and
    the amount is rounded up to a power of two times a whole number, so that sums of the amounts
    of several rules leave nothing either.
    """

    def __init__(self, holder: list[int], capacity: list[float], taken: list[float]) -> None:
        super().__init__()
        largest = max(*capacity, *taken, 1e-300)
        step = largest / STEPS
        self._holder = holder
        # Below a step, what is there suffices, and where there is nothing, nothing fits.
        self._most = [
            int(amount * (1 + ROUNDING / 2) / step) or (STEPS if amount else 0)
            for amount in capacity
        ]
        self._taken = [round(amount / step) or int(amount > 0) for amount in taken]
        self._total = [0] * len(capacity)
        self._above = 0
        self._unit = 2.0 ** max(math.frexp(largest)[1] - AMOUNT_BITS, -AMOUNT_BITS)
        self._units = step / self._unit

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        taken = self._taken[j]
        if not taken:
            return
        for copies, step in ((old, -taken), (new, taken)):
            for holder in (self._holder[g] for copy in copies for g in copy):
                most, before = self._most[holder], self._total[holder]
                self._total[holder] = before + step
                self._above += max(0, before + step - most) - max(0, before - most)
        self.amount = math.ceil(self._above * self._units) * self._unit


def resource_penalty(
    resource: str, scope: str, ground: Ground, taken: list[float]
) -> tuple[Sequence[int], MakeTracker]:
    """Return the number of the GPU or node of each GPU, and the tracker.

    Parameters
    ----------
    resource, scope
        Name of the capacity, and ``gpu`` or ``node``, whichever has it.
    ground
        What it is made from.
    taken
        (n,) what a shard of each model takes.
    """
    holder = ground.topology(scope)
    capacity = _capacity(resource, scope, ground, holder)
    return holder, partial(ResourceTracker, holder, capacity, taken)


def _capacity(resource: str, scope: str, ground: Ground, holder: list[int]) -> list[float]:
    """Return what each GPU or node has of a resource."""
    fleet = ground.problem.fleet
    capacity = [0.0] * (max(holder) + 1)
    for g, id_ in enumerate(ground.gpu_ids):
        gpu, node = fleet.gpu(id_), fleet.node_of(id_)
        assert gpu is not None
        assert node is not None
        has = gpu.resources if scope == "gpu" else node.resources
        capacity[holder[g]] = float(has.get(resource, 0.0))
    return capacity
