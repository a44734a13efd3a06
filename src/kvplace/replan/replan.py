"""Re-planning: from what runs, within a budget, to what should run, and how to get there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.models.model import Model
from kvplace.core.models.model_table import ModelTable
from kvplace.core.placement import Assigned, Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, what_runs
from kvplace.errors import InternalError
from kvplace.replan.budget.floor import floor_of
from kvplace.replan.budget.nearby import Nearby, cut_down
from kvplace.replan.budget.points import Point
from kvplace.replan.budget.prices import Measure, Prices
from kvplace.replan.budget.search import FEW, Search
from kvplace.replan.outcome import Budget, FrontierPoint, Replan
from kvplace.replan.reasons import reasons_for
from kvplace.replan.schedule.changes import Change, changes, renumbered
from kvplace.replan.schedule.sequence import sequence
from kvplace.replan.schedule.steps import Pricing, Schedule
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from kvplace.units import format_bytes

_FRESH_SECONDS, _FRESH_LEAST = 10.0, 0.3
"""Most time for a plan to compare with, and least: a start of a hundred split models takes more."""
_FRESH_GAP = 0.02
_ANY = 1e280
"""A pressure that every valid placement is below."""
_SEARCHED = 0.7
"""Part of the time left that is searched where all points of the frontier are evaluated again."""
_FEW_MODELS, _FRESH_MODELS = 3, 2_000
"""More models than this, up to that, are planned afresh to compare with and to go towards."""


def replan(
    problem: Problem | Result,
    current: Placement | Result | None = None,
    *,
    budget: Budget | None = None,
    former: Mapping[str, Model] | None = None,
    pricing: Pricing | None = None,
    frontier: bool = False,
    fresh: Placement | None = None,
    compare: bool = True,
    quick: bool = False,
    watch: Watch | None = None,
) -> Replan:
    """Find the best placement that a budget allows, and a safe order of steps that leads there.

    Every change counts, those included that are needed for the placement to be valid at all.

    Parameters
    ----------
    problem
        What is to be served, on which fleet; or the result that runs, to better that alone.
    current
        What runs: a placement, or the result that has it. Copies on GPUs that the fleet does not
        have are taken for dead.
    budget
        What it may cost; by default whatever pays, without downtime.
    former
        Models that run and are not in the problem, by name: they are stopped.
    pricing
        What steps take.
    frontier
        Whether points beyond the budget are wanted too.
    fresh
        A plan made without looking at what runs, to go towards.
    compare
        Whether a fleet of up to 2,000 models gets such a plan made where none is given.
    quick
        Whether the first valid placement with a safe order will do. A fleet of a few models is
        enumerated even so.
    watch
        Clock and interrupt.

    Raises
    ------
    InputError
        Something runs of which nobody knows what it takes.
    InternalError
        A placement failed its re-evaluation: a bug in kvplace.
    """
    problem, current = what_runs(problem, current)
    budget, watch, former = budget or Budget(), watch or Watch(), former or {}
    before = evaluate(problem, current)
    alive = _alive(problem, current)
    prices = Prices(budget.measure, {**_own_costs(problem), **(budget.prices or {})})
    part = cut_down(problem, alive, budget.moves) if before.valid else None
    if part is not None:
        watch.tell("search")
        floor = floor_of(problem)
        search = Search(
            part.problem, part.placement, prices, gain=budget.gain, watch=watch, floor=floor
        )
        with watch.part(_SEARCHED if frontier else 1.0):
            search.run(budget.price)
        found = _found(
            part.problem, part.placement, search, budget, former, pricing, None, watch,
            every=frontier,
        )  # fmt: skip
        return _whole(problem, current, before, found, part)
    search = Search(problem, alive, prices, gain=budget.gain, watch=watch)
    limit = min(_FRESH_SECONDS, watch.left * 0.4)
    compared = compare and limit >= _FRESH_LEAST
    if fresh is None and compared and _FEW_MODELS < len(problem.models) <= _FRESH_MODELS:
        watch.tell("a fresh plan, to compare with")
        fresh = solve(problem, gap=_FRESH_GAP, time_limit=limit).placement
    watch.tell("search")
    quick = quick and len(problem.models) > FEW
    enough = _ANY if quick else 0.0
    most = math.inf if frontier else budget.price
    with watch.part(_SEARCHED if frontier else 1.0):
        search.run(most, fresh, quick=quick, enough=enough, every=frontier)
    found = _found(
        problem, alive, search, budget, former, pricing, fresh, watch,
        every=frontier or search.exhaustive,
    )  # fmt: skip
    return _whole(problem, current, before, found, None)


def _own_costs(problem: Problem) -> dict[str, float]:
    """Return the costs that models state themselves; those of a table state none."""
    if isinstance(problem.models, ModelTable):
        return {}
    return {m.name: m.move.cost for m in problem.models if m.move.cost != 1}


def _alive(problem: Problem, current: Placement) -> Placement:
    """Return the copies on GPUs that there are."""
    gpu = problem.fleet.gpu
    if isinstance(current.replicas, Assigned) and all(map(gpu, current.replicas.gpu_ids)):
        return current
    return Placement(tuple(r for r in current if all(gpu(one) is not None for one in r.gpus)))


@dataclass(frozen=True, slots=True)
class _Found:
    """What the search has come to, for the GPUs that it looked at."""

    placement: Placement | None
    changes: tuple[Change, ...]
    bound: float
    needed: float
    frontier: tuple[FrontierPoint, ...]
    fresh: tuple[float, int] | None
    schedule: Schedule
    set_aside: str
    exhaustive: bool
    budget: Budget
    cheapest: float | None


def _found(
    problem: Problem,
    alive: Placement,
    search: Search,
    budget: Budget,
    former: Mapping[str, Model],
    pricing: Pricing | None,
    fresh: Placement | None,
    watch: Watch,
    *,
    every: bool,
) -> _Found:
    """Choose a point whose steps are in a safe order."""
    allowed = [p for p in search.frontier(budget.price) if _within(search, p, budget)]
    chosen, schedule, set_aside = _scheduled(
        problem, alive, search, allowed, budget, former, pricing
    )
    compared = None
    if fresh is not None:
        count = len(changes(alive, renumbered(alive, fresh, problem.fleet)))
        compared = (evaluate(problem, fresh).value, count)
    bound = search.bounds.at(budget.price)
    if search.exhaustive and allowed and not any(soft for p in allowed for soft in p.soft):
        bound = max(bound, min(p.profile[0] for p in allowed) * (1 - 1e-12))
    placement = (
        None if chosen is None else renumbered(alive, search.placement(chosen), problem.fleet)
    )
    return _Found(
        placement,
        () if placement is None else tuple(changes(alive, placement)),
        bound,
        search.bounds.least(math.inf),
        tuple(_frontier(problem, alive, search, search.frontier() if every else [], watch)),
        compared,
        schedule,
        set_aside,
        search.exhaustive,
        budget,
        min((point.price for point in search.frontier()), default=None),
    )


def _whole(
    problem: Problem,
    current: Placement,
    before: Evaluation,
    found: _Found,
    part: Nearby | None,
) -> Replan:
    """Evaluate what was found for the whole fleet, and say why each change is made."""
    after: Evaluation | None = None
    reasons: tuple[str, ...] = ()
    placement = found.placement
    if placement is not None:
        if part is not None:
            placement = part.lift(problem, current, placement)
        after = evaluate(problem, placement)
        if not after.valid or after.value < found.bound * (1 - 1e-9):
            wrong = "; ".join(v.message for v in after.violations) or "the bound is above the value"
            raise InternalError(f"a re-plan failed its re-evaluation: {wrong}")
        reasons = tuple(reasons_for(problem, current, before, after, found.changes))
    return Replan(
        problem=problem,
        current=current,
        before=before,
        placement=placement,
        after=after,
        changes=found.changes,
        reasons=reasons,
        bound=found.bound,
        needed=found.needed,
        frontier=found.frontier,
        fresh=found.fresh,
        schedule=found.schedule,
        set_aside=found.set_aside,
        exhaustive=found.exhaustive,
        budget=found.budget,
        cheapest=found.cheapest,
    )


def _within(search: Search, point: Point, budget: Budget) -> bool:
    """Whether a point keeps to the part of the budget that the search does not count."""
    if math.isinf(budget.moves) or budget.measure is Measure.MOVES:
        return True
    state = search.state
    return sum(state.migrations(j, c) for j, c in point.changed.items()) <= budget.moves


def _scheduled(
    problem: Problem,
    alive: Placement,
    search: Search,
    points: list[Point],
    budget: Budget,
    former: Mapping[str, Model],
    pricing: Pricing | None,
) -> tuple[Point | None, Schedule, str]:
    """Return the best point with a safe order within the downtime allowed."""
    set_aside, schedule = "", Schedule()
    left = list(points)
    while left:
        chosen = search.worthwhile(left)
        assert chosen is not None
        schedule = sequence(
            problem,
            alive,
            search.placement(chosen),
            former=former,
            pricing=pricing,
            may_pause=budget.downtime_seconds > 0,
            watch=search.watch,
        )
        down, loaded = schedule.downtime_seconds, schedule.loaded_bytes
        affordable = down <= budget.downtime_seconds and loaded <= budget.loaded_bytes
        if schedule.found and affordable:
            return chosen, schedule, set_aside
        why = schedule.reason
        if schedule.found:
            why = f"it takes {down:.0f} s of downtime and loads {format_bytes(loaded)}"
            if schedule.restarts.replicas:
                why += ", with what starts again beside it"
        if not set_aside:
            set_aside = f"{chosen.profile[0]:.6g} at a price of {chosen.price:g}: {why}"
        left = [point for point in left if point.price < chosen.price]
        if search.watch.stop:
            left = left[:1]  # of the fewest changes there is an order soonest, if there is any
    return None, schedule, set_aside


def _frontier(
    problem: Problem, alive: Placement, search: Search, points: Sequence[Point], watch: Watch
) -> Iterable[FrontierPoint]:
    """Yield points as they are shown, each evaluated again; of many, those that time is left for.

    These lie evenly among all, the first and the last one with them.
    """
    last: tuple[float, ...] = ()
    shown, began = range(len(points)), watch.seconds
    for at, point in enumerate(points):
        if at == 1 and watch.left < math.inf:
            most = max(1, int(watch.left / max(1e-9, watch.seconds - began)))
            shown = range(0, len(points), -(-len(points) // most))
        if 0 < at < len(points) - 1 and (at not in shown or watch.stop):
            continue
        placement = renumbered(alive, search.placement(point), problem.fleet)
        found = evaluate(problem, placement)
        profile = point.profile
        second = next(
            (b for a, b in zip(last, profile, strict=False) if abs(a - b) > 1e-9 * abs(a)),
            profile[0],
        )
        last = profile
        todo = changes(alive, placement)
        state = search.state
        yield FrontierPoint(
            moves=len(todo),
            loaded_bytes=sum(state.loaded_bytes(j, c) for j, c in point.changed.items()),
            price=point.price,
            value=found.value,
            second=second,
            bound=min(search.bounds.at(point.price), found.value),
            placement=placement,
        )
