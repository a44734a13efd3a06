"""How much of its demand a placement serves: the largest load at which enough requests are in time.

The load is found on a grid, not by bisection: attainment falls with the load on the whole, but not
from every point to the next.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, what_runs
from kvplace.errors import InputError
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.outcome import Outcome, Simulation
from kvplace.simulate.run import simulate
from kvplace.simulate.traffic import Drawn, Traffic
from kvplace.solver.clock import Watch
from kvplace.workers import Workers

COARSE, FINE = math.sqrt(2), 4
"""Steps of the first grid, and into how many the one is cut in which attainment falls short."""

LEAST, MOST = 1 / 256, 256.0
"""Loads beyond which nobody looks."""


@dataclass(frozen=True, slots=True)
class Served:
    """The load that a placement serves.

    Parameters
    ----------
    load
        Factor on the stated demand up to which the level is kept; 0 where the least load that was
        tried falls short, and the largest tried where none does.
    level
        Part of the requests that must keep every objective.
    limited
        Whether a load that falls short was found, so that `load` is no mere lower limit.
    simulation
        Everything that was simulated.
    """

    load: float
    level: float
    limited: bool
    simulation: Simulation

    def grid(self) -> list[tuple[float, float]]:
        """Return load and attainment of every point, ascending."""
        return [(load, self.simulation.attainment(load)) for load in self.simulation.loads()]


def served(
    problem: Problem | Result,
    placement: Placement | Result | None = None,
    *,
    level: float = 0.95,
    seeds: Sequence[int] = (0,),
    seconds: float = 600.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    traffic: Callable[[float, int], Traffic] | None = None,
    threads: int | None = None,
    workers: Workers | None = None,
    watch: Watch | None = None,
) -> Served:
    """Find the largest load at which a part of all requests keeps every objective.

    Parameters
    ----------
    problem, placement
        What runs where, or a result alone.
    level
        The part, above 0 and up to 1.
    seeds, seconds, burst, rules, times, traffic, threads, workers, watch
        As in `kvplace.simulate`.

    Raises
    ------
    InputError
        As in `simulate`, or the level is not above 0 and up to 1.

    Notes
    -----
    Loads go up or down from 1 by a factor of the square root of 2 until attainment crosses the
    level; that step is then cut into four. Between the last load that keeps the level and the first
    that does not, attainment is taken as a straight line. Drawn requests of loads below 1 come in a
    stretch as much longer than `seconds`, so that each load has as many as the stated demand.
    """
    if not 0 < level <= 1:
        raise InputError(f"the level must be above 0 and up to 1, not {level}")
    problem, placement = what_runs(problem, placement)
    watch = watch or Watch()
    times = times or StepTimes()
    made = traffic or Drawn(problem.models, seconds, burst)
    if isinstance(made, Drawn):
        made = replace(made, stretched=True)
    outcomes: list[Outcome] = []
    last: Simulation | None = None
    complete = True

    def kept(loads: Sequence[float]) -> dict[float, bool]:
        nonlocal last, complete
        last = simulate(
            problem, placement, loads=loads, seeds=seeds, seconds=seconds, rules=rules,
            times=times, traffic=made, threads=threads, workers=workers, watch=watch,
        )  # fmt: skip
        complete &= last.complete
        outcomes.extend(last.outcomes)
        return {load: last.attainment(load) >= level for load in last.loads()}

    at = 1.0
    good = kept([at]).get(at, False)
    assert last is not None
    stated = last.seconds
    up = good
    while complete and LEAST < at < MOST and good is up:
        at = at * COARSE if up else at / COARSE
        good = kept([at]).get(at, False)
    if complete and good is not up:
        low = at / COARSE if up else at
        kept([low * COARSE ** (i / FINE) for i in range(1, FINE)])
    whole = replace(last, outcomes=tuple(outcomes), seconds=stated, complete=complete)
    return _served(whole, level)


def _served(simulation: Simulation, level: float) -> Served:
    """Return where the attainment of a simulation crosses a level."""
    points = [(load, simulation.attainment(load)) for load in simulation.loads()]
    load, limited = crossing(points, level)
    return Served(load, level, limited, simulation)


def crossing(points: Sequence[tuple[float, float]], level: float) -> tuple[float, bool]:
    """Return up to which load a level is kept, and whether a load falls short.

    Parameters
    ----------
    points
        Load and attainment, ascending in load.
    level
        What is to be kept.
    """
    before: tuple[float, float] | None = None
    for load, share in points:
        if share < level:
            if before is None:
                return 0.0, True
            part = (before[1] - level) / max(1e-12, before[1] - share)
            return before[0] + (load - before[0]) * min(1.0, part), True
        before = (load, share)
    return (before[0] if before else 0.0), False
