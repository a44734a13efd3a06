"""Plans that leave room for the loss of any one GPU or node."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.failure import Failure, Recovery
from kvplace.core.hardware import Fleet
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Status, Stop
from kvplace.errors import InputError
from kvplace.replan.budget.floor import floor_of
from kvplace.replan.budget.search import Search
from kvplace.replan.failures import without_gpus
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve

_RESERVES = (0.0, 0.02, 0.04, 0.07, 0.1, 0.14, 0.18, 0.23, 0.28, 0.34, 0.4, 0.47, 0.54, 0.62)
"""Shares of every GPU's memory that are kept free while planning, tried one after another."""
_FRESH_GAP, _FRESH_ITERATIONS = 0.1, 50
"""When a plan made afresh after a failure is good enough, and most steps that it may take."""
_FRESH_SECONDS = 10.0
"""Most time for such a plan where everything is restored without it."""
_GAIN = 0.05
"""Share of the highest pressure by which a change after a failure must relieve a GPU."""
_CUT_SHORT = (Stop.TIME_LIMIT, Stop.MEMORY_LIMIT, Stop.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Survival:
    """A plan, and what becomes of it in each failure.

    Parameters
    ----------
    result
        The plan, with what becomes of it in each failure.
    free_value
        Highest pressure of the plan that is made without a thought of failures.
    """

    result: Result
    free_value: float

    @property
    def failures(self) -> tuple[Failure, ...]:
        """One by one."""
        return self.result.failures

    @property
    def holds(self) -> bool:
        """Whether everything was restored in every failure."""
        return all(failure.outcome is Recovery.RESTORED for failure in self.failures)

    @property
    def worst(self) -> Failure:
        """The failure after which the pressure is highest."""
        return max(self.failures, key=lambda failure: failure.value)

    @property
    def impossible(self) -> bool:
        """Whether it is proved that no plan survives one of the failures."""
        return bool(self.named(Recovery.IMPOSSIBLE))

    def named(self, outcome: Recovery) -> list[str]:
        """Return the names of the failures of one outcome."""
        return [failure.name for failure in self.failures if failure.outcome is outcome]


def failures_of(fleet: Fleet, what: str) -> list[tuple[str, frozenset[str]]]:
    """Return each failure with the GPUs that it takes.

    Parameters
    ----------
    fleet
        The fleet.
    what
        ``1-gpu`` or ``1-node``.

    Raises
    ------
    InputError
        It is neither, or there is nothing left after it.
    """
    if what == "1-gpu":
        found = [(gpu.id, frozenset([gpu.id])) for gpu in fleet.gpus]
    elif what == "1-node":
        found = [(n.name, frozenset(gpu.id for gpu in n.gpus)) for n in fleet.nodes if n.gpus]
    else:
        raise InputError(f"{what!r} is no failure; it is 1-gpu or 1-node")
    if len(found) < 2:
        raise InputError(f"the fleet has one {what[2:]}: nothing is left when it fails")
    return found


def survive(
    problem: Problem,
    what: str,
    plan: Callable[[Problem], Result],
    *,
    watch: Watch | None = None,
) -> Survival:
    """Make a plan that leaves room for any one failure, as good as is found.

    Parts of every GPU's memory are kept free while planning, more and more until every failure is
    survived. Each failure is then tried by itself on the real fleet. Where no plan survives them
    all, the one for which most failures were restored is returned.

    Parameters
    ----------
    problem
        What is to be served.
    what
        ``1-gpu`` or ``1-node``.
    plan
        Makes a plan of a problem.
    watch
        Clock and interrupt.

    Raises
    ------
    InputError
        `what` is no failure of this fleet.
    """
    watch = watch or Watch()
    failures = failures_of(problem.fleet, what)
    free, plans = plan(problem), dict[str, Placement | None]()

    def tried(result: Result) -> Survival:
        found = after_failures(
            problem, result.placement, failures, watch, plans, enough=result.value
        )
        return Survival(replace(result, failures=tuple(found)), free.value)

    best = tried(free)
    if best.holds or best.impossible or free.placement is None:
        return best
    for share in _RESERVES[1:]:
        if watch.stop:
            break
        watch.tell(f"with {share:.0%} kept free")
        placement = plan(_with_reserve(problem, share)).placement
        if placement is None:
            break
        result = replace(
            free,
            placement=placement,
            evaluation=evaluate(problem, placement),
            stop=Stop.LOCAL_OPTIMUM,
            progress=(),
            ranks=0,
        )
        other = tried(result)
        if other.holds:
            return other
        if len(other.named(Recovery.RESTORED)) > len(best.named(Recovery.RESTORED)):
            best = other
    return best


def _with_reserve(problem: Problem, share: float) -> Problem:
    """Return the problem with a share of every GPU's usable memory kept free."""
    nodes = tuple(
        replace(
            node,
            gpus=tuple(
                replace(g, reserve_bytes=g.reserve_bytes + int(share * g.usable_bytes))
                for g in node.gpus
            ),
        )
        for node in problem.fleet.nodes
    )
    return replace(problem, fleet=Fleet(nodes))


def after_failures(
    problem: Problem,
    placement: Placement | None,
    failures: Sequence[tuple[str, frozenset[str]]],
    watch: Watch | None = None,
    plans: dict[str, Placement | None] | None = None,
    *,
    enough: float = 0.0,
) -> list[Failure]:
    """Return what becomes of a placement in each failure, by itself.

    Of a failure, no GPU is relieved further than to the pressure that is enough, or to that after
    the worst failure so far where that is higher: the worst of all failures is no other for it.

    Parameters
    ----------
    problem, placement
        What runs; nothing is tried where there is no placement.
    failures
        Names, each with the GPUs that it takes.
    watch
        Clock and interrupt; what it ends before there is an answer is not tried.
    plans
        Plans made afresh on what failures leave, by name; what is made here is added.
    enough
        A pressure after a failure below which nothing is gained.
    """
    watch, plans = watch or Watch(), {} if plans is None else plans
    found: list[Failure] = []
    for number, (name, gone) in enumerate(failures, 1):
        if watch.stop:
            found.append(Failure(name, Recovery.NOT_TRIED, math.inf, 0.0, 0))
            continue
        watch.tell(f"without {name}, {number} of {len(failures)}")
        left = without_gpus(problem, gone)
        bound = math.inf if left.unplaceable else floor_of(left.problem)
        if math.isinf(bound):
            failure = Failure(name, Recovery.IMPOSSIBLE, math.inf, bound, 0)
        elif placement is None:
            failure = Failure(name, Recovery.NOT_TRIED, math.inf, bound, 0)
        else:
            failure = _tried(left.problem, placement, name, bound, plans, watch, enough)
        if failure.outcome is Recovery.RESTORED:
            enough = max(enough, failure.value)
        found.append(failure)
    return found


def _tried(
    problem: Problem,
    placement: Placement,
    name: str,
    bound: float,
    plans: dict[str, Placement | None],
    watch: Watch,
    enough: float,
) -> Failure:
    """Return what becomes of a placement on what is left of a fleet.

    Where what is left is tight, what runs on it cannot stay as it is, and where it stays hotter
    than it must, more has to change: a plan made afresh then leads the way, and as much of it as is
    not needed is taken back.
    """
    search = Search(problem, placement, gain=_GAIN, watch=watch, floor=bound)
    search.run(quick=True, enough=enough)
    point = search.best()
    if point is None and not watch.stop:
        if name not in plans:
            found = solve(
                problem, gap=_FRESH_GAP, iterations=_FRESH_ITERATIONS, watch=Within(watch)
            )
            if found.status is Status.INFEASIBLE:
                return Failure(name, Recovery.IMPOSSIBLE, math.inf, math.inf, 0)
            if found.placement is None and found.stop in _CUT_SHORT:
                return Failure(name, Recovery.NOT_TRIED, math.inf, bound, 0)
            plans[name] = found.placement
        fresh = plans[name]
        if fresh is None:
            return Failure(name, Recovery.NOT_FOUND, math.inf, bound, 0)
        search.run(fresh=fresh, quick=True, enough=enough)
        point = search.best()
    if point is None:
        ended = Recovery.NOT_TRIED if watch.stop else Recovery.NOT_FOUND
        return Failure(name, ended, math.inf, bound, 0)
    value = evaluate(problem, search.placement(point)).value
    if value > max(enough, bound * (1 + _FRESH_GAP)) and name not in plans and not watch.stop:
        found = solve(problem, gap=_FRESH_GAP, iterations=_FRESH_ITERATIONS, watch=_part(watch))
        bound, plans[name] = max(bound, found.bound), found.placement
        if found.placement is not None and found.value < value * (1 - _GAIN):
            search.go_back_from(found.placement, enough=max(enough, found.value))
            point = search.best()
            assert point is not None
            value = evaluate(problem, search.placement(point)).value
    return Failure(name, Recovery.RESTORED, value, bound, int(point.price))


def _part(watch: Watch) -> Within:
    """Return a clock that leaves time for other failures."""
    return Within(watch, min(_FRESH_SECONDS, watch.left / 4))
