"""Column generation: ask the master for prices, price columns, until none is missing."""

from typing import Protocol

from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Duals, Master


class Pricing(Protocol):
    """Finds the columns that a master lacks, and remembers what their prices prove."""

    def settled(self, share: float) -> bool:
        """Whether no further column is needed once the columns known need a share of the fleet.

        It is asked with ``inf`` before the master is solved.
        """
        ...

    def extend(self, master: Master, duals: Duals) -> bool:
        """Add columns that are priced above their GPU; whether there was any."""
        ...


def generate(master: Master, pricing: Pricing, rounds: int, watch: Watch) -> float:
    """Solve a program by column generation.

    Parameters
    ----------
    master
        The restricted program; columns are added to it.
    pricing
        Finds columns, and holds what is proved.
    rounds
        Solutions of the restricted program at most.
    watch
        Ends it early.

    Returns
    -------
    float
        Share of the fleet that the columns known need; ``inf`` where no solution was found.
    """
    share = float("inf")
    for _ in range(rounds):
        if watch.stop or pricing.settled(float("inf")):
            break
        duals = master.solve(watch.left)
        if duals is None:
            break
        share = duals.share
        if watch.stop or pricing.settled(share) or not pricing.extend(master, duals):
            break
    return share
