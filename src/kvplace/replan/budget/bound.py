"""How good a placement can be at most that costs no more than a budget: a proof for every budget.

At a pressure K a shard takes ``w = s + l / K`` of its GPU's memory. A GPU that is above K must lose
what covers its excess ``sum(w) - M``, and no fewer copies cover it than those with the largest w;
the same holds of each load by itself, and of shares of time. A migration relieves the GPUs that
its copy leaves; where a model may have more copies, a start elsewhere relieves all GPUs of that
model at once, and never by more than its whole w. So a count of relieved pairs of GPU and model
that is too small for all GPUs together proves that K is out of reach, and K rises until it is not.

Where bytes are counted, a GPU loses no fewer bytes than a fractional choice of its copies does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kvplace.replan.budget.fleet_state import BROKEN, FleetState
from kvplace.replan.budget.prices import Measure, Prices

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 60
_AT_ONCE = 1_000_000
"""Copies of GPUs, as if all had as many as the one with most, that are looked at at a time."""
_SLACK = 1e-12  # rounding of floats, always to the side of a weaker claim


class BudgetBound:
    """Lower bounds on the pressure within budgets, for one origin.

    Parameters
    ----------
    state
        The fleet at its origin.
    prices
        What is counted.
    floor
        Bound that holds without any budget.
    """

    def __init__(self, state: FleetState, prices: Prices, floor: float) -> None:
        self._prices, self._floor = prices, floor
        self._memory = state.memory.astype(float)
        self._unit, self._kv = float(state.unit), state.kv_loads
        shards = [
            (gpu, model, item, weights, loads[state.type_of[gpu]])
            for model, copies in state.copies.items()
            for item, (copy, part) in enumerate(
                zip(copies, state.parts(model, copies), strict=True)
            )
            for weights, _, loads in (state.need(model, len(copy), part),)
            for gpu in copy
        ]
        self._gpu = np.array([s[0] for s in shards], dtype=np.int64)
        self._weights = np.array([s[3] for s in shards], dtype=float)
        self._loads = (
            np.array([s[4] for s in shards], dtype=float).reshape(len(shards), len(state.load)).T
        )
        names = state.problem.names
        factor = np.array([prices.factor(names[s[1]]) for s in shards], dtype=float)
        # What may relieve several GPUs at once is one item: a split copy, or a model of which
        # another copy may be started.
        keys: dict[tuple[int, int], int] = {}
        missing = set(state.illegal)  # what starts there anyway may relieve the others
        loose = {
            j: j in missing
            or state.models[j].replicas.min < state.models[j].replicas.max
            or not state.even(j)
            for j in state.copies
        }
        item = [keys.setdefault((s[1], -1 if loose[s[1]] else s[2]), len(keys)) for s in shards]
        self._item = np.array(item, dtype=np.int64)
        self._loose = np.array([loose[s[1]] for s in shards], dtype=bool)
        size = np.array([state.models[s[1]].weights_bytes for s in shards], dtype=float)
        # A copy that is stopped reads nothing; one that moves reads all its weights, which are
        # shared out here over the GPUs that it leaves.
        degree = np.array([len(c) for cs in state.copies.values() for c in cs for _ in c])
        cost = factor
        if prices.measure is Measure.BYTES:
            never = np.isinf(factor)
            shared = np.where(never, 1.0, factor) * size / np.maximum(1, degree)
            cost = np.where(self._loose, 0.0, np.where(never, np.inf, shared))
        order = np.argsort(self._gpu, kind="stable")
        self._gpu, self._item, self._cost = self._gpu[order], self._item[order], cost[order]
        self._weights, self._loads = self._weights[order], self._loads[:, order]
        self._ends = np.searchsorted(self._gpu, np.arange(len(state.ids) + 1))
        self._pressure = state.pressure.copy()
        self._forced = sum(_least_starts(state, prices, j) for j in missing)
        self._top = float(self._pressure.max())
        # Pressures far below what any load makes are not told from 0.
        largest = float(self._loads.max()) if self._loads.size else 0.0
        self._tiny = 1e-9 * max(largest * self._unit / float(self._memory.max()), 1e-200)

    def least(self, pressure: float, enough: float = math.inf) -> float:
        """Return what reaching a pressure costs at least.

        Parameters
        ----------
        pressure
            To be reached.
        enough
            Where it costs more than this, any larger number will do.
        """
        hot = np.flatnonzero(self._pressure > pressure * (1 + _SLACK))
        if self._prices.measure is Measure.BYTES:
            relieved = 0.0
            for gpu in hot:
                relieved += self._bytes(int(gpu), pressure)
                if relieved > enough * (1 + _SLACK):
                    return relieved
            return max(self._forced, relieved * (1 - _SLACK))
        hot = hot[self._ends[hot + 1] > self._ends[hot]]
        relieved, touched = 0.0, []
        widest = int((self._ends[hot + 1] - self._ends[hot]).max(initial=1))
        for first in range(0, len(hot), max(1, _AT_ONCE // widest)):
            some = hot[first : first + max(1, _AT_ONCE // widest)]
            copies = self._copies(some, pressure)
            relieved += float(copies.sum())
            touched += some[copies > 0].tolist()
        if math.isinf(relieved) or not touched:
            return max(self._forced, relieved)
        at = np.concatenate(
            [np.arange(int(self._ends[gpu]), int(self._ends[gpu + 1])) for gpu in touched]
        )
        return max(self._forced, self._migrations(relieved, self._item[at], self._cost[at]))

    def _sizes(
        self, load: int, rows: slice | NDArray[np.int64], pressure: float
    ) -> NDArray[np.float64]:
        """Return what shards take of a GPU at a pressure: of its memory, or of its time."""
        loads: NDArray[np.float64] = self._loads[load][rows]
        return self._weights[rows] + loads * (self._unit / pressure) if load < self._kv else loads

    def _copies(self, gpus: NDArray[np.int64], pressure: float) -> NDArray[np.float64]:
        """Return how many copies each of some GPUs must lose at least; all hold something."""
        ends = self._ends[gpus + 1][:, None]
        rows = self._ends[gpus][:, None] + np.arange(int((ends[:, 0] - self._ends[gpus]).max()))
        there = rows < ends
        rows = np.where(there, rows, 0)
        may = there & np.isfinite(self._cost[rows])
        most = np.zeros(len(gpus))
        for load in range(len(self._loads)):
            sizes = np.where(there, self._sizes(load, rows, pressure), 0.0)
            room = self._memory[gpus] if load < self._kv else pressure
            need = sizes.sum(axis=1) * (1 - _SLACK) - room
            covered = np.sort(np.where(may, sizes, 0.0), axis=1)[:, ::-1].cumsum(axis=1)
            enough = covered >= (need * (1 - _SLACK))[:, None]
            count = np.where(enough[:, -1], enough.argmax(axis=1) + 1.0, np.inf)
            most = np.maximum(most, np.where(need > 0, count, 0.0))
        return most

    def _bytes(self, gpu: int, pressure: float) -> float:
        """Return the bytes that a GPU must lose at least."""
        part, most = slice(int(self._ends[gpu]), int(self._ends[gpu + 1])), 0.0
        for load in range(len(self._loads)):
            sizes = self._sizes(load, part, pressure)
            room = float(self._memory[gpu]) if load < self._kv else pressure
            need = float(sizes.sum()) * (1 - _SLACK) - room
            if need > 0:
                most = max(most, _covered(sizes, self._cost[part], need))
        return most

    def _migrations(
        self, needed: float, item: NDArray[np.int64], cost: NDArray[np.float64]
    ) -> float:
        """Return the least cost of items that together relieve as many pairs as are needed."""
        _, first, count = np.unique(item, return_index=True, return_counts=True)
        price = cost[first]
        may = np.isfinite(price)
        count, price = count[may].astype(float), price[may]
        # Fractional cover: the cheapest per pair first, the last one in part; whole migrations
        # where all cost the same.
        order = np.argsort(price / count, kind="stable")
        total, paid = 0.0, 0.0
        for one in order:
            left = needed - total
            if left <= 0:
                break
            paid += float(price[one]) * min(1.0, left / float(count[one]))
            total += float(count[one])
        if total < needed:
            return math.inf
        whole = float(price.min()) if len(price) and price.min() == price.max() else 0.0
        return math.ceil(paid / whole - 1e-9) * whole if whole else paid * (1 - _SLACK)

    def at(self, budget: float) -> float:
        """Return a pressure below which no placement within a budget is.

        ``inf`` where none is valid within it.
        """
        if self._forced > budget * (1 + _SLACK):
            return math.inf
        low = max(self._floor, 0.0)
        high = self._top
        start = max(low, self._tiny)
        if high <= low or self.least(start, budget) <= budget * (1 + _SLACK):
            return low
        low = start
        if high >= BROKEN:
            high = self._valid_top()
            if self.least(high, budget) > budget * (1 + _SLACK):
                return math.inf
        for _ in range(_STEPS):
            middle = math.sqrt(low * high) if low > 0 else high / 2
            if not low < middle < high:
                break
            if self.least(middle, budget) > budget * (1 + _SLACK):
                low = middle
            else:
                high = middle
            if high <= low * (1 + 1e-10):
                break
        return low * (1 - 1e-9)

    def _valid_top(self) -> float:
        """Return a pressure so high that only memory counts."""
        return BROKEN / 10


def _covered(sizes: NDArray[np.float64], cost: NDArray[np.float64], need: float) -> float:
    """Return the least bytes of copies that cover a need; the last one counts in part."""
    may = np.isfinite(cost)
    sizes, cost = sizes[may], cost[may]
    if float(sizes.sum()) < need * (1 - _SLACK):
        return math.inf
    with np.errstate(over="ignore"):  # of a size of next to nothing each byte costs without end
        order = np.argsort(cost / np.maximum(sizes, 1e-300), kind="stable")
    total, paid = 0.0, 0.0
    for one in order:
        left = need - total
        if left <= 0:
            break
        part = min(1.0, left / float(sizes[one])) if sizes[one] else 0.0
        total += float(sizes[one])
        paid += part * float(cost[one])
    return paid


def _least_starts(state: FleetState, prices: Prices, model: int) -> float:
    """Return what it costs at least to give a model the copies that it must have."""
    wanted = state.models[model].replicas
    held = len(state.copies[model])
    factor = prices.factor(state.problem.names[model])
    if math.isinf(factor):
        factor = 1.0
    if prices.measure is Measure.MOVES:
        return max(0, wanted.min - held, held - wanted.max) * factor
    return max(0, wanted.min - held) * state.models[model].weights_bytes * factor
