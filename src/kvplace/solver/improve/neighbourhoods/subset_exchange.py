"""Exchanges of up to two shards for up to two, with all colder GPUs."""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.subsets import Subsets
from kvplace.solver.improve.neighbourhoods.neighbourhood import (
    TRIED,
    Neighbourhood,
    try_changes,
)

SMALL = 40_000
"""Exchanges that a small array operation looks at."""


class SubsetExchange(Neighbourhood):
    """Exchanges of shards that move by themselves.

    Parameters
    ----------
    subsets
        The totals of all subsets.
    first, most
        Partners looked at first, the coldest, and at most; None for as many as one small array
        operation looks at.
    """

    def __init__(self, subsets: Subsets, first: int | None = None, most: float = math.inf) -> None:
        self._subsets, self._first, self._most = subsets, first, most

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best exchange that leaves both GPUs below a pressure."""
        pressure = board.arrays.pressure
        order = np.argsort(pressure, kind="stable")
        colder = order[: int(np.searchsorted(pressure[order], goal, side="left"))]
        # What the coldest give is most often enough.
        last = min(len(colder), int(min(self._most, len(colder))))
        first = self._first or max(4, SMALL // self._subsets.count**2)
        for partners in (colder[:first], colder[first:last]):
            found = self._subsets.exchanges(g, partners, goal, TRIED) if len(partners) else ()
            for out, h, back in found:
                if board.instance.simple and not board.arrays.sparing:
                    if board.exchange_below(g, out, h, back, goal):
                        return {g, h}
                    continue
                touched = try_changes(board, self._subsets.changes(g, out, h, back), goal)
                if touched is not None:
                    return touched
        return None
