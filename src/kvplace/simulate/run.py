"""The door of the simulation: loads and seeds, component by component, on all cores."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, what_runs
from kvplace.cores import usable_cores
from kvplace.errors import InputError
from kvplace.field_types import whole_number
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.answers import Answers, Usage, counted
from kvplace.simulate.events import ready
from kvplace.simulate.fleet import Engined, engines_of
from kvplace.simulate.outcome import Outcome, Simulation
from kvplace.simulate.running import Running
from kvplace.simulate.traffic import Drawn, Traffic
from kvplace.solver.clock import Watch
from kvplace.workers import Workers


def simulate(
    problem: Problem | Result,
    placement: Placement | Result | None = None,
    *,
    loads: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    seconds: float = 600.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    traffic: Callable[[float, int], Traffic] | None = None,
    threads: int | None = None,
    workers: Workers | None = None,
    watch: Watch | None = None,
) -> Simulation:
    """Simulate a placement under the demand of its problem.

    Parameters
    ----------
    problem, placement
        What runs where, or a result alone; the placement must be valid.
    loads
        Factors on the stated rates.
    seeds
        Of the requests; the same seed gives every placement the same requests.
    seconds
        Time in which requests arrive.
    burst
        Coefficient of variation of the gaps between arrivals; 1 is Poisson.
    rules
        How engines run.
    times
        Step times; computed from facts where None.
    traffic
        Requests by load and seed, instead of drawn ones.
    threads
        Cores to use; all where None. The result does not depend on it.
    workers
        Who simulates each load and seed instead of this process. The result does not depend on
        them either.
    watch
        Whom to tell, and whether to stop.

    Raises
    ------
    InputError
        The placement is not valid, a model lacks what a simulation needs, or a load is not above 0
        and finite, or the time, the burst factor or a seed means nothing.
    """
    problem, placement = what_runs(problem, placement)
    for load in loads:
        if not 0 < load < math.inf:
            raise InputError(f"a load must be above 0 and finite, not {load}")
    seeds = [whole_number("a seed", seed) for seed in seeds]
    threads = None if threads is None else whole_number("threads", threads, 1)
    rules, times, watch = rules or Rules(), times or StepTimes(), watch or Watch()
    made = traffic or Drawn(problem.models, seconds, burst)
    asked = [(load, seed) for load in sorted(set(loads)) for seed in dict.fromkeys(seeds)]
    if workers is None:
        engined = engines_of(problem, placement, rules, times)
        notes, played = engined.notes, _played(problem, engined, asked, made, rules, threads, watch)
    else:
        jobs = [_Job(problem, placement, load, seed, rules, times, made) for load, seed in asked]
        notes, played = (), workers.each(_at_work, jobs, lambda: watch.stop is not None)
    outcomes: list[Outcome] = []
    simulated = seconds
    for outcome, took, told in played:
        outcomes.append(outcome)
        simulated, notes = took, notes or told
        share = outcome.attainment
        watch.tell(f"simulated {len(outcomes)} of {len(asked)}, {share:.1%} in time", None)
    return Simulation(tuple(outcomes), simulated, len(outcomes) == len(asked), notes)


_Made = Callable[[float, int], Traffic]
_Played = tuple[Outcome, float, tuple[str, ...]]
"""An outcome, the seconds of its traffic, and what to know about its step times."""


def _played(
    problem: Problem,
    engined: Engined,
    asked: Sequence[tuple[float, int]],
    traffic: _Made,
    rules: Rules,
    threads: int | None,
    watch: Watch,
) -> Iterator[_Played]:
    """Yield the outcome of each load and seed, on the cores of this machine."""
    stop = np.zeros(1, np.int64)
    watch.tell("compiling the simulation, once after an installation")
    if not ready(lambda: watch.stop):
        return
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        # One outcome is prepared while the one before it runs.
        begun: list[tuple[float, int, Traffic, Running]] = []
        waiting = iter(asked)

        def begin() -> None:
            for load, seed in waiting:
                requests = traffic(load, seed)
                running = Running(problem, engined, requests, rules, pool, stop)
                begun.append((load, seed, requests, running))
                return

        begin()
        while begun:
            if not watch.stop:
                begin()
            load, seed, requests, running = begun.pop(0)
            answers, usage = running.result(watch, f"simulating load {load:.4g}, seed {seed}")
            if watch.stop:
                stop[0] = 1
                for *_, other in begun:
                    other.cancel()
                return
            found = counted(problem, engined, load, seed, requests, answers, usage)
            yield found, requests.seconds, engined.notes


@dataclass(frozen=True, slots=True)
class _Job:
    """One load and seed for somebody else to simulate."""

    problem: Problem
    placement: Placement
    load: float
    seed: int
    rules: Rules
    times: StepTimes
    traffic: _Made


def _at_work(job: _Job) -> _Played:
    """Simulate one load and seed on one core."""
    engined = engines_of(job.problem, job.placement, job.rules, job.times)
    asked = [(job.load, job.seed)]
    return next(_played(job.problem, engined, asked, job.traffic, job.rules, 1, Watch()))


def simulate_traffic(
    problem: Problem,
    placement: Placement,
    traffic: Traffic,
    *,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    threads: int | None = None,
) -> tuple[list[Answers], list[Usage]]:
    """Simulate one traffic, and return what became of every request and of every GPU."""
    rules = rules or Rules()
    engined = engines_of(problem, placement, rules, times or StepTimes())
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        stop = np.zeros(1, np.int64)
        running = Running(problem, engined, traffic, rules, pool, stop)
        return running.result(Watch())
