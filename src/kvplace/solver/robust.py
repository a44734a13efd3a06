"""Plans that hold when the hottest models are asked for more than is stated."""

import math
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.core.scenarios import HOTTEST, robust_windows, with_scenarios, without_scenarios
from kvplace.field_types import whole_number
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve

_FREE_SHARE = 0.35
"""Share of a time limit for the plan without scenarios, which says what robustness costs."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What two plans are worth in one scenario.

    Parameters
    ----------
    window
        The what-if: its name, the factor, and the models that it hits.
    value, free_value
        Highest pressure under the robust plan, and under the plan that was made without scenarios.
    """

    window: Window
    value: float
    free_value: float


@dataclass(frozen=True, slots=True)
class Robust:
    """A plan for scenarios, and what it comes to in each.

    Parameters
    ----------
    result
        The plan, of the problem that has the scenarios that were planned for as windows.
    free
        The plan without them.
    stated_value
        Highest pressure of the robust plan at the demand that is stated.
    scenarios
        Every scenario, each with the worth of both plans; none without two plans.
    """

    result: Result
    free: Result
    stated_value: float
    scenarios: tuple[Scenario, ...]

    @property
    def cost(self) -> float:
        """How much higher the pressure at the stated demand is than without robustness."""
        return self.stated_value - self.free.value


def solve_robust(
    problem: Problem,
    factor: float,
    *,
    most: int = HOTTEST,
    one_at_a_time: bool = False,
    time_limit: float | str | None = None,
    gap: float = 0.0,
    seed: int = 0,
    iterations: int | None = None,
    watch: Watch | None = None,
) -> Robust:
    """Plan for scenarios in which the hottest models have a multiple of their demand.

    A plan that holds when all of them are hit at once holds when any of them is, so these
    scenarios alone are planned for, unless models are to be hit one at a time. The worth of the
    plan is told in all of them.

    Parameters
    ----------
    problem
        Under the objective ``pressure``.
    factor
        On the demand of the models that are hit, at least 1.
    most
        How many models are hottest, by `kvplace.core.scenarios.hottest`.
    one_at_a_time
        Plan for one of them being hit, and not for all at once.
    time_limit, gap, seed, iterations, watch
        As in `kvplace.solve`.

    Raises
    ------
    InputError
        The objective is another one, or the factor is below 1.
    """
    watch = watch or Watch(time_limit)
    stated = without_scenarios(problem)
    most = whole_number("most", most, 1)
    new = robust_windows(stated, factor, most=most, together=not one_at_a_time)
    known = {window.name for window in problem.windows}
    robust = with_scenarios(problem, [window for window in new if window.name not in known])
    seconds = None if math.isinf(watch.left) else _FREE_SHARE * watch.left
    watch.tell("without scenarios")
    free = solve(stated, gap=gap, seed=seed, iterations=iterations, watch=Within(watch, seconds))
    watch.tell("with scenarios")
    limit = None if seconds is None else watch.left
    result = solve(
        robust, gap=gap, seed=seed, iterations=iterations, start=free.placement,
        watch=Within(watch, limit),
    )  # fmt: skip
    if result.placement is None or free.placement is None:
        return Robust(result, free, result.value, ())
    every = robust_windows(stated, factor, most=most)
    worth = [_worths(stated, every, plan.placement) for plan in (result, free)]
    stated_value = evaluate(stated, result.placement).value
    return Robust(result, free, stated_value, tuple(map(Scenario, every, *worth)))


def _worths(
    stated: Problem, scenarios: tuple[Window, ...], placement: Placement | None
) -> list[float]:
    """Return the highest pressure of a placement in each scenario."""
    assert placement is not None
    problem = with_scenarios(stated, scenarios)
    gpus = evaluate(problem, placement).gpus
    at = {window.name: number for number, window in enumerate(problem.windows)}
    return [
        max(max(gpu.occupancies[at[window.name]], gpu.time_shares[at[window.name]]) for gpu in gpus)
        for window in scenarios
    ]
