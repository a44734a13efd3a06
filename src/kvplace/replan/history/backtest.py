"""Policies of re-planning over a recorded demand, window by window.

What is done before a window rests on the demand of the window before it; what the placement is
worth is computed from the demand of the window itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.field_types import hold_types
from kvplace.replan.budget.search import Search
from kvplace.replan.history.demands import Demands, with_rates
from kvplace.replan.history.served import served_shares
from kvplace.replan.history.trigger import History, Policy, Seen, decide
from kvplace.replan.schedule.changes import changes, renumbered
from kvplace.solver.solve import solve
from kvplace.units import format_count
from kvplace.workers import Workers

_POLICY = Policy()
_GAP, _ITERATIONS = 0.02, 200
"""When a plan made afresh is good enough, and most steps that it may take."""


class Way(StrEnum):
    """How a fleet is re-planned.

    ``never``
        The first plan stays.
    ``peak``
        One plan, made for each model's own highest rate, stays: windows planned together.
    ``scratch``
        A fresh plan before every window.
    ``budget``
        Before every window the best placement within the budget.
    ``threshold``
        The same, where the policy of `kvplace.replan.history.trigger` says so.
    """

    NEVER = "never"
    PEAK = "peak"
    SCRATCH = "scratch"
    BUDGET = "budget"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way of re-planning with its limits.

    Parameters
    ----------
    way
        ``never``: the first plan stays. ``peak``: one plan, made for each model's own highest rate,
        stays. ``scratch``: a fresh plan before every window. ``budget``: before every window the
        best placement within the budget. ``threshold``: the same, where the policy says so.
    moves
        Changes allowed before each window, of ``budget`` and ``threshold``.
    gain
        As in `kvplace.Budget`.
    policy
        Of ``threshold``.

    Raises
    ------
    InputError
        There is no such way.
    """

    way: Way
    moves: float = math.inf
    gain: float = 0.01
    policy: Policy = _POLICY

    def __post_init__(self) -> None:
        hold_types(self)


@dataclass(frozen=True, slots=True)
class Track:
    """What became of one way of re-planning.

    Parameters
    ----------
    way
        Which.
    values
        Highest pressure in each window.
    moves, loaded_bytes
        Changes made before each window, and the weights that they read.
    step_seconds
        Length of a window.
    requests, kept
        Simulated requests of each window, and those of them that kept their objectives; empty
        where nothing was simulated.
    """

    way: str
    values: tuple[float, ...]
    moves: tuple[int, ...]
    loaded_bytes: tuple[int, ...]
    step_seconds: float
    requests: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    @property
    def served(self) -> float | None:
        """Part of the simulated requests that kept their objectives; None without any."""
        total = sum(self.requests)
        return sum(self.kept) / total if total else None

    @property
    def mean(self) -> float:
        """Mean of the highest pressures."""
        return math.fsum(self.values) / len(self.values)

    @property
    def peak(self) -> float:
        """Highest of all."""
        return max(self.values)

    def seconds_over(self, target: float) -> float:
        """Return the time in which the highest pressure is above a target."""
        return self.step_seconds * sum(value > target for value in self.values)


def backtest(
    problem: Problem,
    demands: Demands,
    plans: Sequence[Strategy],
    *,
    start: Placement | None = None,
    simulated_seconds: float = 0.0,
    workers: Workers | None = None,
) -> list[Track]:
    """Replay a demand under several ways of re-planning.

    Parameters
    ----------
    problem
        Models and fleet; rates are taken from the demand.
    demands
        What was asked.
    plans
        Ways of re-planning.
    start
        What runs before the first window; a fresh plan for its demand where not given.
    simulated_seconds
        How much of each window is simulated request by request, to see what is served; 0 for
        nothing. Placements meet the same requests.
    workers
        Who shares the work; the outcome does not depend on it.

    Raises
    ------
    InputError
        There are fewer than two windows, no plan is valid for the first of them, or a model lacks
        what a simulation needs.
    """
    if demands.windows < 2:
        raise InputError(
            f"a replay needs two windows; this has {format_count(demands.windows, 'window')}"
        )
    first = with_rates(problem, demands.at(0))
    running = start or _fresh(first)
    if running is None or not evaluate(first, running).valid:
        raise InputError("there is no valid plan to start with")
    workers = workers or Workers()
    shown = workers.map(_replay_one, [(problem, demands, plan, running) for plan in plans])
    tracks = [track for track, _ in shown]
    if simulated_seconds <= 0:
        return tracks
    seen = served_shares(
        problem, demands, [placements for _, placements in shown], simulated_seconds, workers
    )
    return [
        replace(track, requests=tuple(s.requests for s in mine), kept=tuple(s.kept for s in mine))
        for track, mine in zip(tracks, seen, strict=True)
    ]


def _fresh(problem: Problem) -> Placement | None:
    """Return a plan that does not look at what runs; the same on every machine and at any load."""
    return solve(problem, gap=_GAP, iterations=_ITERATIONS).placement


def _replay_one(
    job: tuple[Problem, Demands, Strategy, Placement],
) -> tuple[Track, tuple[Placement, ...]]:
    """Replay one way of re-planning; also return what ran in each window from the second on."""
    problem, demands, plan, start = job
    placement, history = start, History()
    if plan.way is Way.PEAK:
        placement = _fresh(with_rates(problem, demands.peaks())) or start
    values, moves, loaded, shown = [], [], [], []
    for window in range(1, demands.windows):
        known = with_rates(problem, demands.at(window - 1))
        after, history = _next(known, placement, plan, history, window * demands.step_seconds)
        todo = changes(placement, after)
        moves.append(len(todo))
        loaded.append(sum(_size(problem, change.model) for change in todo if change.kind != "stop"))
        placement = after
        shown.append(placement)
        values.append(evaluate(with_rates(problem, demands.at(window)), placement).value)
    track = Track(plan.way.value, tuple(values), tuple(moves), tuple(loaded), demands.step_seconds)
    return track, tuple(shown)


def _size(problem: Problem, name: str) -> int:
    return problem.models[problem.index_of[name]].weights_bytes


def _next(
    problem: Problem, running: Placement, plan: Strategy, history: History, seconds: float
) -> tuple[Placement, History]:
    """Return what runs next, given what the last window asked for."""
    if plan.way in (Way.NEVER, Way.PEAK):
        return running, history
    if plan.way is Way.SCRATCH:
        found = _fresh(problem)
        return (running if found is None else renumbered(running, found, problem.fleet)), history
    search = Search(problem, running, gain=plan.gain)
    search.run(plan.moves, quick=True)
    point = search.best(plan.moves)
    if point is None:
        return running, history
    after = renumbered(running, search.placement(point), problem.fleet)
    if plan.way is Way.BUDGET:
        return after, history
    now = evaluate(problem, running)
    todo = changes(running, after)
    seen = Seen(
        seconds,
        now.value,
        evaluate(problem, after).value,
        sum(_size(problem, c.model) for c in todo if c.kind != "stop"),
        len(todo),
        needed=not now.valid,
    )
    decision = decide(plan.policy, seen, history)
    return (after if decision.act else running), decision.history
