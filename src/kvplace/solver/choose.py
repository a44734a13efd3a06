"""Choose: how each model is split and copied, and a first assignment, by a target KVPR.

At a target K a shard takes the room ``s + l / K``, and a model the least room where
``shards x (s + l / K)`` is least among the options of which a shard is at most a share of the
GPU: water-filling. A hot model gets copies exactly as far as K makes one shard too large.
"""

import math
from collections.abc import Iterator

import numpy as np

from kvplace.solver.board import Board
from kvplace.solver.cluster import Bools, Cluster, Option, padded
from kvplace.solver.seats import place_model
from kvplace.solver.sets import Floats, Ints
from kvplace.solver.watch import Watch

__all__ = ["Chooser", "construct"]

ORDERS = ("room", "degree")
"""What goes first: the shards that take most room, or the models that are split most."""
SHARES = (1.0, 0.75, 0.5, 0.35)
"""Parts of the largest GPU that one shard may take, tried in turn."""


class Chooser:
    """Picks an option per model at a target.

    Parameters
    ----------
    cluster
        The problem; each model has an option.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        options = cluster.options
        self._size = padded([[o.size for o in row] for row in options])
        self._load = padded([[o.load for o in row] for row in options], 0.0)
        self._shards = padded([[o.shards for o in row] for row in options])
        self._least = padded([[o.size + max(1, o.keep) for o in row] for row in options])
        largest: dict[int, float] = {}
        for mask in cluster.allowed:
            if id(mask) not in largest:
                largest[id(mask)] = float(cluster.memory[mask].max(initial=0))
        self.largest: Floats = np.array([largest[id(mask)] for mask in cluster.allowed])

    def room(self, target: float) -> tuple[Floats, Floats, Bools]:
        """Return per option the room of a shard and of all shards at a target, and which fit."""
        each: Floats = self._size + (self._load / target if target < math.inf else 0.0)
        with np.errstate(invalid="ignore"):
            fit = (each < self.largest[:, None]) & (self._least <= self.largest[:, None])
            whole = np.where(fit, each * self._shards, math.inf)
        return each, whole, fit

    def caps(self) -> list[float]:
        """Return the sizes of shard worth aiming at: parts of the largest GPU, and other GPUs."""
        sizes = np.unique(self.cluster.memory)[::-1].tolist()
        return [*(share * sizes[0] for share in SHARES), *(0.97 * size for size in sizes[1:6])]

    def pick(self, target: float, cap: float) -> list[Option]:
        """Return the option of each model that takes the least room.

        Options of which a shard takes more than `cap` come last, the smaller shards first.
        """
        each, whole, fit = self.room(target)
        large = each > cap
        whole = np.where(large, whole + each * 1e6, whole)
        whole = np.where(fit, whole, np.where(np.isfinite(each), each * 1e12, math.inf))
        chosen: Ints = whole.argmin(axis=1)
        return [row[at] for row, at in zip(self.cluster.options, chosen.tolist(), strict=True)]


def construct(cluster: Cluster, bound: float, watch: Watch, halvings: int = 12) -> Iterator[Board]:
    """Yield assignments, each made by bisection over the target, some with models left out.

    Parameters
    ----------
    cluster
        The problem.
    bound
        A lower bound on the optimum: where the search for a target starts.
    watch
        Ends it early, after the first.
    halvings
        Targets tried for each cap, order and rule.
    """
    chooser = Chooser(cluster)
    caps = chooser.caps() if any(len(row) > 1 for row in cluster.options) else [math.inf]
    for tight in (True, False):
        for order in ORDERS:
            for cap in caps:
                fill = _Fill(cluster, chooser, cap, order, tight=tight)
                yield _bisect(fill, bound, halvings, watch)
                if watch.stop:
                    return


def _bisect(fill: "_Fill", bound: float, halvings: int, watch: Watch) -> Board:
    """Return the best assignment that bisection over the target finds."""
    best = fill.at(math.inf)
    low, high = bound, best.worst() if not best.missing else math.inf
    step = 2.0
    for _ in range(halvings if bound > 0 else 0):
        if watch.stop or high <= low * (1 + 1e-3):
            break
        target = math.sqrt(low * high) if high < math.inf else low * step
        board = fill.at(target)
        if board.missing:
            low, step = target, step * step
        else:
            high = min(target, board.worst())
            if board.worth() < best.worth():
                best = board
    return best


class _Fill:
    """One rule for placing all models at a target.

    Parameters
    ----------
    cluster, chooser
        The problem.
    cap
        Most that one shard is to take where there is a choice.
    order
        Of `ORDERS`: by which models are sorted that are equally free to go.
    tight
        As in `kvplace.solver.seats.seats`.
    """

    def __init__(
        self, cluster: Cluster, chooser: Chooser, cap: float, order: str, *, tight: bool
    ) -> None:
        self._cluster, self._chooser = cluster, chooser
        self._cap, self._order, self._tight = cap, order, tight
        counted = {id(mask): int(mask.sum()) for mask in cluster.allowed}
        self._places = [counted[id(mask)] for mask in cluster.allowed]

    def at(self, target: float) -> Board:
        """Return the assignment at a target.

        Below infinity the first model that finds no seat ends it; at infinity it is left out.
        """
        board = Board(self._cluster)
        options = self._chooser.pick(target, self._cap)
        finite = target < math.inf
        room = [o.size + (o.load / target if finite else 0.0) for o in options]
        degrees = [-o.degree if self._order == "degree" else 0 for o in options]
        order = sorted(
            range(self._cluster.n), key=lambda j: (self._places[j], degrees[j], -room[j], j)
        )
        for j in order:
            if not place_model(board, j, options[j], target, tight=self._tight) and finite:
                return board
        return board
