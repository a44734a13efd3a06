"""Subsets of what each GPU holds, and what exchanging them would come to, all looked at at once.

For shards that may go anywhere by themselves: those of models that are not split and whose copies
carry even parts. What rules say of an exchange is for the assignment to find out.
"""

import math
from collections.abc import Iterator
from functools import cache
from itertools import combinations

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change

__all__ = ["Subsets"]

BATCH = 200_000
"""Exchanges looked at in one array operation."""


class Subsets:
    """The totals of every subset of up to so many shards of every GPU.

    Parameters
    ----------
    board
        Followed through its `Assignment.changed`, which this empties.
    width
        Most shards in a subset: 1 or 2.
    models
        Shards of a GPU that are looked at; None for all.

    Attributes
    ----------
    count
        Subsets that a GPU has at most.
    """

    def __init__(self, board: Assignment, width: int = 2, models: int | None = None) -> None:
        self.board = board
        self._width, self._most = width, models
        self._held: list[list[int]] = [[] for _ in range(board.instance.g)]
        self._widen()

    def _widen(self) -> None:
        """Lay out the totals for the GPU with the most shards."""
        instance, board = self.board.instance, self.board
        self._wide = self._most or max(len(held) for held in board.members)
        self._first, self._second = _subset_pairs(self._wide, self._width)
        self.count = len(self._first)
        self._size, self._keep = np.empty((2, instance.g, self.count))
        self._loads = np.empty((instance.types, instance.pressures, instance.g, self.count))
        board.changed.clear()
        for g in range(instance.g):
            self._refresh(g)

    def follow(self) -> None:
        """Bring the totals up to date with the board."""
        while self.board.changed:
            g = self.board.changed.pop()
            if self._most is None and len(self.board.members[g]) > self._wide:
                self._widen()
                return
            self._refresh(g)

    def _refresh(self, g: int) -> None:
        board, none = self.board, self._wide
        held = [j for j in board.members[g] if self._free(j)][:none]
        self._held[g] = held
        options = [option for option in map(board.option.__getitem__, held) if option is not None]
        at, many = slice(len(held)), len(held)
        size, keep = np.full(none + 1, math.inf), np.zeros(none + 1)
        loads = np.zeros((*self._loads.shape[:2], none + 1))
        size[none] = 0.0  # of the absent partner of a single shard
        if many:
            size[at], keep[at] = [o.size for o in options], [o.keep for o in options]
            loads[:, :, at] = np.moveaxis(np.array([o.loads for o in options]), 0, 2)
        first, second = self._first, self._second
        self._size[g] = size[first] + size[second]
        self._keep[g] = keep[first] + keep[second]
        self._loads[:, :, g] = loads[:, :, first] + loads[:, :, second]

    def _free(self, j: int) -> bool:
        board = self.board
        option = board.option[j]
        assert option is not None
        return option.degree == 1 and not (option.copies > 1 and board.instance.is_uneven(j))

    def numbers(self, g: int) -> Ints:
        """Return the numbers of a GPU's subsets, the empty one included."""
        return np.flatnonzero(self._size[g] < math.inf)

    def subset(self, g: int, number: int) -> list[int]:
        """Return the models of a subset of a GPU by its number."""
        held = self._held[g]
        places = (int(self._first[number]), int(self._second[number]))
        return [held[at] for at in places if at < len(held)]

    def exchanges(self, g: int, partners: Ints, goal: float, most: int) -> Iterator[list[Change]]:
        """Yield exchanges of a GPU with others that leave both below a pressure, the best first.

        Parameters
        ----------
        g
            The GPU to relieve.
        partners
            GPUs to exchange with.
        goal
            Pressure not to reach.
        most
            Exchanges yielded at most.
        """
        self.follow()
        mine = self.numbers(g)
        own = self._size[g, mine], self._keep[g, mine], self._loads[:, :, g, mine]
        step = max(1, BATCH // (len(mine) * self.count))
        values, places = [], []
        for start in range(0, len(partners), step):
            value = self.between(g, own, partners[start : start + step])
            row, partner, column = np.nonzero(value < goal)
            values.append(value[row, partner, column])
            places.append((mine[row], partners[start + partner], column))
        value = np.concatenate(values)
        out, host, back = map(np.concatenate, zip(*places, strict=True))
        for at in _ascending(value, most).tolist():
            h = int(host[at])
            given, taken = self.subset(g, int(out[at])), self.subset(h, int(back[at]))
            changes = self._changes(g, given, h, taken)
            if changes:
                yield changes

    def between(self, g: int, own: tuple[Floats, Floats, Floats], batch: Ints) -> Floats:
        """Return the larger pressure after each exchange of a GPU with others.

        Parameters
        ----------
        g
            The GPU.
        own
            Bytes, bytes of KV to be left, and loads by type and pressure, of what it gives.
        batch
            Partners.

        Returns
        -------
        array
            (what it gives, partners, their subsets)
        """
        instance = self.board.instance
        size = own[0][:, None, None] - self._size[batch]
        keep: Floats | float = 0.0
        if instance.columns.keeps:
            keep = own[1][:, None, None] - self._keep[batch]
        here = self._shifted(own[2][instance.type_at(g)], instance.type_at(g), batch)
        there = here
        if instance.types > 1:
            type_h = instance.columns.type_of[batch]
            given = own[2][type_h].transpose(1, 2, 0)[:, :, :, None]
            there = list(given - self._loads[type_h, :, batch].transpose(1, 0, 2)[:, None])
        return self.board.arrays.exchanged(g, batch[:, None], size, keep, here, there)

    def _shifted(self, given: Floats, type_: int, batch: Ints) -> list[Floats]:
        """Return by pressure the load of what is given less that of what is taken, on one type."""
        taken = self._loads[type_]
        return [load[:, None, None] - taken[at, batch] for at, load in enumerate(given)]

    def _changes(self, g: int, out: list[int], h: int, back: list[int]) -> list[Change]:
        """Return the changes of an exchange; none where a model would meet itself or may not go."""
        board, allowed = self.board, self.board.instance.columns.allowed
        if any(j in board.members[h] or not allowed[j][h] for j in out):
            return []
        if any(j in board.members[g] or not allowed[j][g] for j in back):
            return []
        return [
            (
                j,
                board.option[j],
                tuple((there,) if copy == (here,) else copy for copy in board.where[j]),
            )
            for here, there, models in ((g, h, out), (h, g, back))
            for j in models
        ]


def _ascending(value: Floats, most: int) -> Ints:
    """Return the positions of the least values in order, equal ones as they come."""
    if len(value) <= most:
        return np.argsort(value, kind="stable")
    limit = np.partition(value, most - 1)[most - 1]
    few = np.flatnonzero(value <= limit)
    order: Ints = few[np.argsort(value[few], kind="stable")][:most]
    return order


@cache
def _subset_pairs(models: int, width: int) -> tuple[Ints, Ints]:
    """Return the subsets of up to `width` of some models as pairs of positions.

    Position `models` stands for none.
    """
    chosen = [c for k in range(width + 1) for c in combinations(range(models), k)]
    padded = [(*c, models, models)[:2] for c in chosen]
    array = np.array(padded, dtype=np.int64)
    return array[:, 0], array[:, 1]
