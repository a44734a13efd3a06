"""Trades: a copy of a split model goes to another link domain, for shards of that."""

import math
from collections.abc import Iterator
from itertools import chain

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.improve.neighbourhoods.neighbourhood import (
    TRIED,
    lone_move,
    try_changes,
    uneven,
)
from kvplace.solver.improve.subsets import Subsets
from kvplace.solver.instance.instance import Option

__all__ = ["Trade"]


class Trade:
    """Each shard of the copy goes to a GPU there and takes back up to two of its shards.

    Parameters
    ----------
    subsets
        The totals of all subsets.
    """

    adds = False

    def __init__(self, subsets: Subsets) -> None:
        self._subsets = subsets

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
            for changes in self._trades(board, j, option, copy, goal):
                found = try_changes(board, changes, goal)
                if found is not None:
                    return found
        return None

    def _trades(
        self, board: Assignment, j: int, option: Option, copy: tuple[int, ...], goal: float
    ) -> Iterator[list[Change]]:
        """Yield trades of a copy that stay below a pressure, the best link domains first."""
        self._subsets.follow()
        columns, g = board.instance.columns, board.instance.g
        may = columns.allowed[j] & (columns.domain_of != columns.domain_of[copy[0]])
        may[[h for other in board.where[j] for h in other]] = False
        partners = np.flatnonzero(may)
        if not len(partners):
            return
        own = np.array([option.size, option.keep, *chain(*option.loads)], dtype=np.float64)[:, None]
        rows, best = [], []
        for h in copy:
            value = self._subsets.between(h, own, partners)[0]
            best.append(value.argmin(axis=1))
            row = np.full(g + 1, math.inf)
            row[partners] = value.min(axis=1)
            rows.append(row[columns.domains])
        # A domain is worth what the last of its best GPUs gives the first shard.
        ranked = np.sort(rows[0], axis=1)[:, min(len(copy), rows[0].shape[1]) - 1]
        good = np.flatnonzero(ranked < goal)
        place = {int(h): at for at, h in enumerate(partners)}
        for domain in good[np.argsort(ranked[good], kind="stable")][:TRIED].tolist():
            seats = _seats(columns.domains[domain].tolist(), [row[domain] for row in rows], goal)
            if seats is not None:
                numbers = [int(best[i][place[h]]) for i, h in enumerate(seats)]
                backs = [self._subsets.subset(h, at) for h, at in zip(seats, numbers, strict=True)]
                changes = _changes(board, j, copy, seats, backs)
                if changes:
                    yield changes


def _seats(gpus: list[int], values: list[Floats], goal: float) -> list[int] | None:
    """Return a GPU of some for each shard, each the best that is left, or None."""
    seats: list[int] = []
    for value in values:
        worth = [(float(value[at]), h) for at, h in enumerate(gpus) if h not in seats]
        best, h = min(worth, default=(math.inf, -1))
        if best >= goal:
            return None
        seats.append(h)
    return seats


def _changes(
    board: Assignment, j: int, copy: tuple[int, ...], seats: list[int], backs: list[list[int]]
) -> list[Change]:
    """Return the changes of a trade; none where a model would meet itself or may not go."""
    allowed = board.instance.columns.allowed
    where = tuple(tuple(sorted(seats)) if c == copy else c for c in board.where[j])
    changes: list[Change] = [(j, board.option[j], where)]
    moved: set[int] = set()
    for g, h, back in zip(copy, seats, backs, strict=True):
        for i in back:
            if i in moved or i in board.members[g] or not allowed[i][g]:
                return []
            moved.add(i)
            changes.append(lone_move(board, i, h, g))
    return changes
