"""Split models placed by prices: each where the room that it takes is worth least to the others.

The program on levels, asked about all shards as if each went by itself, prices every room. A copy
takes the GPUs of a link domain whose rooms lose least worth by its shards. With the rooms that are
left the program prices them anew, and some copies move to where the others miss them less.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.column_generation.levels import Need
from kvplace.solver.construct.candidates import best_seat
from kvplace.solver.instance.instance import Copies, Option

__all__ = ["SplitModels"]

TRIED = 24
"""Link domains looked at for a copy of which rules speak."""
FIRST, LEAST = 0.5, 0.03
"""Part of the models that gain by another seat which moves at once: at first, halved where that
does not help, and at last."""


@dataclass(frozen=True, slots=True)
class SplitModels:
    """Split models, with the option of each and what a shard of it takes.

    Parameters
    ----------
    options
        The option of each model.
    levels
        What a shard of each takes, in levels.
    room
        Returns (g,) the room of each GPU of a board, in levels.
    target
        In load per byte.
    """

    options: dict[int, Option]
    levels: dict[int, int]
    room: Callable[[Assignment], Ints]
    target: float

    def with_them(self, need: Need) -> Need:
        """Return a need to which their shards are added."""
        demand = need.demand.copy()
        for j, option in self.options.items():
            demand[self.levels[j]] += option.shards
        return replace(need, demand=demand)

    def place(self, board: Assignment, worth: Ints) -> bool:
        """Place all of them on an empty board, those of most shards first; whether that worked."""
        order = sorted(self.options, key=lambda j: (-self.options[j].degree, -self.levels[j], j))
        room = self.room(board)
        return all(self._put(board, j, room, worth) for j in order)

    def improved(
        self, board: Assignment, share: Callable[[Assignment], tuple[float, Ints]]
    ) -> float:
        """Move copies to where the others miss their room less, as long as that lowers the share.

        Parameters
        ----------
        board
            With all of them; changed in place.
        share
            Returns the share of these rooms that the others need, and the worth of rooms then.

        Returns
        -------
        float
            The share at last.
        """
        best, worth = share(board)
        part = FIRST
        while best > 1 and part >= LEAST:
            before = [(j, option, board.where[j]) for j, option in self.options.items()]
            if not self._move(board, worth, part):
                break
            now, priced = share(board)
            if now < best:
                best, worth = now, priced
            else:
                board.apply(before)
                part /= 2
        return best

    def _move(self, board: Assignment, worth: Ints, part: float) -> int:
        """Move the part of the models that gain most; return how many moved."""
        room, gains = self.room(board), []
        for j in self.options:
            gain = self._gain(board, j, room, worth)
            if gain > 0:
                gains.append((gain, j))
        gains.sort(reverse=True)
        moved = 0
        for _, j in gains[: math.ceil(part * len(gains))]:
            where = board.where[j]
            if self._gain(board, j, room, worth) > 0:
                self._take(board, j, room)
                moved += self._put(board, j, room, worth) or not self._back(board, j, where, room)
        return moved

    def _gain(self, board: Assignment, j: int, room: Ints, worth: Ints) -> float:
        """Return by how much less the best other seats of a model cost than those that it has."""
        held = np.array([g for copy in board.where[j] for g in copy])
        freed = room.copy()
        freed[held] += self.levels[j]
        cost = self._cost(j, freed, board, worth)
        sums, _ = self._seats(board, self.options[j].degree, cost)
        copies = self.options[j].copies
        return float(cost[held].sum() - np.sort(sums)[:copies].sum())

    def _cost(self, j: int, room: Ints, board: Assignment, worth: Ints) -> Floats:
        """Return (g,) the worth that a shard takes from each GPU, ``inf`` where it does not fit."""
        level, room = self.levels[j], np.minimum(room, len(worth) - 1)
        fits = board.instance.columns.allowed[j] & (room >= level)
        cost = np.full(len(room), math.inf)
        cost[fits] = worth[room[fits]] - worth[room[fits] - level]
        # Between equals the tightest: what is left whole serves more.
        cost += (room - level) * 1e-3
        return cost

    def _holds(self, board: Assignment, option: Option) -> Bools:
        """Return (g,) whether GPUs hold one more shard, in bytes."""
        arrays, target = board.arrays, self.target
        left = arrays.free - arrays.load[0] / target
        found: Bools = left >= option.size + option.load / target
        return found & (arrays.free - arrays.kept >= option.size + option.keep)

    def _seats(self, board: Assignment, degree: int, cost: Floats) -> tuple[Floats, Ints]:
        """Return what the cheapest GPUs of each link domain cost, and their places in it."""
        domains = board.instance.columns.domains
        if domains.shape[1] < degree:
            return np.full(1, math.inf), np.zeros((1, degree), dtype=np.int64)
        padded = np.append(cost, math.inf)[domains]
        order: Ints = np.argsort(padded, axis=1, kind="stable")[:, :degree]
        return np.take_along_axis(padded, order, axis=1).sum(axis=1), order

    def _found(
        self, board: Assignment, degree: int, cost: Floats, taken: set[int]
    ) -> Iterator[tuple[int, ...]]:
        """Yield seats for one more copy, the cheapest first."""
        cost[list(taken)] = math.inf
        sums, order = self._seats(board, degree, cost)
        for domain in np.argsort(sums, kind="stable")[:TRIED].tolist():
            if sums[domain] < math.inf:
                gpus = board.instance.columns.domains[domain][order[domain]]
                yield tuple(sorted(gpus.tolist()))

    def _put(self, board: Assignment, j: int, room: Ints, worth: Ints) -> bool:
        """Place all copies of a model where they cost least, or none of them."""
        option = self.options[j]
        for _ in range(option.copies):
            taken = {g for copy in board.where[j] for g in copy}
            cost = self._cost(j, room, board, worth)
            cost[~self._holds(board, option)] = math.inf
            seat = best_seat(board, j, self._found(board, option.degree, cost, taken), TRIED, TRIED)
            if seat is None:
                self._take(board, j, room)
                return False
            board.apply([(j, option, (*board.where[j], seat))])
            room[list(seat)] -= self.levels[j]
        return True

    def _take(self, board: Assignment, j: int, room: Ints) -> None:
        """Take a model off."""
        for copy in board.where[j]:
            room[list(copy)] += self.levels[j]
        board.apply([(j, None, ())])

    def _back(self, board: Assignment, j: int, where: Copies, room: Ints) -> bool:
        """Put a model back where it was."""
        board.apply([(j, self.options[j], where)])
        for copy in where:
            room[list(copy)] -= self.levels[j]
        return True
