"""What shards take of each domain above what it may hold: limits, forbidden GPUs, capacities."""

import math
import sys
from collections.abc import Sequence
from fractions import Fraction

from kvplace.core.evaluation.constraints import ROUNDING
from kvplace.solver.instance.penalties.tracker import Copies, Tracker

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
    unit, bits
        The amount is rounded up to so many of a unit, a power of two, so that sums of the amounts
        of several rules leave nothing of rounding either; a step is the unit over two to so many.
    """

    def __init__(
        self,
        domain: Sequence[int],
        most: Sequence[int] | int,
        taken: Sequence[int] | int = 1,
        unit: float = 1,
        bits: int = 0,
    ) -> None:
        super().__init__()
        every = max(domain, default=-1) + 1
        self._domain = domain
        self._most = [most] * every if isinstance(most, int) else most
        self._taken, self._unit, self._bits = taken, unit, bits
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
        self.amount = -(-self._above >> self._bits) * self._unit


def capacity_tracker(
    holder: Sequence[int], capacity: Sequence[float], taken: Sequence[float]
) -> ExcessTracker:
    """Return a tracker of what shards take of a capacity above what there is.

    Its steps are so fine that each number is a whole number of them.

    Parameters
    ----------
    holder
        Number of what has the capacity, of each GPU.
    capacity
        What each of those has.
    taken
        (n,) what a shard of each model takes.
    """
    allowed = [min(amount * (1 + ROUNDING), sys.float_info.max) for amount in capacity]
    exact = [Fraction(amount) for amount in (*allowed, *taken)]
    finest = max(AMOUNT_BITS, *(amount.denominator.bit_length() - 1 for amount in exact))
    steps = [int(amount * 2**finest) for amount in exact]
    coarse = max(math.frexp(max(*capacity, *taken))[1] - AMOUNT_BITS, -AMOUNT_BITS)
    of_holder, of_model = steps[: len(allowed)], steps[len(allowed) :]
    return ExcessTracker(holder, of_holder, of_model, 2.0**coarse, coarse + finest)
