"""Exact pricing by compiled kernels: the same tables, and a search depth first."""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.column_generation.knapsack_kernel import (
    dearest_sets,
    level_tables,
    sets_with_each,
    weigh_limits,
)

WEIGHED = 200
"""Prices of room looked at to mix the limits."""
NODES = 1_000_000
"""Rows looked at by a search."""
RANKED = (0.0, 0.5, 1.0)
"""Powers of their sizes by which prices are divided for the order in which sets are filled up."""
FILLED = 16
"""Models of such a set at most."""
EDGE = 1e-11
"""Part by which what mixes limits is wider than they are, so that rounding takes no set from it."""


class CompiledKnapsack(Knapsack):
    """The sets of models that fit one GPU, by price; for `Knapsack` where models are many.

    Parameters
    ----------
    sizes, prices, capacity, groups
        As of `Knapsack`, but that the first of several limits, which mixes the others, is mixed
        anew for these prices.
    """

    def __init__(
        self, sizes: Floats, prices: Floats, capacity: Floats, groups: Ints | None = None
    ) -> None:
        if len(sizes) > 1 and len(prices) and capacity.min() > 0:
            sizes = np.vstack([_mixed(sizes[1:] / capacity[1:, None], prices, groups), sizes[1:]])
            capacity = np.append(1 + EDGE, capacity[1:])
        super().__init__(sizes, prices, capacity, groups)

    def _fill(self, levels: Ints, tables: Floats) -> None:
        level_tables(levels, self._price, self._after, tables)

    def dearest(self, floor: float, most: int) -> tuple[list[Ints], float]:
        """Return sets priced at least `floor`, the dearest where they are too many.

        Parameters
        ----------
        floor
            Least price, above 0.
        most
            Sets at most.

        Returns
        -------
        tuple
            The sets of k models each, as (m, k) arrays of rows, and the price from which on none
            is missing.
        """
        if self.upper < floor:
            return [], floor
        groups = len(self._ends)
        rows, lengths = np.zeros((most, groups), dtype=np.int64), np.zeros(most, dtype=np.int64)
        # Where rounding decides, a level more is looked at than there is.
        scales = self._scale * (1 + 1e-12)
        count, least, whole = dearest_sets(
            self._sizes, np.array(self._capacity), self._price, self._after, self._next,
            self._tables, scales, float(floor), NODES, rows, lengths,
            np.zeros(most),
        )  # fmt: skip
        found = self._numbered(rows[:count], lengths[:count])
        return found, min(least, self.upper) if whole else self.upper

    def with_each(self) -> list[Ints]:
        """Return dear sets with each row, as `dearest` does; no two rows are of one group."""
        n, found = len(self._price), []
        for power in RANKED if n else ():
            rows, lengths = np.zeros((n, FILLED), dtype=np.int64), np.zeros(n, dtype=np.int64)
            order = np.argsort(-self._price / self._sizes[0] ** power, kind="stable")
            sets_with_each(self._sizes, np.array(self._capacity), order, rows, lengths)
            found += self._numbered(rows, lengths)
        return found

    def _numbered(self, rows: Ints, lengths: Ints) -> list[Ints]:
        """Return sets in the numbers that were given, those of a length together."""
        return [
            np.unique(np.sort(self._order[rows[lengths == length, :length]], axis=1), axis=0)
            for length in np.unique(lengths).tolist()
        ]


def _mixed(parts: Floats, prices: Floats, groups: Ints | None) -> Floats:
    """Return (rows,) what a row takes, of 1, of the limit mixed of all that leaves least."""
    inside = np.where(np.isfinite(parts), parts, 1e9)  # what may not be there gains nothing
    mix = best_mix(inside, prices, groups)
    return np.where(np.isfinite(parts).all(axis=0), mix @ inside, np.inf)


def best_mix(parts: Floats, prices: Floats, groups: Ints | None) -> Floats:
    """Return how to mix limits, so that the one mixed of them leaves least at some prices.

    Parameters
    ----------
    parts
        (limits, rows) what a row takes of each limit, of 1.
    prices, groups
        As of `Knapsack`, of one row at least.

    Returns
    -------
    ndarray
        (limits,) weights of which the sum is 1.
    """
    of: Ints = np.arange(len(prices)) if groups is None else groups
    order = np.argsort(of, kind="stable")
    number = np.cumsum(np.diff(of[order], prepend=of[order[0]]) != 0) + 1
    weights = np.full(len(parts), 2 * float(prices.max()) / len(parts))
    weigh_limits(np.ascontiguousarray(parts[:, order]), prices[order], number, weights, WEIGHED)
    total = float(weights.sum())
    found: Floats = weights / total if total > 0 else np.full(len(parts), 1 / len(parts))
    return found
