"""Pool: sets of models near the top price, from which good columns are picked without a search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.column_generation.knapsack import Knapsack, TooManyError

Column = tuple[int, tuple[int, ...]]
"""Type of GPU, and the models on it in ascending order."""

SETS = 4_000
"""Sets kept per type of GPU."""
PICKED, PART = 40, 0.125
"""Columns given out at once, and as a part of the models where sets are filled up with each."""
ACCURACY = 1e-7
"""Relative accuracy of prices."""
DEAREST = 100
"""Sets per type of GPU that compiled kernels look for: measured, 15 s for 20 with 300."""
EXACT = 4
"""Every so many times the dearest are looked for even where filling up finds dear sets, too."""
REPEATS = 2
"""Columns given out at once that hold one model."""
FLOORS = 8
"""Least prices tried in turn: those between one that too many sets have and one that none has."""


@dataclass(frozen=True, slots=True)
class Room:
    """A type of GPU at a target.

    Parameters
    ----------
    sizes
        (d, n) positive sizes of models there, one for each limit that holds, ``inf`` for what may
        not be there.
    capacity
        (d,) what sizes sum up to at most.
    groups
        (n,) group of each, of which a GPU holds one at most; None where each is its own.
    pressures
        Which pressure each limit is of, but for a first one that mixes them, and -1 for the least
        KV, which is of none; None where nobody asks.
    """

    sizes: Floats
    capacity: Floats
    groups: Ints | None = None
    pressures: Ints | None = None

    def knapsack(self, prices: Floats, active: Ints) -> Knapsack:
        """Return the sets of some of the models, numbered anew, at some prices."""
        groups = None if self.groups is None else self.groups[active]
        return Knapsack(self.sizes[:, active], prices[active], self.capacity, groups)


class Pool:
    """Sets of models that are good columns at or near the present prices, for each type.

    Parameters
    ----------
    rooms
        (t,) what each type of GPU holds.
    compiled
        Whether compiled kernels look for sets.
    stopped
        Asked before each search, which may take a tenth of a second; then none is begun.

    Attributes
    ----------
    filled
        Whether sets are also filled up with each model, which the kernels do for undivided ones.
    """

    def __init__(
        self,
        rooms: Sequence[Room],
        *,
        compiled: bool = False,
        stopped: Callable[[], object] = bool,
    ) -> None:
        self._rooms, self._compiled, self._stopped = rooms, compiled, stopped
        self.filled = compiled and all(room.groups is None for room in rooms)
        self._groups: list[list[Ints]] = [[] for _ in rooms]
        self._window = [0.02] * len(rooms)
        self._since = 0

    def filled_up(self, prices: Floats) -> list[Column]:
        """Return sets with each undivided model, filled up in the order of some prices."""
        if not self.filled:
            return []
        from kvplace.solver.column_generation.compiled_knapsack import CompiledKnapsack  # noqa: PLC0415 - numba

        found = []
        for type_, room in enumerate(self._rooms):
            some = np.flatnonzero((prices > 0) & np.isfinite(room.sizes[0]))
            table = CompiledKnapsack(room.sizes[:, some], prices[some], room.capacity)
            sets = [row for of in table.with_each() for row in some[of].tolist()]
            found += [(type_, tuple(members)) for members in sets]
        return found

    def dearer(self, prices: Floats, worths: Floats) -> list[Column]:
        """Return columns priced above their worth, the dearest first, few per model."""
        best: list[tuple[float, Column]] = []
        most = max(PICKED, int(PART * len(prices))) if self.filled else PICKED
        for type_, groups in enumerate(self._groups):
            floor = slack(prices, float(worths[type_]))
            for group in groups:
                excess = prices[group].sum(axis=1) - worths[type_]
                top = np.argpartition(-excess, min(5 * most, len(excess) - 1))[: 5 * most]
                best.extend(
                    (-float(excess[at]), (type_, tuple(group[at].tolist())))
                    for at in top
                    if excess[at] > floor
                )
        best.sort()
        used: dict[int, int] = {}
        picked = []
        for _, column in best:
            if all(used.get(j, 0) < REPEATS for j in column[1]):
                picked.append(column)
                for j in column[1]:
                    used[j] = used.get(j, 0) + 1
                if len(picked) == most:
                    break
        return picked

    def refill(self, prices: Floats, worths: Floats) -> tuple[Floats, bool]:
        """Take the sets priced near or above their worth, for each type.

        Returns
        -------
        worths
            (t,) valid worths at these prices: no set that fits is priced above; ``inf`` where sets
            were only filled up.
        exact
            Whether no set priced above the worth given is missing from the pool.
        """
        true, exact = worths.copy(), True
        self._since += 1
        active = np.flatnonzero(prices > 0)
        for type_, room in enumerate(self._rooms):
            if self._stopped():
                return np.full(len(true), np.inf), False
            worth = float(worths[type_])
            least = worth + slack(prices, worth)
            if self._compiled:
                groups, floor = self._dearest(room, prices, active, worth, type_)
            else:
                groups, floor = self._near(room.knapsack(prices, active), worth, least, type_)
            self._groups[type_] = [active[group] for group in groups]
            dearest = [float(prices[group].sum(axis=1).max()) for group in self._groups[type_]]
            true[type_] = max([least, floor, *dearest])  # below the floor sets may be missing
            exact = exact and floor <= least
        return true, exact

    def _dearest(
        self, room: Room, prices: Floats, some: Ints, worth: float, type_: int
    ) -> tuple[list[Ints], float]:
        """Return what `_near` does, by compiled kernels; they find the highest price, too."""
        from kvplace.solver.column_generation.compiled_knapsack import CompiledKnapsack  # noqa: PLC0415 - numba

        groups = None if room.groups is None else room.groups[some]
        table = CompiledKnapsack(room.sizes[:, some], prices[some], room.capacity, groups)
        window, least = self._window[type_], worth + slack(prices, worth)
        filled = table.with_each() if self.filled else []
        if self._since % EXACT and any(prices[some[of]].sum(axis=1).max() > least for of in filled):
            return filled, np.inf
        lowest = max(min(least, worth * (1 - window)), least * 1e-9)
        found, floor = table.dearest(lowest, DEAREST)
        number = sum(map(len, found))
        if lowest < least < floor and number < DEAREST:  # too long a search
            found, floor = table.dearest(least, DEAREST)
            number = DEAREST
        if number >= DEAREST:
            self._window[type_] = max(1e-5, window / 2)
        elif number < DEAREST // 2:
            self._window[type_] = min(0.5, window * 2)
        return found, floor

    def _near(
        self, table: Knapsack, worth: float, least: float, type_: int
    ) -> tuple[list[Ints], float]:
        """Return the sets from the top down to a floor that gives hundreds, and that floor.

        Where no floor has few enough, the sets are some of those at the worth, and nothing is
        priced above the floor.
        """
        window = self._window[type_]
        low, high = least, table.upper
        floor = worth * (1 - window) if worth > 0 and high <= worth * 1.05 else least
        for _ in range(FLOORS):
            if self._stopped():
                break
            try:
                found = table.above(max(floor, least * 1e-9), SETS)
            except TooManyError:
                self._window[type_] = max(1e-5, window / 2)
                if floor < least:
                    floor = least
                    continue
                low = floor
            else:
                if floor < worth and sum(map(len, found)) < SETS // 8:
                    self._window[type_] = min(0.5, window * 2)
                if found or floor <= least:
                    return found, floor
                high = floor
                break  # columns are wanted, not the highest price
            floor = (low + high) / 2
        return table.above(least, SETS // 4, beam=True), high


def slack(prices: Floats, worth: float) -> float:
    """Return by how much a price must exceed `worth` to count: the accuracy of the program."""
    return ACCURACY * max(worth, float(prices.max()) * 1e-3)
