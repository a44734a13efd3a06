"""The door of `kvplace explain`: why not, or what would help."""

from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Status, placed
from kvplace.errors import InputError
from kvplace.explain.bottleneck import Bottleneck, bottleneck_of
from kvplace.explain.changes import Change, Effort
from kvplace.explain.clash import Clash, find_clash
from kvplace.explain.levers import GAIN, Lever, find_levers
from kvplace.explain.repairs import Repair, find_repairs
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve

FIRST_SHARE, CLASH_SHARE = 0.3, 0.5
"""Share of a time limit for the plan itself, and share of what is left then for the clash; the
rest is for what follows from them."""
MODEL_SECONDS = 3e-4
"""Seconds that a change of the problem takes for each of its models, before it is looked at."""


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """Why there is no placement, or what holds the placement and what would better it.

    Parameters
    ----------
    result
        Of the problem as it is, started from the placement given.
    given
        Evaluation of the placement given; None where none was.
    clash, repairs
        A smallest clash, and ways out of it; None and empty where a placement exists.
    bottleneck, levers
        What holds the worst GPU of the placement given, or else of the result's, and what would
        lower it: another plan first, where one is better, then the changes that lower that one's
        further. None and empty where there is no placement.
    complete
        Whether everything was looked into; False where the time limit or an interrupt cut it.
    """

    result: Result
    given: Evaluation | None
    clash: Clash | None
    repairs: tuple[Repair, ...]
    bottleneck: Bottleneck | None
    levers: tuple[Lever, ...]
    complete: bool

    def __repr__(self) -> str:
        told = f"{len(self.levers)} levers"
        if self.result.placement is None:
            told = f"{'a' if self.clash else 'no'} clash, {len(self.repairs)} repairs"
        return f"<Explanation: {told}, of {self.result!r}>"


def explain(
    problem: Problem | Result,
    placement: Placement | Result | None = None,
    *,
    time_limit: float | str | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Explanation:
    """Explain why a problem has no placement, or what would make its placement better.

    Parameters
    ----------
    problem
        What to place on what; or a result, to explain its own placement.
    placement
        The placement to explain, or the result that has it; None for the one that `solve` finds.
    time_limit
        Seconds, or text such as ``2min``; None for as long as it takes.
    seed
        Of random choices.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.

    Raises
    ------
    InputError
        The placement given is not valid for the problem; every violation is named.
    """
    if isinstance(problem, Result):
        placement = problem.placement if placement is None else placement
        problem = problem.problem
    placement = placed(placement) if isinstance(placement, Result) else placement
    watch = watch or Watch(time_limit)
    given = None
    if placement is not None:
        given = evaluate(problem, placement)
        if given.violations:
            raise InputError([v.message for v in given.violations], "placement")
    share = watch.left * FIRST_SHARE
    first = Within(watch, share if share < float("inf") else None)
    result = solve(problem, start=placement, seed=seed, watch=first)
    if result.evaluation is None or result.placement is None:
        return _why_not(problem, result, watch)
    shown = given or result.evaluation
    bottleneck = bottleneck_of(problem, shown)
    watch.tell("levers", shown.value, result.bound)
    long = _long(problem, watch)
    levers: tuple[Lever, ...] = ()
    if not long:
        levers = find_levers(problem, result.placement, watch, seed, before=shown.value)
    if result.value < shown.value * (1 - GAIN):
        again = Change("plan", "", "another plan, with nothing changed", Effort.PLAN, problem)
        levers = (Lever(again, result, shown.value), *levers)
    whole = watch.stop is None and not long
    return Explanation(result, given, None, (), bottleneck, levers, whole)


def _long(problem: Problem, watch: Watch) -> bool:
    """Whether the time left is too short to change a problem of so many models."""
    return len(problem.models) * MODEL_SECONDS > watch.left


def _why_not(problem: Problem, result: Result, watch: Watch) -> Explanation:
    """Explain a problem without a placement."""
    if result.status is not Status.INFEASIBLE:
        return Explanation(result, None, None, (), None, (), watch.stop is None)
    watch.tell("smallest clash")
    share = watch.left * CLASH_SHARE
    clash = find_clash(problem, Within(watch, share if share < float("inf") else None))
    repairs: tuple[Repair, ...] = ()
    long = _long(problem, watch)
    if clash is not None and not long:
        watch.tell("repairs")
        repairs = find_repairs(problem, clash, watch)
    whole = watch.stop is None and not long
    return Explanation(result, None, clash, repairs, None, (), whole)
