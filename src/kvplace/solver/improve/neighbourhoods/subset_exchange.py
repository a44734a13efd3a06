"""Exchanges of up to two shards for up to two, with all colder GPUs."""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.improve.neighbourhoods.neighbourhood import TRIED, try_changes
from kvplace.solver.improve.subsets import Subsets

__all__ = ["SubsetExchange"]


class SubsetExchange:
    """Exchanges of shards that move by themselves.

    Parameters
    ----------
    subsets
        The totals of all subsets.
    first, most
        Partners looked at first, the coldest, and of all others as many as that at most.

    Attributes
    ----------
    spared
        A GPU that is no partner; -1 for none.
    """

    adds = False

    def __init__(self, subsets: Subsets, first: int, most: float = math.inf) -> None:
        self._subsets, self._first, self._most = subsets, first, most
        self.spared = -1

    def applies(self, board: Assignment) -> bool:
        """Whether there is another GPU."""
        return board.instance.g > 1

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best exchange that leaves both GPUs below a pressure."""
        pressure = board.arrays.pressure
        order = np.argsort(pressure, kind="stable")
        colder = order[: int(np.searchsorted(pressure[order], goal, side="left"))]
        colder = colder[(colder != g) & (colder != self.spared)]
        # What the coldest give is most often enough.
        last = min(len(colder), int(min(self._most, len(colder))))
        for partners in (colder[: self._first], colder[self._first : last]):
            exchanges = self._subsets.exchanges(g, partners, goal, TRIED) if len(partners) else ()
            for changes in exchanges:
                found = try_changes(board, changes, goal)
                if found is not None:
                    return found
        return None
