"""Enumerate: every way to place a small cluster, cut where nothing better can follow.

Depth-first over the models. All shards of a model are alike, so a way to place one is a split,
a number of copies and a set of GPUs; which of them make up one copy is of no account. Adding a
model raises pressures and breaches, never lowers them, so a partial assignment that is not below
the best whole one is cut.
"""

import math
from itertools import combinations

from kvplace.solver.board import Board
from kvplace.solver.cluster import Cluster, Copies, Option
from kvplace.solver.watch import Watch

__all__ = ["Enumeration"]

_Way = tuple[Option, Copies]


class Enumeration:
    """An exhaustive search.

    Parameters
    ----------
    cluster
        The problem.
    ways
        Ways of one model at most; above, the search does not start.
    nodes
        Partial assignments looked at, most.

    Attributes
    ----------
    best
        The best assignment; None where none was found better than the one given.
    complete
        Whether nothing was left out.
    """

    def __init__(self, cluster: Cluster, ways: int = 4_000, nodes: int = 20_000) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self.best: list[Copies] | None = None
        self.complete = not any(
            uneven and any(o.copies > 1 < o.degree for o in options)
            for uneven, options in zip(cluster.uneven, cluster.options, strict=True)
        )
        counted = [_count(cluster, j) for j in range(cluster.n)]
        self.complete &= max(counted) <= ways and math.prod(counted) > 0
        self._ways: list[list[_Way]] = []
        if self.complete:
            board = Board(cluster)
            self._ways = [_ways(cluster, board, j) for j in range(cluster.n)]
        # Those with the fewest ways first; among equals the largest.
        self._order = sorted(
            range(len(self._ways)),
            key=lambda j: (
                len(self._ways[j]),
                -max((o.size for o in cluster.options[j]), default=0),
            ),
        )

    def run(self, flaws: tuple[float, ...], value: float, watch: Watch) -> None:
        """Look for an assignment that is better than one with these flaws and this value."""
        if not self.complete:
            return
        self._limit = (flaws[1:], value)  # all models are placed here
        self._watch = watch
        self._board = Board(self._cluster)
        self._descend(0)

    def _descend(self, depth: int) -> None:
        board = self._board
        if depth == len(self._order):
            self.best = list(board.where)
            self._limit = (board.costs.vector, board.worst())
            return
        j = self._order[depth]
        scored: list[tuple[tuple[tuple[float, ...], float], int, Option, Copies]] = []
        for option, copies in self._ways[j]:
            self._nodes -= 1
            if self._nodes < 0 or self._watch.stop:
                self.complete = False
                return
            if any(
                board.free[g] - option.size < max(1, board.kept[g] + option.keep)
                for copy in copies
                for g in copy
            ):
                continue
            undo, _ = board.apply([(j, option, copies)])
            if board.costs.broken <= 0 and (board.costs.vector, board.worst()) < self._limit:
                scored.append(((board.costs.vector, board.worst()), len(scored), option, copies))
            board.apply(undo)
        for now, _, option, copies in sorted(scored, key=lambda entry: entry[:2]):
            if now >= self._limit:
                break
            undo, _ = board.apply([(j, option, copies)])
            self._descend(depth + 1)
            board.apply(undo)
            if not self.complete:
                return


def _count(cluster: Cluster, j: int) -> int:
    """Return at most how many ways a model has, without looking at domains."""
    places = int(cluster.allowed[j].sum())
    return sum(math.comb(places, o.shards) for o in cluster.options[j])


def _ways(cluster: Cluster, board: Board, j: int) -> list[_Way]:
    """Return the ways to place a model on an empty cluster that break nothing by themselves."""
    gpus = [g for g in range(cluster.g) if cluster.allowed[j][g]]
    found: list[_Way] = []
    for option in cluster.options[j]:
        largest = option.size + max(1, option.keep)
        fitting = [g for g in gpus if cluster.memory[g] >= largest]
        for chosen in combinations(fitting, option.shards):
            copies = _as_copies(cluster, chosen, option.degree)
            if copies is None:
                continue
            board.costs.update(j, (), copies)
            if board.costs.broken <= 0:
                found.append((option, copies))
            board.costs.update(j, copies, ())
    return found


def _as_copies(cluster: Cluster, chosen: tuple[int, ...], degree: int) -> Copies | None:
    """Return GPUs as copies within link domains, or None where they do not come out even."""
    by_domain: dict[int, list[int]] = {}
    for g in chosen:
        by_domain.setdefault(int(cluster.domain_of[g]), []).append(g)
    if any(len(held) % degree for held in by_domain.values()):
        return None
    return tuple(
        tuple(held[at : at + degree])
        for held in by_domain.values()
        for at in range(0, len(held), degree)
    )
