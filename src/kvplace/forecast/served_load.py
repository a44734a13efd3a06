"""The load up to which a forecast keeps a level."""

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.copies import copies_of
from kvplace.forecast.forecast import expected
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes

LEAST_LOAD, MOST_LOAD = 1 / 64, 64.0
"""Loads beyond which nobody looks."""


def served_load(
    problem: Problem,
    placement: Placement,
    *,
    level: float = 0.95,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
) -> float:
    """Return the factor on the demand up to which the forecast keeps a level.

    Parameters
    ----------
    problem, placement, burst, rules, times
        As in `kvplace.forecast.forecast.forecast`.
    level
        Part of all requests that keep every objective.
    """
    copies = copies_of(problem, placement, times or StepTimes())

    def kept(load: float) -> bool:
        found = expected(problem, copies, load=load, burst=burst, rules=rules or Rules())
        return found.attainment >= level

    low, high = LEAST_LOAD, MOST_LOAD
    if not kept(low):
        return 0.0
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low
