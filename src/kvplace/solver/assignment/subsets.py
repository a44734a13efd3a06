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
from kvplace.solver.assignment.assignment import Assignment, Change, moved

Exchange = tuple[list[int], int, list[int]]
"""Models given, the GPU that takes them, and models taken back from it."""

BATCH = 200_000
"""Exchanges looked at in one array operation."""


class Subsets:
    """The totals of every subset of up to two shards of every GPU.

    Parameters
    ----------
    board
        Followed through its `Assignment.changed`, which this empties.
    models
        Shards of a GPU that are looked at; None for all.

    Attributes
    ----------
    count
        Subsets that a GPU has at most.
    """

    def __init__(self, board: Assignment, models: int | None = None) -> None:
        self.board = board
        self._most = models
        self._held: list[list[int]] = [[] for _ in range(board.instance.g)]
        # Bytes, KV to be left and loads of each option; then of what is not, and of nothing.
        columns = board.instance.columns
        loads = columns.loads.reshape(len(columns.size), -1).T
        rows = np.vstack([columns.size, columns.keep, loads]).astype(np.float64)
        self._rows = np.pad(rows, ((0, 0), (0, 2)))
        self._rows[0, -2] = math.inf
        self.lay_out()

    def lay_out(self) -> None:
        """Make the table anew, as wide as the GPU with the most shards needs it."""
        instance, board = self.board.instance, self.board
        self._wide = self._most or max(len(held) for held in board.members)
        self._first, self._second = _subset_pairs(self._wide)
        self.count = len(self._first)
        self._totals = np.empty((len(self._rows), instance.g, self.count))
        board.changed.clear()
        for g in range(instance.g):
            self._refresh(g)

    def follow(self) -> None:
        """Bring the totals up to date with the board."""
        while self.board.changed:
            g = self.board.changed.pop()
            if self._most is None and len(self.board.members[g]) > self._wide:
                self.lay_out()
                return
            self._refresh(g)

    def _refresh(self, g: int) -> None:
        board, none = self.board, self._wide
        if board.instance.simple:  # every model has one option, in its order
            rows = held = board.members[g][:none]
        else:
            held = [j for j in board.members[g] if self._free(j)][:none]
            rows = [board.chosen(j).row for j in held]
        self._held[g] = held
        # `take` costs half of what an index does, and this is done twice for every step.
        own = self._rows.take([*rows, *[-2] * (none - len(rows)), -1], axis=1)
        self._totals[:, g] = own.take(self._first, axis=1) + own.take(self._second, axis=1)

    def _free(self, j: int) -> bool:
        option = self.board.chosen(j)
        return option.degree == 1 and not (option.copies > 1 and self.board.instance.is_uneven(j))

    def numbers(self, g: int) -> Ints:
        """Return the numbers of a GPU's subsets, the empty one included."""
        return _numbers(len(self._held[g]), self._wide)

    def subset(self, g: int, number: int) -> list[int]:
        """Return the models of a subset of a GPU by its number."""
        held = self._held[g]
        places = (int(self._first[number]), int(self._second[number]))
        return [held[at] for at in places if at < len(held)]

    def exchanges(self, g: int, partners: Ints, goal: float, most: int) -> Iterator[Exchange]:
        """Yield exchanges of a GPU with others that leave both below a pressure, the best first.

        None lets a model meet itself or go where it may not.

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
        step = max(1, BATCH // (len(mine) * self.count))
        found = []
        for start in range(0, len(partners), step):
            batch = partners[start : start + step]
            value = self.between(g, self._totals[:, g, mine], batch).ravel()
            if value.min() < goal:
                found.append((value, batch))
        for batch, place in _ascending(found, goal, most):
            row, rest = divmod(place, len(batch) * self.count)
            at, column = divmod(rest, self.count)
            out, h = self.subset(g, int(mine[row])), int(batch[at])
            back = self.subset(h, column)
            if self.may(g, out, h, back):
                yield out, h, back

    def between(self, g: int, own: Floats, batch: Ints) -> Floats:
        """Return the larger pressure after each exchange of a GPU with others.

        Parameters
        ----------
        g
            The GPU.
        own
            Bytes, bytes of KV to be left, and loads by type and pressure, of each thing given.
        batch
            Partners.

        Returns
        -------
        array
            (what it gives, partners, their subsets)
        """
        instance, width = self.board.instance, self.board.instance.pressures
        size = own[0][:, None, None] - self._totals[0].take(batch, axis=0)
        keep: Floats | float = 0.0
        if instance.columns.keeps:
            keep = own[1][:, None, None] - self._totals[1].take(batch, axis=0)
        first = 2 + instance.type_at(g) * width
        here = [
            own[at][:, None, None] - self._totals[at].take(batch, axis=0)
            for at in range(first, first + width)
        ]
        there = here
        if instance.types > 1:
            of_type = 2 + instance.columns.type_of[batch] * width
            there = [
                own[of_type + at].T[:, :, None] - self._totals[of_type + at, batch]
                for at in range(width)
            ]
        return self.board.arrays.exchanged(g, batch[:, None], size, keep, here, there)

    def changes(self, g: int, out: list[int], h: int, back: list[int]) -> list[Change]:
        """Return the changes that exchange models of two GPUs."""
        board = self.board
        return [
            *(moved(board, j, g, h) for j in out),
            *(moved(board, j, h, g) for j in back),
        ]

    def may(self, g: int, out: list[int], h: int, back: list[int]) -> bool:
        """Whether no model of an exchange meets itself or goes where it may not."""
        return self._may(out, h) and self._may(back, g)

    def _may(self, models: list[int], h: int) -> bool:
        """Whether models may go to a GPU, on which they have no shard yet."""
        board, allowed = self.board, self.board.instance.columns.allowed
        return not any(j in board.members[h] or not allowed[j][h] for j in models)


def _ascending(
    found: list[tuple[Floats, Ints]], goal: float, most: int
) -> Iterator[tuple[Ints, int]]:
    """Yield the places of the least values below a goal, each with its batch.

    Equal ones come in their order. The first is nearly always the only one asked for, so the
    others are not looked for before it.
    """
    if not found:
        return
    value, batch = min(found, key=lambda one: float(one[0].min()))
    yield batch, int(value.argmin())
    good = [np.flatnonzero(value < goal) for value, _ in found]
    of = np.repeat(np.arange(len(found)), list(map(len, good)))
    below = np.concatenate([value[at] for (value, _), at in zip(found, good, strict=True)])
    place = np.concatenate(good)
    for at in np.argsort(below, kind="stable")[1:most].tolist():
        yield found[of[at]][1], int(place[at])


@cache
def _subset_pairs(models: int) -> tuple[Ints, Ints]:
    """Return the subsets of up to two of some models as pairs of positions.

    Position `models` stands for none.
    """
    chosen = [c for k in range(3) for c in combinations(range(models), k)]
    padded = [(*c, models, models)[:2] for c in chosen]
    array = np.array(padded, dtype=np.int64)
    return array[:, 0], array[:, 1]


@cache
def _numbers(held: int, models: int) -> Ints:
    """Return the subsets of so many models, by their numbers among those of more."""
    first, second = _subset_pairs(models)
    there = [(at < held) | (at == models) for at in (first, second)]
    return np.flatnonzero(there[0] & there[1])
