"""Climb: the highest target that a rule proves impossible, where lower ones are then, too."""

from collections.abc import Callable
from typing import TypeVar

from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.clock import Watch

__all__ = ["climb"]

WIDTH = OPTIMAL_GAP / 4
"""Relative width at which the bisection ends, so that an optimum found later is proved as well."""

Evidence = TypeVar("Evidence")


def climb(
    prove: Callable[[float], Evidence | None], low: float, high: float, watch: Watch
) -> tuple[float, Evidence] | None:
    """Return the highest target found that a rule proves impossible, with its evidence.

    First just above `low`, where a rule that cannot help shows it; then just below `high`, which
    is often the optimum; then by bisection.

    Parameters
    ----------
    prove
        Evidence that no placement is below a target, or None.
    low, high
        A proved bound, and the value of a placement.
    watch
        Ends the search early.

    Returns
    -------
    tuple or None
        None where `prove` says nothing just above `low`.
    """
    best: tuple[float, Evidence] | None = None
    middle = low * (1 + WIDTH)
    while middle < high and high > low * (1 + WIDTH) and not watch.stop:
        evidence = prove(middle)
        if evidence is not None:
            asked = best is not None
            low, best = middle, (middle, evidence)
            middle = (low + high) / 2 if asked else high * (1 - OPTIMAL_GAP / 2)
        elif best is None:
            break
        else:
            high = middle
            middle = (low + high) / 2
    return best
