"""What part of the requests of each window is served in time, simulated request by request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.replan.history.demands import Demands, with_rates
from kvplace.simulate.run import simulate
from kvplace.workers import Workers

_TOGETHER = 8
"""Windows of one job."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What became of the simulated requests of one window.

    Parameters
    ----------
    requests, kept
        How many there were, and how many kept their objectives.
    """

    requests: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Job:
    """Windows in a row, with the placements that ran in each, every one once."""

    problem: Problem
    demands: Demands
    first: int
    placements: tuple[tuple[Placement, ...], ...]
    seconds: float


def served_shares(
    problem: Problem,
    demands: Demands,
    ran: Sequence[Sequence[Placement]],
    seconds: float,
    workers: Workers,
) -> list[list[Shown]]:
    """Simulate what ran in each window from the second on.

    Parameters
    ----------
    problem, demands
        What was asked.
    ran
        For each way of re-planning, the placement of each window; in a window, all meet the same
        requests.
    seconds
        How much of a window is simulated.
    workers
        Who shares the work.

    Raises
    ------
    InputError
        A model lacks what a simulation needs.
    """
    columns = [tuple(dict.fromkeys(column)) for column in zip(*ran, strict=True)]
    jobs = [
        _Job(
            problem,
            demands.part(1 + at, 1 + at + _TOGETHER),
            1 + at,
            tuple(columns[at : at + _TOGETHER]),
            seconds,
        )
        for at in range(0, len(columns), _TOGETHER)
    ]
    found = [one for some in workers.map(_simulated, jobs) for one in some]
    known = [
        dict(zip(column, some, strict=True)) for column, some in zip(columns, found, strict=True)
    ]
    return [[known[at][placement] for at, placement in enumerate(mine)] for mine in ran]


def _simulated(job: _Job) -> list[list[Shown]]:
    """Return, for each window of a job, what became of each of its placements."""
    found = []
    for at, placements in enumerate(job.placements):
        problem = with_rates(job.problem, job.demands.at(at))
        some = []
        for placement in placements:
            outcome = simulate(
                problem, placement, seeds=(job.first + at,), seconds=job.seconds, threads=1
            ).outcomes[0]
            kept = sum(model.kept for model in outcome.models)
            some.append(Shown(outcome.requests, kept))
        found.append(some)
    return found
