"""What a budget counts: migrations or bytes, weighted by what the models are worth leaving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kvplace.replan.budget.fleet_state import Copies, FleetState


class Measure(StrEnum):
    """What migrations are counted in.

    ``moves``
        Replicas that move, start or stop, each one.
    ``bytes``
        Weights that are read by replicas that move or start.
    """

    MOVES = "moves"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Prices:
    """What it costs to change how a model runs.

    Parameters
    ----------
    measure
        What is counted.
    factors
        By the name of a model, how many times its count each of its migrations costs; infinite
        for a model that is never to move. 1 where nothing is said.
    """

    measure: Measure = Measure.MOVES
    factors: Mapping[str, float] = field(default_factory=dict)

    def of(self, state: FleetState, model: int, copies: Copies) -> float:
        """Return what it costs to give a model other copies than it had at the origin."""
        if self.measure is Measure.MOVES:
            amount = float(state.migrations(model, copies))
        else:
            amount = float(state.loaded_bytes(model, copies))
        factor = self.factor(state.problem.names[model])
        if math.isinf(factor):
            return math.inf if state.migrations(model, copies) else 0.0
        return amount * factor

    def factor(self, name: str) -> float:
        """Return how many times its count a migration of a model costs."""
        return self.factors.get(name, 1.0) if self.factors else 1.0

    def total(self, state: FleetState) -> float:
        """Return what everything costs that is otherwise than at the origin."""
        return sum(self.of(state, j, state.copies[j]) for j in sorted(state.changed))
