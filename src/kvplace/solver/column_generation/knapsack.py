"""All sets of models worth a given price that fit one GPU: exact pricing, exact enumeration.

A table over a grid of room, made by dynamic programming with sizes rounded down, bounds what
the models not yet looked at can add to a partial set. Under one limit the bound is so tight that
hardly a partial set is kept that does not lead to a set worth returning.
"""

import math
from functools import cached_property

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints

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
    sizes
        (d, n) positive sizes, one for each limit that a set has to keep. The first is the one by
        which models are ranked.
    prices
        (n,) non-negative prices.
    capacity
        (d,) room of the GPU, in the units of sizes.
    groups
        (n,) numbers of groups, of which a set holds one at most; None where each is of its own.
    """

    def __init__(
        self,
        sizes: Floats,
        prices: Floats,
        capacity: Floats,
        groups: Ints | None = None,
    ) -> None:
        self._capacity: list[float] = capacity.tolist()
        dense = -prices / sizes[0]
        rank = dense
        if groups is not None:  # those of one group side by side, where its densest is
            best = np.full(int(groups.max(initial=0)) + 1, np.inf)
            np.minimum.at(best, groups, dense)
            rank = best[groups]
        keys = (np.arange(len(prices)), sizes[0], dense)
        order = np.lexsort(keys if groups is None else (*keys, groups, rank))
        fit: Bools = np.logical_and.reduce(sizes <= capacity[:, None])
        self._order = order = order[fit[order]]
        self._price, self._sizes = prices[order], sizes.take(order, axis=1)
        ends: Ints = np.arange(1, len(order) + 1)
        if groups is not None and len(order):
            ends = np.append(np.flatnonzero(np.diff(groups[order])) + 1, len(order))
        self._ends = ends
        # Where the group after each begins, and its number.
        self._after: Ints = np.repeat(np.arange(1, len(ends) + 1), np.diff(ends, prepend=0))
        self._next: Ints = ends[self._after - 1]
        # Nothing fits a GPU of one byte.
        self._scale: Floats = np.divide(
            GRID, capacity, out=np.zeros(len(capacity)), where=capacity > 0
        )

    @cached_property
    def _tables(self) -> Floats:
        """What the groups from one on add at most, by limit, group and level of room."""
        levels = np.floor(self._sizes * self._scale[:, None] * (1 - 1e-12)).astype(np.int64)
        found = np.zeros((len(levels), len(self._ends) + 1, GRID + 1))
        self._fill(levels, found)
        return found

    def _fill(self, levels: Ints, tables: Floats) -> None:
        """Write down the tables, of rows that each take (limits, rows) levels."""
        prices, starts = self._price.tolist(), [0, *self._ends.tolist()]
        lifted = np.empty(GRID + 1)
        for of_rows, table in zip(levels, tables, strict=True):
            order = np.lexsort((-self._price, of_rows, self._after)).tolist()
            steps, first = of_rows.tolist(), len(prices)
            for at in range(len(self._ends) - 1, -1, -1):
                after, here, highest = table[at + 1], table[at], 0.0
                here[:] = after
                end, first = first, starts[at]
                for row in order[first:end]:
                    # What is priced no higher than what takes no more steps is left out.
                    if prices[row] > highest:
                        step, highest = steps[row], prices[row]
                        more = np.add(after[: GRID + 1 - step], highest, out=lifted[step:])
                        np.maximum(here[step:], more, out=here[step:])

    def _fitting(
        self, parent: Ints, child: Ints, value: Floats, weights: dict[int, Floats], floor: float
    ) -> tuple[Ints, Ints, Floats, dict[int, Floats]]:
        """Return which partial sets, each with one model more, fit and may lead to `floor`.

        Returns
        -------
        tuple
            The sets and models, what price each leads to at most, and their weights.
        """
        reach = np.full(len(parent), math.inf)
        grown: dict[int, Floats] = {}

        def keep(alive: Ints) -> None:
            nonlocal parent, child, reach, grown
            parent, child, reach = parent[alive], child[alive], reach[alive]
            grown = {at: weight[alive] for at, weight in grown.items()}

        for at, before in weights.items():  # most sets are ruled out by the first limit
            grown[at] = before[parent] + self._sizes[at][child]
            keep(np.flatnonzero(grown[at] <= self._capacity[at]))
            if floor > 0:
                level = (self._capacity[at] - grown[at]) * self._scale[at] * (1 + 1e-12)
                more = self._tables[at, self._after[child], level.astype(np.int64)]
                reach = np.minimum(reach, value[parent] + self._price[child] + more)
                keep(np.flatnonzero(reach >= floor))
        return parent, child, reach, grown

    @property
    def upper(self) -> float:
        """No set that fits has a higher price."""
        return float(self._tables[:, 0, GRID].min())

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
        # The limits within which least can be added come first.
        most_added = self._tables[:, 0, GRID] if floor > 0 else np.zeros(len(self._sizes))
        limits: list[int] = most_added.argsort(kind="stable").tolist()
        weights, value = {at: np.zeros(1) for at in limits}, np.zeros(1)
        first = np.zeros(1, dtype=np.int64)
        found: list[Ints] = []
        total = 0
        while len(rows):
            count = n - first
            if count.sum() > CHILDREN * limit:
                if not beam:
                    raise TooManyError
                most = np.argsort(-value, kind="stable")[: CHILDREN * limit // n]
                rows, value, first = rows[most], value[most], first[most]
                weights, count = {at: of[most] for at, of in weights.items()}, count[most]
            parent = np.repeat(np.arange(len(rows)), count)
            child = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
            child += first[parent]
            parent, child, reach, grown = self._fitting(parent, child, value, weights, floor)
            new_value = value[parent] + self._price[child]
            if len(child) > 10 * limit:
                if not beam:
                    raise TooManyError
                most = np.argsort(-reach, kind="stable")[:limit]
                parent, child, new_value = parent[most], child[most], new_value[most]
                grown = {at: of[most] for at, of in grown.items()}
            rows = np.column_stack((rows[parent], child))
            value, first, weights = new_value, self._next[child], grown
            enough = value >= floor
            if enough.any():
                found.append(np.sort(self._order[rows[enough]], axis=1))
                total += int(enough.sum())
                if total > limit and not beam:
                    raise TooManyError
        return found
