"""Result: a placement with its evaluation, its bound, and why the solver stopped."""

import math
from dataclasses import dataclass
from enum import StrEnum

from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem

__all__ = ["OPTIMAL_GAP", "Result", "Status", "Stop", "relative_gap", "status_of"]

OPTIMAL_GAP = 1e-9
"""A certified gap up to this counts as proved optimal: the rounding of floats, nothing more."""


class Status(StrEnum):
    """What is known of the result.

    ``optimal``: valid, and proved to be within `OPTIMAL_GAP` of the best possible, soft rules
    before the KVPR.
    ``feasible``: valid, with a certified gap. ``infeasible``: proved that no placement is valid.
    ``unknown``: no placement was found and none was proved impossible.
    """

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """Why the solver stopped."""

    OPTIMAL = "optimal"  # proved, and the rest balanced as far as the search goes
    GAP = "gap"  # the gap asked for is certified
    LOCAL_OPTIMUM = "local_optimum"  # the algorithm has nothing more to try
    ITERATION_LIMIT = "iteration_limit"
    TIME_LIMIT = "time_limit"  # cut by the clock: not reproducible
    INTERRUPTED = "interrupted"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True)
class Result:
    """What a solver found and what is proved about it.

    Parameters
    ----------
    problem
        What was solved.
    placement
        The best placement found; None where none was.
    evaluation
        Its evaluation by `kvplace.core.evaluation`; None where there is no placement.
    proof
        The lower bound with its evidence.
    stop
        Why the solver stopped.
    solver
        Its name.
    seed
        Seed of its random choices.
    iterations
        Improving steps and kicks made.
    seconds
        Wall time.
    """

    problem: Problem
    placement: Placement | None
    evaluation: Evaluation | None
    proof: Bound
    stop: Stop
    solver: str
    seed: int
    iterations: int
    seconds: float

    @property
    def value(self) -> float:
        """KVPR of the worst GPU; ``inf`` where there is no placement."""
        return self.evaluation.value if self.evaluation else math.inf

    @property
    def bound(self) -> float:
        """No placement has a smaller value."""
        return self.proof.value

    @property
    def gap(self) -> float:
        """``(value - bound) / bound``: 0 at a proved optimum, ``inf`` where nothing is known."""
        return relative_gap(self.value, self.bound)

    @property
    def status(self) -> Status:
        """What is known."""
        if self.placement is None:
            return Status.INFEASIBLE if math.isinf(self.bound) else Status.UNKNOWN
        assert self.evaluation is not None
        return status_of(self.evaluation, self.bound, self.proof.method)


def status_of(evaluation: Evaluation, bound: float, method: str) -> Status:
    """Return the status of a valid placement under a bound.

    Where soft rules are broken, a bound on the KVPR alone proves nothing; an exhaustive search
    has looked at the soft rules first.
    """
    closed = relative_gap(evaluation.value, bound) <= OPTIMAL_GAP
    whole = not evaluation.preferences or method == "search"
    return Status.OPTIMAL if closed and whole else Status.FEASIBLE


def relative_gap(value: float, bound: float) -> float:
    """Return ``(value - bound) / bound``, never negative.

    0 where both are 0; ``inf`` where only the bound is 0 or there is no value.
    """
    if value <= bound:
        return 0.0
    return (value - bound) / bound if bound > 0 else math.inf
