"""Policies of re-planning over a recorded demand, window by window.

What is done before a window rests on the demand of the window before it; what the placement is
worth is computed from the demand of the window itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.replan.budget.search import Search
from kvplace.replan.history.trigger import History, Policy, Seen, decide
from kvplace.replan.schedule.changes import changes, renumbered
from kvplace.solver.solve import solve

__all__ = ["Demands", "Plan", "Track", "Way", "backtest", "with_rates"]

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
class Demands:
    """Rates of every model in every window.

    Parameters
    ----------
    rates
        Requests per second by the name of the model, one per window.
    step_seconds
        Length of a window.
    """

    rates: Mapping[str, Sequence[float]]
    step_seconds: float

    def at(self, window: int) -> dict[str, float]:
        """Return the rate of each model in a window."""
        return {name: rates[window] for name, rates in self.rates.items()}

    def peaks(self) -> dict[str, float]:
        """Return the highest rate of each model."""
        return {name: max(rates) for name, rates in self.rates.items()}

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return min((len(rates) for rates in self.rates.values()), default=0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A way of re-planning with its limits.

    Parameters
    ----------
    way
        How.
    moves
        Changes allowed before each window, of ``budget`` and ``threshold``.
    gain
        As in `kvplace.replan.replan.Budget`.
    policy
        Of ``threshold``.
    """

    way: Way
    moves: float = math.inf
    gain: float = 0.01
    policy: Policy = _POLICY


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
    """

    way: str
    values: tuple[float, ...]
    moves: tuple[int, ...]
    loaded_bytes: tuple[int, ...]
    step_seconds: float

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


def with_rates(problem: Problem, rates: Mapping[str, float]) -> Problem:
    """Return a problem under other rates; models without one keep theirs."""
    models = tuple(
        replace(m, demand=replace(m.demand, requests_per_second=rates[m.name]))
        if m.name in rates and rates[m.name] != m.demand.requests_per_second
        else m
        for m in problem.models
    )
    return replace(problem, models=models)


def backtest(
    problem: Problem,
    demands: Demands,
    plans: Sequence[Plan],
    *,
    start: Placement | None = None,
    processes: int = 1,
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
    processes
        How many processes share the work; the outcome is the same for any number.

    Raises
    ------
    InputError
        There are fewer than two windows, or no plan is valid for the first of them.
    """
    if demands.windows < 2:
        raise InputError(f"{demands.windows} windows are too few to replay; two are needed")
    first = with_rates(problem, demands.at(0))
    running = start or _fresh(first)
    if running is None or not evaluate(first, running).valid:
        raise InputError("there is no valid plan to start with")
    if processes <= 1 or len(plans) <= 1:
        return [_replay(problem, demands, plan, running) for plan in plans]
    # What a problem has worked out meanwhile stays here; another process works it out again.
    stated = {field.name: getattr(problem, field.name) for field in fields(problem)}
    jobs = [(stated, demands, plan, running) for plan in plans]
    with ProcessPoolExecutor(min(processes, len(jobs))) as pool:
        return list(pool.map(_replay_stated, *zip(*jobs, strict=True)))


def _fresh(problem: Problem) -> Placement | None:
    """Return a plan that does not look at what runs; the same on every machine and at any load."""
    return solve(problem, gap=_GAP, iterations=_ITERATIONS).placement


def _replay_stated(
    stated: Mapping[str, Any], demands: Demands, plan: Plan, start: Placement
) -> Track:
    """Replay one way of re-planning in a process of its own."""
    return _replay(Problem(**stated), demands, plan, start)


def _replay(problem: Problem, demands: Demands, plan: Plan, start: Placement) -> Track:
    """Replay one way of re-planning."""
    placement, history = start, History()
    if plan.way is Way.PEAK:
        placement = _fresh(with_rates(problem, demands.peaks())) or start
    values, moves, loaded = [], [], []
    for window in range(1, demands.windows):
        known = with_rates(problem, demands.at(window - 1))
        after, history = _next(known, placement, plan, history, window * demands.step_seconds)
        todo = changes(placement, after)
        moves.append(len(todo))
        loaded.append(sum(_size(problem, change.model) for change in todo if change.kind != "stop"))
        placement = after
        values.append(evaluate(with_rates(problem, demands.at(window)), placement).value)
    return Track(plan.way.value, tuple(values), tuple(moves), tuple(loaded), demands.step_seconds)


def _size(problem: Problem, name: str) -> int:
    return problem.models[problem.index_of[name]].weights_bytes


def _next(
    problem: Problem, running: Placement, plan: Plan, history: History, seconds: float
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
