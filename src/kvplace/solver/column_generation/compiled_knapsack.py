"""Exact pricing by compiled kernels: the same tables, and a search depth first."""

import math
from functools import cached_property

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.column_generation.knapsack import GRID, Knapsack
from kvplace.solver.column_generation.knapsack_kernel import (
    dearest_sets,
    joint_table,
    level_tables,
    sets_with_each,
    weigh_limits,
)

__all__ = ["CompiledKnapsack", "best_mix"]

WEIGHED = 200
"""Prices of room looked at to mix the limits."""
TOWARDS = (0.15, 0.4)
"""Parts of a limit in further mixes of it and the best: what is left to add has other limits."""
FURTHER = 4
"""Limits up to which there are such mixes: each has a table."""
PART = 0.02
"""Part of the best mix that a limit has at least, and leaves to others, for such mixes to pay."""
NODES, PAIRED_NODES = 1_000_000, 2_400_000
"""Rows looked at by a search, and by one with a table over two limits."""
ENTRIES, LEVELS = 1_000_000, (48, 512)
"""Entries of that table at most: measured, eight questions take 14.8 s for 20.3 with 4,000,000. And
the least and most levels of room of each limit."""
CLOSER = 16
"""How many times as many where that settles nothing."""
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
    closer
        Whether a search takes longer before it gives up.
    """

    def __init__(
        self,
        sizes: Floats,
        prices: Floats,
        capacity: Floats,
        groups: Ints | None = None,
        *,
        closer: bool = False,
    ) -> None:
        self._mixes = 0
        if len(sizes) > 1 and len(prices) and capacity.min() > 0:
            mixes = _mixed(sizes[1:] / capacity[1:, None], prices, groups)
            self._mixes = len(mixes)
            sizes = np.vstack([mixes, sizes[1:]])
            capacity = np.append(np.full(len(mixes), 1 + EDGE), capacity[1:])
        super().__init__(sizes, prices, capacity, groups)
        self._closer = CLOSER if closer else 1

    @cached_property
    def _tables(self) -> list[Floats]:
        return list(self._by_limit)

    @cached_property
    def _by_limit(self) -> Floats:
        """The tables of all limits, (limits, groups + 1, levels + 1)."""
        steps = np.floor(self._matrix * np.array(self._scale)[:, None] * (1 - 1e-12))
        found = np.zeros((len(self._sizes), len(self._ends) + 1, GRID + 1))
        level_tables(steps.astype(np.int64), self._price, self._after, found)
        return found

    @cached_property
    def _matrix(self) -> Floats:
        """The sizes, (limits, rows)."""
        return np.array(self._sizes).reshape(len(self._sizes), len(self._price))

    @cached_property
    def _over_two(self) -> tuple[Floats, Ints, Floats]:
        """A table over the two tightest limits, which these are, and its levels per unit."""
        levels = min(math.isqrt(ENTRIES // (len(self._ends) + 1)), LEVELS[1])
        tightest = [at for at in self._tightest if at >= self._mixes]
        if levels < LEVELS[0] or len(tightest) < 2:
            return np.zeros((0, 1, 1)), np.zeros(2, dtype=np.int64), np.zeros(2)
        pair: Ints = np.array(tightest[:2])
        scales = levels / np.array(self._capacity)[pair]
        steps = np.floor(self._matrix[pair] * scales[:, None] * (1 - 1e-12)).astype(np.int64)
        table = np.zeros((len(self._ends) + 1, levels + 1, levels + 1))
        joint_table(steps[0], steps[1], self._price, self._after, table)
        return table, pair, scales

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
        found, least = self._search(floor, most, NODES * self._closer, None)
        if least < math.inf or len(self._over_two[0]) == 0:
            return found, min(least, self.upper)
        return self.search_over_two(floor, most)

    def with_each(self) -> list[Ints]:
        """Return dear sets with each row, as `dearest` does; no two rows are of one group."""
        n, found = len(self._price), []
        for power in RANKED if n else ():
            rows, lengths = np.zeros((n, FILLED), dtype=np.int64), np.zeros(n, dtype=np.int64)
            order = np.argsort(-self._price / self._matrix[0] ** power, kind="stable")
            sets_with_each(self._matrix, np.array(self._capacity), order, rows, lengths)
            found += self._numbered(rows, lengths)
        return found

    def _numbered(self, rows: Ints, lengths: Ints) -> list[Ints]:
        """Return sets in the numbers that were given, those of a length together."""
        return [
            np.unique(np.sort(self._order[rows[lengths == length, :length]], axis=1), axis=0)
            for length in np.unique(lengths).tolist()
        ]

    def search_over_two(self, floor: float, most: int) -> tuple[list[Ints], float]:
        """Return what `dearest` does, by a search that knows a table over two limits, too."""
        upper = min(self.upper, float(self._over_two[0][0, -1, -1]))
        if upper < floor:
            return [], floor
        found, least = self._search(floor, most, PAIRED_NODES * self._closer, self._over_two)
        return found, min(least, upper)

    def _search(
        self, floor: float, most: int, nodes: int, joint: tuple[Floats, Ints, Floats] | None
    ) -> tuple[list[Ints], float]:
        """Return what `dearest` does; the price is ``inf`` where the search did not end."""
        groups = len(self._ends)
        rows, lengths = np.zeros((most, groups), dtype=np.int64), np.zeros(most, dtype=np.int64)
        # Where rounding decides, a level more is looked at than there is.
        scales = np.array(self._scale) * (1 + 1e-12)
        none = np.zeros((0, 1, 1)), np.zeros(2, dtype=np.int64), np.zeros(2)
        table, pair, pair_scales = none if joint is None else joint
        count, least, whole = dearest_sets(
            self._matrix, np.array(self._capacity), self._price, self._after, self._next,
            self._by_limit, scales, table, pair, pair_scales * (1 + 1e-12),
            float(floor), nodes, rows, lengths, np.zeros(most),
        )  # fmt: skip
        return self._numbered(rows[:count], lengths[:count]), least if whole else math.inf


def _mixed(parts: Floats, prices: Floats, groups: Ints | None) -> Floats:
    """Return limits that mix several: as leaves least at these prices, and towards each of them."""
    inside = np.where(np.isfinite(parts), parts, 1e9)  # what may not be there gains nothing
    best = best_mix(inside, prices, groups)
    mixes = [best]
    for limit, part in enumerate(best.tolist() if len(best) <= FURTHER else ()):
        if PART <= part <= 1 - PART:
            alone = np.eye(len(parts))[limit]
            mixes += [(1 - towards) * best + towards * alone for towards in TOWARDS]
    with np.errstate(invalid="ignore"):
        mixed = np.array(mixes) @ inside
    return np.where(np.isfinite(parts).all(axis=0), mixed, np.inf)


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
