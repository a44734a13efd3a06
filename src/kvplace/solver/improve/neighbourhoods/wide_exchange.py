"""Exchanges of up to two shards for up to two, with all GPUs; trades across link domains."""

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.improve.neighbourhoods.neighbourhood import TRIED, try_changes, uneven
from kvplace.solver.improve.pair_exchange_cluster import Wide

__all__ = ["Trade", "WideExchange"]

WIDE = 500
"""GPUs with which exchanges are looked at first; twenty times as many after them."""


class WideExchange:
    """Exchanges of shards that move by themselves.

    Parameters
    ----------
    wide
        The totals of all subsets.
    """

    adds = False

    def __init__(self, wide: Wide) -> None:
        self._wide = wide

    def applies(self, board: Assignment) -> bool:
        """Whether there is another GPU."""
        return board.instance.g > 1

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best exchange of up to two shards for up to two that ends below a pressure."""
        order = np.argsort(board.arrays.pressure, kind="stable")
        partners = order[: int(np.searchsorted(board.arrays.pressure[order], goal, side="left"))]
        partners = partners[partners != g]
        # The coldest first: what they give is most often enough.
        for some in (partners[:WIDE], partners[WIDE : 20 * WIDE]):
            for changes in self._wide.exchanges(g, some, goal, TRIED) if len(some) else ():
                found = try_changes(board, changes, goal)
                if found is not None:
                    return found
        return None


class Trade:
    """Trades of a copy of a split model for shards of another link domain.

    Parameters
    ----------
    wide
        The totals of all subsets.
    """

    adds = False

    def __init__(self, wide: Wide) -> None:
        self._wide = wide

    def applies(self, board: Assignment) -> bool:
        """Whether a model may be split."""
        return max(board.instance.degree, default=1) > 1

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best trade of a copy of a split model with shards of another link domain."""
        for j in board.hottest_first(g):
            option = board.option[j]
            assert option is not None
            if option.degree == 1 or uneven(board, j):
                continue
            copy = next(copy for copy in board.where[j] if g in copy)
            for changes in self._wide.trades(j, copy, goal, TRIED):
                found = try_changes(board, changes, goal)
                if found is not None:
                    return found
        return None
