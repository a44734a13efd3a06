"""All sets of models worth a given price that fit one GPU: exact pricing, exact enumeration.

A table over a grid of room, made by dynamic programming with sizes rounded down, bounds what
the models not yet looked at can add to a partial set. The bound is so tight that hardly a
partial set is kept that does not lead to a set worth returning.
"""

from functools import cached_property

import numpy as np

from kvplace.solver.array_types import Floats, Ints

__all__ = ["Knapsack", "TooManyError"]

CHILDREN = 200
"""Partial sets looked at per level, as a multiple of the sets asked for."""
GRID = 2048
"""Levels of room in the table."""


class TooManyError(Exception):
    """There are more sets than asked for; the caller asks a smaller question."""


class Knapsack:
    """The sets of models that fit one GPU, by price.

    Parameters
    ----------
    sizes, prices
        (n,) positive sizes and non-negative prices.
    capacity
        Room of the GPU, in the unit of sizes.
    """

    def __init__(self, sizes: Floats, prices: Floats, capacity: float) -> None:
        order = np.lexsort((np.arange(len(sizes)), sizes, -prices / sizes))
        self._order = order[sizes[order] <= capacity]
        self._size, self._price = sizes[self._order], prices[self._order]
        self._capacity = capacity
        self._scale = GRID / capacity if capacity > 0 else 0.0  # nothing fits a GPU of one byte

    @cached_property
    def _table(self) -> Floats:
        """What the models from one on add at most, by level of room."""
        steps = np.floor(self._size * self._scale * (1 - 1e-12)).astype(np.int64)
        n = len(steps)
        table = np.zeros((n + 1, GRID + 1))
        for row in range(n - 1, -1, -1):
            step, below, here = steps[row], table[row + 1], table[row]
            here[:step] = below[:step]
            np.maximum(below[step:], below[: GRID + 1 - step] + self._price[row], out=here[step:])
        return table

    @property
    def upper(self) -> float:
        """No set that fits has a higher price."""
        return float(self._table[0, GRID])

    def above(self, floor: float, limit: int, *, beam: bool = False) -> list[Ints]:
        """Return every set that fits and is priced at least `floor`.

        Parameters
        ----------
        floor
            Least price of a set, above 0 or the empty set is left out.
        limit
            Most sets to return.
        beam
            Where there are more, go on with the most promising ones only.

        Returns
        -------
        list of (m, k) arrays
            The sets of k models each, as rows of model numbers.

        Raises
        ------
        TooManyError
            There are more, and `beam` is not set.
        """
        n = len(self._order)
        rows = np.empty((1, 0), dtype=np.int64)
        weight, value, first = np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.int64)
        found: list[Ints] = []
        total = 0
        while len(rows):
            count = n - first
            if count.sum() > CHILDREN * limit:
                if not beam:
                    raise TooManyError
                most = np.argsort(-value, kind="stable")[: CHILDREN * limit // n]
                rows, weight, value, first = rows[most], weight[most], value[most], first[most]
                count = n - first
            parent = np.repeat(np.arange(len(rows)), count)
            child = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
            child += first[parent]
            new_weight = weight[parent] + self._size[child]
            alive = np.flatnonzero(new_weight <= self._capacity)
            parent, child, new_weight = parent[alive], child[alive], new_weight[alive]
            new_value = value[parent] + self._price[child]
            reach = new_value
            if floor > 0:
                room = ((self._capacity - new_weight) * self._scale * (1 + 1e-12)).astype(np.int64)
                reach = new_value + self._table[child + 1, room]
            alive = np.flatnonzero(reach >= floor)
            if len(alive) > 10 * limit:
                if not beam:
                    raise TooManyError
                alive = alive[np.argsort(-reach[alive], kind="stable")[:limit]]
            rows = np.column_stack((rows[parent[alive]], child[alive]))
            weight, value, first = new_weight[alive], new_value[alive], child[alive] + 1
            enough = value >= floor
            if enough.any():
                found.append(np.sort(self._order[rows[enough]], axis=1))
                total += int(enough.sum())
                if total > limit and not beam:
                    raise TooManyError
        return found
