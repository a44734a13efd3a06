"""What a re-plan may cost, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.replan.budget.prices import Measure
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.steps import Schedule
from kvplace.units import format_count

GAIN = 0.01
"""Default of the least gain of a change, as a share of the fleet's highest pressure: 1 %."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a re-plan may cost.

    Parameters
    ----------
    moves
        Most replicas that move, start or stop.
    loaded_bytes
        Most weights that are read.
    downtime_seconds
        Most time in which models are without a serving copy, summed; 0 for none.
    prices
        How many times its count a migration of a model costs, by name; infinite for never. Goes
        before what a model states itself.
    gain
        Least share of the fleet's highest pressure by which a change must lower the pressure of
        the worst GPU that it touches.
    """

    moves: float = math.inf
    loaded_bytes: float = math.inf
    downtime_seconds: float = 0.0
    prices: Mapping[str, float] | None = None
    gain: float = GAIN

    @property
    def measure(self) -> Measure:
        """What is counted in the search."""
        return Measure.MOVES if math.isinf(self.loaded_bytes) else Measure.BYTES

    @property
    def price(self) -> float:
        """Most that the search may spend."""
        return self.loaded_bytes if self.measure is Measure.BYTES else self.moves


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """The best pressure that a budget buys.

    Parameters
    ----------
    moves, loaded_bytes
        Replicas that move, start or stop, and weights that are read.
    price
        The same, weighted, in the measure of the budget.
    value
        Highest pressure.
    second
        Next pressure, from the worst down, that differs from the one of the point before.
    bound
        No placement that costs as little has a lower one.
    placement
        It, numbered as what runs.
    """

    moves: int
    loaded_bytes: int
    price: float
    value: float
    second: float
    bound: float
    placement: Placement


@dataclass(frozen=True, slots=True, repr=False)
class Replan:
    """What to do, what that is worth, and how far it can be from the best.

    Parameters
    ----------
    problem
        What is to be served, on which fleet.
    current
        What runs, as given.
    before
        Its evaluation for the problem; where it is not valid the violations say why.
    placement, after
        What is to run, and its evaluation; None where no valid placement was found within the
        budget.
    changes
        Replicas that move, start or stop.
    reasons
        Why, change by change.
    bound
        No placement within the budget has a lower pressure.
    needed
        Least price of any valid placement, proved.
    frontier
        Points by rising price, each better than all before; empty where they were not asked for.
    fresh
        Value and number of changes of a plan made without looking at what runs; None where none
        was made.
    schedule
        The order of steps.
    set_aside
        Why a better placement within the budget was not taken; empty where there is none.
    exhaustive
        Whether every placement was looked at.
    budget
        What it may cost.
    cheapest
        Least price of the valid placements that were found, within the budget or not; None where
        none was.
    """

    problem: Problem
    current: Placement
    before: Evaluation
    placement: Placement | None
    after: Evaluation | None
    changes: tuple[Change, ...]
    reasons: tuple[str, ...]
    bound: float
    needed: float
    frontier: tuple[FrontierPoint, ...]
    fresh: tuple[float, int] | None
    schedule: Schedule
    set_aside: str = ""
    exhaustive: bool = False
    budget: Budget = Budget()
    cheapest: float | None = None

    def __repr__(self) -> str:
        now = f"max {self.before.quantity} {self.before.value:.4g}"
        if self.after is None:
            return f"<Replan: no valid placement found, {now}>"
        then = f"{self.after.value:.4g}, within the budget none below {self.bound:.4g}"
        return f"<Replan: {format_count(len(self.changes), 'change')}, {now} -> {then}>"

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return self.placement is not None and not self.changes


def knee(points: Sequence[FrontierPoint]) -> FrontierPoint | None:
    """Return the point after which each further change buys less than the mean of all.

    It is the one farthest below the straight line from the first to the last, in price and value
    each as a share of its range (Satopaa et al., "Finding a kneedle in a haystack", 2011).
    """
    valid = [point for point in points if math.isfinite(point.value)]
    if len(valid) < 3:
        return None
    first, last = valid[0], valid[-1]
    prices, values = last.price - first.price, first.value - last.value
    if prices <= 0 or values <= 0:
        return None
    return max(
        valid,
        key=lambda p: (
            (first.value - p.value) / values - (p.price - first.price) / prices,
            -p.price,
        ),
    )
