"""Stacks: one link domain filled as full as it gets with shards, by dynamic programs.

At a target every shard has a height on its GPU. The GPUs of a domain are first filled together, by
copies split over all of them; then each half by copies split half as wide, and so on, down to
single GPUs. What is worth most on so many GPUs up to each height is a knapsack, and how much of the
height each width takes is a maximum over sums of two (the guillotine patterns of Gilmore and
Gomory, Oper. Res. 13, 1965). Those sums may count a model twice; the patterns taken do not.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints

__all__ = ["LEVELS", "Pattern", "Shelf", "fill"]

LEVELS = 1024
"""Heights told apart on a GPU."""
STEPS = 128
"""Heights of one width looked at in each sum."""


class Shelf(NamedTuple):
    """What may be put on so many GPUs of one kind together.

    Parameters
    ----------
    width
        GPUs.
    model, row
        (m,) each model and its option.
    height
        (m,) levels that a shard takes of what is scarcest.
    rest
        (m, entries) what it takes of all else.
    """

    width: int
    model: Ints
    row: Ints
    height: Ints
    rest: Floats


class Pattern(NamedTuple):
    """Copies for one domain.

    Parameters
    ----------
    copies
        Model, row and GPUs of each, as positions in the domain.
    worth
        What they are worth together.
    """

    copies: list[tuple[int, int, tuple[int, ...]]]
    worth: float


class _Table(NamedTuple):
    """Best worth on a shelf up to each height, and what it is made of."""

    shelf: Shelf
    worth: Floats
    items: Ints
    took: list[Bools]

    def at(self, height: int) -> list[int]:
        """Return the positions on the shelf of what is best up to a height."""
        found = []
        for item, took in zip(self.items[::-1].tolist(), reversed(self.took), strict=True):
            each = int(self.shelf.height[item])
            if each <= height and took[height - each]:
                found.append(item)
                height -= each
        return found


def _table(shelf: Shelf, open_: Bools, worth: Floats, cap: int, rest: Floats) -> _Table:
    """Return the knapsack of what is open on a shelf.

    Beside the height, each sum remembers what it takes of all else, and is not continued where
    that would be too much; a better sum of less may be missed for it.
    """
    fits = open_ & (shelf.height <= cap)
    if len(rest):
        fits &= (shelf.rest <= rest).all(axis=1)
        used = np.zeros((cap + 1, len(rest)))
    items = np.flatnonzero(fits)
    best = np.zeros(cap + 1)
    took = []
    each = worth[shelf.model[items]].tolist()
    for item, gain, height in zip(items.tolist(), each, shelf.height[items].tolist(), strict=True):
        then = best[: cap + 1 - height] + gain
        better = then > best[height:]
        if len(rest):
            taken = used[: cap + 1 - height] + shelf.rest[item]
            better &= (taken <= rest).all(axis=1)
            used[height:][better] = taken[better]
        np.copyto(best[height:], then, where=better)
        took.append(better)
    return _Table(shelf, best, items, took)


class _Filling:
    """One domain being filled.

    Parameters
    ----------
    shelves
        By falling width.
    worth
        (n,) of a copy of each model.
    left, fixed
        (n,) copies to be placed, and the option of models of which a copy is placed, else -1.
    room
        (w,) levels left on each GPU, descending.
    rest
        (w, entries) what is left of all else.

    Attributes
    ----------
    left, fixed, copies
        What is left then, and what was placed.
    """

    def __init__(
        self,
        shelves: list[Shelf],
        worth: Floats,
        left: Ints,
        fixed: Ints,
        room: Ints,
        rest: Floats,
    ) -> None:
        self._shelves, self._worth = shelves, worth
        self.left, self.fixed = left.copy(), fixed.copy()
        self._room, self._rest = room.copy(), rest.copy()
        self._below: Bools = np.zeros(len(left), dtype=bool)
        self.copies: list[tuple[int, int, tuple[int, ...]]] = []

    def run(self, first: int, last: int, at: int, height: int | None = None) -> None:
        """Fill the GPUs in a range of positions by the shelves from one on.

        A height given is what the first shelf takes.
        """
        wide = last - first
        while at < len(self._shelves) and self._shelves[at].width > wide:
            at += 1
        if at == len(self._shelves) or not wide:
            return
        width = self._shelves[at].width
        if width == wide:
            self._stack(first, last, at, height)
            return
        end = last - wide % width
        if end < last and self._skipped(first, last, at):
            self.run(first, last, at + 1)
            return
        for start in range(first, end, width):
            self.run(start, start + width, at)
        self.run(end, last, at + 1)

    def _stack(self, first: int, last: int, at: int, height: int | None) -> None:
        """Put copies on all GPUs of a range together, then fill its parts."""
        cap, rest = self._least(first, last)
        table = self._knapsack(at, cap, rest)
        if height is None:
            height = cap
            if at + 1 < len(self._shelves):
                height = int(self._heights(table, last - first, at, cap, rest)[0])
        shelf, gpus = self._shelves[at], tuple(range(first, last))
        put = []
        for item in table.at(height):
            j, row = int(shelf.model[item]), int(shelf.row[item])
            self.copies.append((j, row, gpus))
            self.left[j] -= 1
            self.fixed[j] = row
            self._room[first:last] -= shelf.height[item]
            self._rest[first:last] -= shelf.rest[item]
            put.append(j)
        self._below[put] = True
        self.run(first, last, at + 1)
        self._below[put] = False

    def heights(self, at: int, most: int) -> list[int]:
        """Return heights for the first stack on all GPUs, the most promising first."""
        wide = len(self._room)
        if self._shelves[at].width != wide or at + 1 == len(self._shelves):
            return []
        cap, rest = self._least(0, wide)
        table = self._knapsack(at, cap, rest)
        heights: list[int] = self._heights(table, wide, at, cap, rest)[:most].tolist()
        return heights

    def _heights(self, table: _Table, wide: int, at: int, cap: int, rest: Floats) -> Ints:
        steps = _steps(table.worth)
        narrow = self._sums(wide, at + 1, cap, rest)
        total = table.worth[steps] + narrow[cap - steps]
        order: Ints = steps[np.argsort(-total, kind="stable")]
        return order

    def _skipped(self, first: int, last: int, at: int) -> bool:
        """Whether a range is filled better without the shelf that does not divide it."""
        cap, rest = self._least(first, last)
        without = self._sums(last - first, at + 1, cap, rest)
        return bool(self._sums(last - first, at, cap, rest, whole=True)[cap] <= without[cap])

    def _least(self, first: int, last: int) -> tuple[int, Floats]:
        return int(self._room[first:last].min()), self._rest[first:last].min(axis=0)

    def _knapsack(self, at: int, cap: int, rest: Floats) -> _Table:
        shelf = self._shelves[at]
        fixed = self.fixed[shelf.model]
        open_ = (self.left[shelf.model] > 0) & ((fixed < 0) | (fixed == shelf.row))
        open_ &= ~self._below[shelf.model]
        return _table(shelf, open_, self._worth, cap, rest)

    def _sums(self, wide: int, at: int, cap: int, rest: Floats, *, whole: bool = False) -> Floats:
        """Return the best worth of so many GPUs alike, by the shelves from one on, up to heights.

        With `whole` the first of them is used even where it does not divide them.
        """
        while at < len(self._shelves) and self._shelves[at].width > wide:
            at += 1
        if at == len(self._shelves) or not wide:
            return np.zeros(cap + 1)
        width = self._shelves[at].width
        table = self._knapsack(at, cap, rest)
        stacked = table.worth
        if at + 1 < len(self._shelves):
            narrow = self._sums(width, at + 1, cap, rest)
            stacked = _sum(table.worth, narrow)
        odd = wide % width
        total = (wide // width) * stacked
        if odd:
            total = total + self._sums(odd, at + 1, cap, rest)
            if not whole:
                total = np.maximum(total, self._sums(wide, at + 1, cap, rest))
        return total


def _steps(worth: Floats) -> Ints:
    """Return the heights at which a worth rises, the best of them where they are many."""
    steps = np.concatenate([[0], np.flatnonzero(worth[1:] > worth[:-1]) + 1])
    if len(steps) > STEPS:
        steps = steps[np.linspace(0, len(steps) - 1, STEPS).astype(np.int64)]
    return steps


def _sum(wide: Floats, narrow: Floats) -> Floats:
    """Return the best sum of two worths up to each height."""
    best = narrow.copy()
    for step in _steps(wide).tolist():
        np.maximum(best[step:], wide[step] + narrow[: len(narrow) - step], out=best[step:])
    return best


def fill(
    shelves: list[Shelf],
    worth: Floats,
    left: Ints,
    fixed: Ints,
    room: Ints,
    rest: Floats,
    tries: int,
) -> Pattern:
    """Fill a domain with copies of the models left; take what is placed off them.

    Parameters
    ----------
    shelves
        What may be put on its GPUs, by falling width.
    worth
        (n,) of a copy of each model.
    left, fixed
        (n,) copies to be placed, and the option that the other copies of a model have, else -1;
        both are brought up to date.
    room, rest
        (w,) levels and (w, entries) all else that each GPU has left, the most first.
    tries
        Heights of the widest stack that are tried.
    """
    start = next((n for n, s in enumerate(shelves) if s.width <= len(room)), len(shelves))
    look = _Filling(shelves, worth, left, fixed, room, rest)
    heights: list[int | None] = [None]
    if start < len(shelves):
        heights = [*look.heights(start, tries)] or heights
    best: tuple[float, _Filling] | None = None
    for height in heights:
        filling = _Filling(shelves, worth, left, fixed, room, rest)
        filling.run(0, len(room), start, height)
        value = float(sum(worth[j] for j, _, _ in filling.copies))
        if best is None or value > best[0]:
            best = value, filling
    assert best is not None
    value, filling = best
    left[:], fixed[:] = filling.left, filling.fixed
    return Pattern(filling.copies, value)
