"""Exchanger: the best exchange of a GPU with others, over all at once in arrays.

An exchange gives at most two of a GPU's models for at most two of a partner's: moves, 1-1, 1-2,
2-1 and 2-2 swaps. The totals of every such subset of every GPU are kept up to date in one
array, padded to the largest number of subsets.
"""

import math
from functools import cache
from itertools import combinations

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.pressure import fits

__all__ = ["Exchanger", "subset_pairs"]

BATCH = 200_000
"""Exchanges looked at in one array operation."""
SIZE, LOAD, KEEP = 0, 1, 2


class Exchanger:
    """Finds and makes exchanges.

    Parameters
    ----------
    state
        Changed in place.
    width
        Most models given or taken in one exchange: 1 or 2.

    Attributes
    ----------
    kvpr
        (g,) pressure per GPU.
    subsets
        Most subsets that a GPU has.
    """

    def __init__(self, state: Assignment, width: int = 2) -> None:
        arrays = state.instance
        self.state = state
        self._width = width
        self._keeps = any(arrays.keep)
        none = ((0, 0.0, 0),)  # what the absent partner of a single model adds
        rows = [*zip(arrays.size, arrays.load, arrays.keep, strict=True), *none]
        self._models = np.array(rows, dtype=np.float64)
        self.kvpr = np.zeros(arrays.g)
        self._carried = np.zeros((arrays.g, 3))  # free, load, kept
        self._widen()

    def _widen(self) -> None:
        """Lay out the totals for the GPU with the most models."""
        most = max(len(held) for held in self.state.members)
        self.subsets = len(subset_pairs(most, self._width)[0])
        self._totals = np.empty((self.state.instance.g, self.subsets, 3))
        for g in range(self.state.instance.g):
            self._refresh(g)

    def _refresh(self, g: int) -> None:
        """Bring what is known of a GPU up to date."""
        state = self.state
        self.kvpr[g] = state.pressure[g]
        self._carried[g] = state.free[g], state.load[g], state.kept[g]
        held = state.members[g]
        first, second = subset_pairs(len(held), self._width)
        if len(first) > self.subsets:
            self._widen()
            return
        own = self._models[[*held, -1]]
        self._totals[g, : len(first)] = own[first] + own[second]
        self._totals[g, len(first) :] = math.inf, 0.0, 0.0  # fits nowhere

    def count(self, g: int) -> int:
        """Return the number of subsets of a GPU's models, the empty one included."""
        return len(subset_pairs(len(self.state.members[g]), self._width)[0])

    def subset(self, g: int, row: int) -> tuple[int, ...]:
        """Return one subset of a GPU's models by its number."""
        held = self.state.members[g]
        first, second = subset_pairs(len(held), self._width)
        return tuple(held[i] for i in (first[row], second[row]) if i < len(held))

    def colder(self, goal: float) -> Ints:
        """Return the GPUs below a pressure, the coldest first."""
        order = np.argsort(self.kvpr, kind="stable")
        return order[: int(np.searchsorted(self.kvpr[order], goal, side="left"))]

    def exchange(self, g: int, out: tuple[int, ...], h: int, back: tuple[int, ...]) -> None:
        """Move the models `out` from GPU g to h, and `back` from h to g."""
        self.state.exchange(g, list(out), h, list(back))
        self._refresh(g)
        self._refresh(h)

    def relieve(self, g: int, partners: Ints, goal: float) -> int | None:
        """Make the best exchange of GPU g with a partner that leaves both below `goal`.

        Returns
        -------
        int or None
            The partner, or None where no exchange does.
        """
        mine = self._totals[g, : self.count(g)]
        step = max(1, BATCH // (len(mine) * self.subsets))
        best, arg = goal, (0, 0, -1)
        for start in range(0, len(partners), step):
            batch = partners[start : start + step]
            value = self._values(g, mine, batch)
            row, at, column = np.unravel_index(int(value.argmin()), value.shape)
            if value[row, at, column] < best:
                best = float(value[row, at, column])
                arg = (int(row), int(column), int(batch[at]))
        row_, column_, partner = arg
        if partner < 0:
            return None
        out, back = self.subset(g, row_), self.subset(partner, column_)
        self.exchange(g, out, partner, back)
        if max(self.kvpr[g], self.kvpr[partner]) >= goal:
            self.exchange(partner, out, g, back)  # rounding promised a gain that is none
            return None
        return partner

    def _values(self, g: int, mine: Floats, batch: Ints) -> Floats:
        """Return the larger KVPR after each exchange: (own subsets, partners, their subsets)."""
        theirs = self._totals[batch]
        free, load, kept = self._carried[batch].T[:, :, None]
        size = mine[:, SIZE, None, None] - theirs[:, :, SIZE]
        more = mine[:, LOAD, None, None] - theirs[:, :, LOAD]
        free_g, free_h = self._carried[g, 0] + size, free - size
        with np.errstate(divide="ignore", invalid="ignore"):
            here = np.maximum(self._carried[g, 1] - more, 0.0) / free_g
            there = np.maximum(load + more, 0.0) / free_h
        value: Floats = np.maximum(here, there)
        if self._keeps:
            keep = mine[:, KEEP, None, None] - theirs[:, :, KEEP]
            good = fits(free_g, self._carried[g, 2] - keep) & fits(free_h, kept + keep)
        else:
            good = fits(free_g, 1) & fits(free_h, 1)
        value[~good] = math.inf
        return value


@cache
def subset_pairs(models: int, width: int) -> tuple[Ints, Ints]:
    """Return the subsets of up to `width` of some models as pairs of positions.

    Position `models` stands for none.
    """
    chosen = [c for k in range(width + 1) for c in combinations(range(models), k)]
    padded = [(*c, models, models)[:2] for c in chosen]
    array = np.array(padded, dtype=np.int64)
    return array[:, 0], array[:, 1]
