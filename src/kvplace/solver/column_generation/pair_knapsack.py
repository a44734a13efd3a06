"""The dearest sets of classes that have two sizes: an unbounded knapsack on a grid of pairs.

A shard takes one size where its load presses and another where its least KV does, and what is on a
GPU keeps the sums of both. A class is a pair of levels; the table has the highest price of shards
for every pair of rooms.
"""

import numpy as np

from kvplace.solver.array_types import Ints

__all__ = ["PairTables"]


class PairTables:
    """The dearest sets for each room of a fleet.

    Parameters
    ----------
    prices
        (classes,) of a shard, by its level in the second size and, there, by that in the first;
        those with a level of 0 in the first are free.
    width
        Levels of each size, 0 among them.
    rooms
        (t,) rooms, numbered as classes are.

    Attributes
    ----------
    prices
        (classes,) the price of the dearest class that takes no more of either size.
    """

    def __init__(self, prices: Ints, width: int, rooms: Ints) -> None:
        by_pair = prices.reshape(width, width).copy()
        by_pair[:, 0] = 0
        self._width, largest = width, int(max(rooms.max() // width, (rooms % width).max()))
        risen = np.maximum.accumulate(np.maximum.accumulate(by_pair, axis=0), axis=1)
        self.prices: Ints = risen.reshape(-1)
        inside = risen[: largest + 1, : largest + 1]
        before = np.zeros_like(inside)
        before[1:] = inside[:-1]
        before[:, 1:] = np.maximum(before[:, 1:], inside[:, :-1])
        second, first = np.nonzero(inside > before)
        price = inside[second, first]
        # The dearest by size first: it settles that others are in no best set.
        order = np.argsort(-price / (first + second), kind="stable")
        self._second, self._first, self._price = second[order], first[order], price[order]
        self._worth = self._filled(largest)

    def _filled(self, largest: int) -> Ints:
        """Return (room + 1, room + 1) the highest price of shards by room in each size."""
        worth = np.zeros((largest + 1, largest + 1), dtype=np.int64)
        used = []
        triples = zip(
            self._second.tolist(), self._first.tolist(), self._price.tolist(), strict=True
        )
        for at, (second, first, price) in enumerate(triples):
            if worth[second, first] >= price:
                continue
            used.append(at)
            times = 1  # so many more of it, doubled as long as they fit
            while times * first <= largest and times * second <= largest:
                down, right = times * second, times * first
                more = worth[: largest + 1 - down, : largest + 1 - right] + times * price
                held = worth[down:, right:]
                np.maximum(held, more, out=held)
                times *= 2
        self._second, self._first = self._second[used], self._first[used]
        self._price = self._price[used]
        return worth

    def worth(self, rooms: Ints) -> Ints:
        """Return the highest price of shards that fit each room."""
        found: Ints = self._worth[rooms // self._width, rooms % self._width]
        return found

    def columns(self, room: int, most: int) -> list[tuple[int, ...]]:
        """Return dear sets of classes for a room: for each of some classes the best that has it."""
        second, first = divmod(room, self._width)
        fit = np.flatnonzero((self._first <= first) & (self._second <= second))
        rest = self._worth[second - self._second[fit], first - self._first[fit]]
        good = fit[np.argsort(-(self._price[fit] + rest), kind="stable")][:most]
        return sorted({self._best(room, at) for at in good.tolist()})

    def _best(self, room: int, at: int) -> tuple[int, ...]:
        """Return the classes of a dearest set for a room that holds one of the shards."""
        second, first = divmod(room, self._width)
        members = []
        while at >= 0:
            second, first = second - int(self._second[at]), first - int(self._first[at])
            members.append(int(self._second[at]) * self._width + int(self._first[at]))
            at = self._in_best(second, first)
        return tuple(sorted(members))

    def _in_best(self, second: int, first: int) -> int:
        """Return a shard in a dearest set for some rooms, -1 for none."""
        if not self._worth[second, first]:
            return -1
        fit = np.flatnonzero((self._first <= first) & (self._second <= second))
        rest = self._worth[second - self._second[fit], first - self._first[fit]]
        return int(fit[(self._price[fit] + rest).argmax()])
