"""What shards take of each domain above what it may hold: limits, forbidden GPUs, capacities."""

import math
from collections.abc import Sequence

from kvplace.core.evaluation.constraints import ROUNDING
from kvplace.solver.instance.penalties.tracker import Copies, Tracker

__all__ = ["ExcessTracker", "capacity_tracker"]

STEPS = 2**52
"""Steps of the largest amount or capacity of a resource."""
AMOUNT_BITS = 26
"""Bits of the amount by which a capacity of 1 or more is exceeded; a smaller one counts as 1."""


class ExcessTracker(Tracker):
    """What shards take of each domain above what it may hold.

    Counted in whole steps, so that what is taken and given back leaves nothing of rounding.

    Parameters
    ----------
    domain
        Of each GPU; -1 for none.
    most
        What each domain may hold; a number for all alike.
    taken
        What a shard of each model takes; a number for all alike.
    unit, units
        The amount is rounded up to so many of a unit, a power of two, so that sums of the amounts
        of several rules leave nothing of rounding either; and how many of it a step is.
    """

    def __init__(
        self,
        domain: Sequence[int],
        most: Sequence[int] | int,
        taken: Sequence[int] | int = 1,
        unit: float = 1,
        units: float = 1,
    ) -> None:
        super().__init__()
        every = max(domain, default=-1) + 1
        self._domain = domain
        self._most = [most] * every if isinstance(most, int) else most
        self._taken, self._unit, self._units = taken, unit, units
        self._total = [0] * every
        self._above = 0

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        taken = self._taken if isinstance(self._taken, int) else self._taken[j]
        if not taken:
            return
        for copies, step in ((old, -taken), (new, taken)):
            for domain in (self._domain[g] for copy in copies for g in copy):
                if domain >= 0:
                    most, before = self._most[domain], self._total[domain]
                    self._total[domain] = before + step
                    self._above += max(0, before + step - most) - max(0, before - most)
        self.amount = math.ceil(self._above * self._units) * self._unit


def capacity_tracker(
    holder: Sequence[int], capacity: Sequence[float], taken: Sequence[float]
) -> ExcessTracker:
    """Return a tracker of what shards take of a capacity above what there is.

    Parameters
    ----------
    holder
        Number of what has the capacity, of each GPU.
    capacity
        What each of those has.
    taken
        (n,) what a shard of each model takes.
    """
    largest = max(*capacity, *taken, 1e-300)
    step = largest / STEPS
    # Below a step, what is there suffices, and where there is nothing, nothing fits.
    most = [
        int(amount * (1 + ROUNDING / 2) / step) or (STEPS if amount else 0) for amount in capacity
    ]
    steps = [round(amount / step) or int(amount > 0) for amount in taken]
    unit = 2.0 ** max(math.frexp(largest)[1] - AMOUNT_BITS, -AMOUNT_BITS)
    return ExcessTracker(holder, most, steps, unit, step / unit)
