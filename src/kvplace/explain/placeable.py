"""Whether a problem has a placement at all."""

from dataclasses import replace
from enum import StrEnum

from kvplace.core.models.demand import Demand
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import Params


class Verdict(StrEnum):
    """Whether a problem has a placement: yes, proved not, or not settled."""

    POSSIBLE = "possible"
    IMPOSSIBLE = "impossible"
    OPEN = "open"


def placeable(problem: Problem, watch: Watch, seconds: float | None = None) -> Verdict:
    """Decide whether any placement keeps the hard constraints of a problem.

    Only memory, further capacities and rules matter, so the question is asked without demand,
    which ends every search at the first placement found. Where that finds none and proves none,
    it is asked again with a start that spreads the models by free memory.

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
    within = Within(watch, seconds)
    status = solve(bare, watch=within, params=Params(spread_models=0)).status
    if status is Status.UNKNOWN and not within.stop:
        status = solve(bare, watch=within).status
    if status is Status.INFEASIBLE:
        return Verdict.IMPOSSIBLE
    return Verdict.OPEN if status is Status.UNKNOWN else Verdict.POSSIBLE
