"""Every placement of a tiny fleet, and the best for every budget: a search that leaves none out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kvplace.replan.budget.fleet_state import Copies, FleetState
from kvplace.replan.budget.neighbours import shapes_of
from kvplace.replan.budget.points import SAME, standing
from kvplace.replan.budget.prices import Prices

MOST_SHAPES = 200
"""Ways to run one model up to which a fleet is tiny."""
MOST_PLACEMENTS = 20_000
"""Placements up to which a fleet is tiny."""


@dataclass(frozen=True, slots=True)
class Enumerated:
    """The best placement at one price.

    Parameters
    ----------
    price
        What it costs.
    soft
        How far each tier of soft rules is from holding.
    profile
        Pressures from the worst GPU to the best.
    copies
        The placement.
    """

    price: float
    soft: tuple[float, ...]
    profile: tuple[float, ...]
    copies: dict[int, Copies]

    @property
    def worth(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is compared: less is better."""
        return self.soft, standing(self.profile)


def enumerate_budgets(state: FleetState, prices: Prices) -> list[Enumerated] | None:
    """Return the best placement for every budget, each better than those that cost less.

    Returns
    -------
    list or None
        By rising price, empty where no placement is valid; None where the fleet is not tiny.
    """
    shapes: list[tuple[int, list[tuple[float, Copies]]]] = []
    total = 1.0
    for model in range(len(state.problem.models)):
        ways = shapes_of(state, model, MOST_SHAPES)
        if ways is None:
            return None
        total *= len(ways)
        if total > MOST_PLACEMENTS:
            return None
        priced = sorted((prices.of(state, model, copies), copies) for copies in ways)
        shapes.append((model, [(price, copies) for price, copies in priced if price < math.inf]))
    return _Search(state, shapes).run()


class _Search:
    """Model by model, the least price first; what cannot be the best any more is left."""

    def __init__(
        self, state: FleetState, shapes: list[tuple[int, list[tuple[float, Copies]]]]
    ) -> None:
        self.state = state
        self.shapes = shapes
        count = len(state.ids)
        self.memory = [int(m) for m in state.memory]
        self.used, self.kept = [0] * count, [0] * count
        self.load = [[0.0] * len(state.load) for _ in range(count)]
        self.held = [0] * count
        self.chosen: dict[int, Copies] = {}
        self.best: dict[float, Enumerated] = {}

    def run(self) -> list[Enumerated]:
        """Return the best of each price that is better than all cheaper ones."""
        self._extend(0, 0.0)
        found: list[Enumerated] = []
        for price in sorted(self.best):
            one = self.best[price]
            if not found or one.worth < found[-1].worth:
                found.append(one)
        return found

    def _extend(self, at: int, price: float) -> None:
        if at == len(self.shapes):
            self._end(price)
            return
        model, ways = self.shapes[at]
        for more, copies in ways:
            added = self._add(model, copies)
            if added is not None:
                if not self._hopeless(price + more):
                    self.chosen[model] = copies
                    self._extend(at + 1, price + more)
                self._remove(added)

    def _hopeless(self, price: float) -> bool:
        """Whether something that costs no more is better than anything that comes of this."""
        worst = max(self._pressure(gpu) for gpu in range(len(self.memory)))
        return any(
            one.price <= price and not any(one.soft) and one.profile[0] * (1 + SAME) < worst
            for one in self.best.values()
        )

    def _add(self, model: int, copies: Copies) -> list[tuple[int, int, int, list[float]]] | None:
        state, added = self.state, []
        for copy, part in zip(copies, state.parts(model, copies), strict=True):
            weights, kept, loads = state.need(model, len(copy), part)
            for gpu in copy:
                self.used[gpu] += weights
                self.kept[gpu] += kept
                self.held[gpu] += 1
                added.append((gpu, weights, kept, self.load[gpu]))  # as it was, for the way back
                mine = loads[state.type_of[gpu]]
                self.load[gpu] = [a + b for a, b in zip(self.load[gpu], mine, strict=True)]
        for gpu, *_ in added:
            if self.memory[gpu] - self.used[gpu] < max(1, self.kept[gpu]):
                self._remove(added)
                return None
        return added

    def _remove(self, added: list[tuple[int, int, int, list[float]]]) -> None:
        for gpu, weights, kept, before in reversed(added):
            self.used[gpu] -= weights
            self.kept[gpu] -= kept
            self.held[gpu] -= 1
            self.load[gpu] = before

    def _pressure(self, gpu: int) -> float:
        if not self.held[gpu]:
            return 0.0
        room = (self.memory[gpu] - self.used[gpu]) / self.state.unit
        kv = self.state.kv_loads
        return max(load / room if at < kv else load for at, load in enumerate(self.load[gpu]))

    def _end(self, price: float) -> None:
        soft: tuple[float, ...] = ()
        if not self.state.rules.idle:
            amounts = self.state.rules_after(tuple(self.chosen.items()))
            if amounts[0] > 0:
                return
            soft = amounts[1:]
        gpus = range(len(self.memory))
        profile = tuple(sorted(map(self._pressure, gpus), reverse=True))
        found = Enumerated(price, soft, profile, dict(self.chosen))
        known = self.best.get(price)
        if known is None or found.worth < known.worth:
            self.best[price] = found
