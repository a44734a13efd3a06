"""A shorter run inside a longer one, and the question whether a problem has a placement at all."""

import math
from dataclasses import replace
from enum import StrEnum

from kvplace.core.model import Demand
from kvplace.core.problem import Problem
from kvplace.core.result import Status, Stop
from kvplace.solver.clock import Progress, Watch
from kvplace.solver.solve import solve

__all__ = ["Verdict", "Within", "placeable"]


class Within(Watch):
    """The watch of one solver run among several that share the time of an outer watch.

    Parameters
    ----------
    outer
        Watch of the whole; when it ends, so does this run.
    seconds
        Limit of this run; None for no limit of its own.
    enough
        The run ends once the value is at most this.
    hopeless
        The run ends once the bound is above this.
    """

    def __init__(
        self,
        outer: Watch,
        seconds: float | None = None,
        *,
        enough: float = -math.inf,
        hopeless: float = math.inf,
    ) -> None:
        super().__init__(seconds, self._settle)
        self._outer, self._enough, self._hopeless = outer, enough, hopeless

    def _settle(self, progress: Progress) -> None:
        if progress.value <= self._enough or progress.bound > self._hopeless:
            self.interrupt()

    @property
    def left(self) -> float:
        """Seconds until this run or the outer one ends."""
        return min(super().left, self._outer.left)

    @property
    def stop(self) -> Stop | None:
        """Why to stop now, or None to go on."""
        return super().stop or self._outer.stop


class Verdict(StrEnum):
    """Whether a problem has a placement: yes, proved not, or not settled."""

    POSSIBLE = "possible"
    IMPOSSIBLE = "impossible"
    OPEN = "open"


def placeable(problem: Problem, watch: Watch, seconds: float | None = None) -> Verdict:
    """Decide whether any placement keeps the hard constraints of a problem.

    Only memory, further capacities and rules matter, so the question is asked without demand,
    which ends every search at the first placement found.

    Parameters
    ----------
    problem
        What to decide.
    watch
        Clock and interrupt of the whole.
    seconds
        Limit of this question.
    """
    bare = replace(
        problem,
        models=tuple(replace(model, demand=Demand(0.0)) for model in problem.models),
        rules=tuple(rule for rule in problem.rules if rule.soft is None),
    )
    status = solve(bare, watch=Within(watch, seconds)).status
    if status is Status.INFEASIBLE:
        return Verdict.IMPOSSIBLE
    return Verdict.OPEN if status is Status.UNKNOWN else Verdict.POSSIBLE
