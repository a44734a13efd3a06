"""Plans that leave room for the loss of any one GPU or node."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import Fleet
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.errors import InputError
from kvplace.replan.budget.floor import floor_of
from kvplace.replan.budget.search import Search
from kvplace.replan.failures import without_gpus
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve

__all__ = ["Failure", "Survival", "after_failures", "failures_of", "survive"]

_RESERVES = (0.0, 0.02, 0.04, 0.07, 0.1, 0.14, 0.18, 0.23, 0.28, 0.34, 0.4, 0.47, 0.54, 0.62)
"""Shares of every GPU's memory that are kept free while planning, tried one after another."""
_FRESH_GAP, _FRESH_ITERATIONS = 0.1, 50
"""When a plan made afresh after a failure is good enough, and most steps that it may take."""
_GAIN = 0.05
"""Share of the highest pressure by which a change after a failure must relieve a GPU."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The loss of a GPU or a node, and what a plan makes of it.

    Parameters
    ----------
    name
        The GPU or the node.
    value
        Highest pressure once everything that ran there is restored elsewhere and what pays has
        moved; ``inf`` where not everything finds room.
    bound
        No placement on what is left has less; ``inf`` where it is proved that none is valid.
    moves
        Replicas that are started or moved to restore everything.
    """

    name: str
    value: float
    bound: float
    moves: int


@dataclass(frozen=True, slots=True)
class Survival:
    """A plan, and what becomes of it in each failure.

    Parameters
    ----------
    result
        The plan.
    failures
        One by one.
    free_value
        Highest pressure of the plan that is made without a thought of failures.
    """

    result: Result
    failures: tuple[Failure, ...]
    free_value: float

    @property
    def holds(self) -> bool:
        """Whether everything is restored in every failure."""
        return all(failure.value < math.inf for failure in self.failures)

    @property
    def worst(self) -> Failure:
        """The failure after which the pressure is highest."""
        return max(self.failures, key=lambda failure: failure.value)

    @property
    def impossible(self) -> bool:
        """Whether it is proved that no plan survives one of the failures."""
        return any(math.isinf(failure.bound) for failure in self.failures)


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
    survived. Each failure is then tried by itself on the real fleet.

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
    best = Survival(
        free, tuple(after_failures(problem, free.placement, failures, watch, plans)), free.value
    )
    if best.holds or best.impossible or free.placement is None:
        return best
    for share in _RESERVES[1:]:
        if watch.stop:
            break
        watch.tell(f"with {share:.0%} kept free")
        placement = plan(_with_reserve(problem, share)).placement
        if placement is None:
            break
        found = evaluate(problem, placement)
        result = replace(
            free,
            placement=placement,
            evaluation=found,
            stop=Stop.LOCAL_OPTIMUM,
            progress=(),
            ranks=0,
        )
        tried = Survival(
            result, tuple(after_failures(problem, placement, failures, watch, plans)), free.value
        )
        if tried.holds:
            return tried
        if _lost(tried) < _lost(best):
            best = tried
    return best


def _lost(survival: Survival) -> int:
    return sum(math.isinf(failure.value) for failure in survival.failures)


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
) -> list[Failure]:
    """Return what becomes of a placement in each failure, by itself.

    Parameters
    ----------
    problem, placement
        What runs; nothing survives where there is no placement.
    failures
        Names, each with the GPUs that it takes.
    watch
        Clock and interrupt.
    plans
        Plans made afresh on what failures leave, by name; what is made here is added.
    """
    found = []
    plans = {} if plans is None else plans
    for name, gone in failures:
        left = without_gpus(problem, gone)
        bound = math.inf if left.unplaceable else floor_of(left.problem)
        value, moves = math.inf, 0
        if placement is not None and not math.isinf(bound):
            after = _restored(left.problem, placement, name, plans, watch or Watch())
            if after is not None:
                value, moves = after
        found.append(Failure(name, value, bound, moves))
    return found


def _restored(
    problem: Problem,
    placement: Placement,
    name: str,
    plans: dict[str, Placement | None],
    watch: Watch,
) -> tuple[float, int] | None:
    """Return what becomes of a placement on what is left of a fleet, and how many changes it takes.

    Where what is left is tight, what runs on it cannot stay as it is: a plan made afresh then leads
    the way, and as much of it as is not needed is taken back.
    """
    search = Search(problem, placement, gain=_GAIN, watch=watch)
    search.run(quick=True)
    point = search.best()
    if point is None and not watch.stop:
        if name not in plans:
            found = solve(problem, gap=_FRESH_GAP, iterations=_FRESH_ITERATIONS)
            plans[name] = found.placement
        fresh = plans[name]
        if fresh is None:
            return None
        search.run(fresh=fresh, quick=True)
        point = search.best()
    if point is None:
        return None
    return evaluate(problem, search.placement(point)).value, int(point.price)
