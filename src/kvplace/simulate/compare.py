"""Several plans side by side: what is proved of each, what is forecast, what is served."""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, evaluated, placed
from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import price_of
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.served import served
from kvplace.solver.clock import Watch
from kvplace.workers import Workers


@dataclass(frozen=True, slots=True)
class Compared:
    """One plan among others.

    Parameters
    ----------
    name
        Of its file, or as given.
    value, bound, objective
        The proved pressure of its worst GPU under its objective, and the bound on it.
    attainment
        Part of the requests that the forecast expects in time at the stated demand.
    loads
        For each seed, the factor on the stated demand that is served.
    limited
        Whether a load that is not served was found for every seed.
    gpus
        GPUs that hold something.
    cost_per_hour
        Of those; None without prices.
    notes
        What to know about the step times.
    complete
        Whether it was simulated to the end.
    """

    name: str
    value: float
    bound: float
    objective: str
    attainment: float
    loads: tuple[float, ...]
    limited: bool
    gpus: int
    cost_per_hour: float | None
    notes: tuple[str, ...]
    complete: bool

    @property
    def load(self) -> float:
        """Mean served load over the seeds."""
        return statistics.fmean(self.loads) if self.loads else math.nan

    @property
    def spread(self) -> float | None:
        """Half the width of the 90 % interval of the mean; None with one seed."""
        if len(self.loads) < 2:
            return None
        quantile = _T90[min(len(self.loads) - 1, len(_T90)) - 1]
        return quantile * statistics.stdev(self.loads) / math.sqrt(len(self.loads))


_T90 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771,
        1.761, 1.753, 1.746, 1.740, 1.734, 1.729)  # fmt: skip
"""95 % quantiles of Student's t by degrees of freedom from 1; 1.729 is used beyond 19."""


def compare(
    plans: Mapping[str, Result],
    *,
    level: float = 0.95,
    seeds: Sequence[int] = (0, 1, 2),
    seconds: float = 600.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    prices: Mapping[str, float] | None = None,
    threads: int | None = None,
    workers: Workers | None = None,
    watch: Watch | None = None,
) -> list[Compared]:
    """Compare plans; each gets the same requests.

    Parameters
    ----------
    plans
        By name; each must have a placement.
    level, seeds, seconds, burst, rules, times, threads, watch
        As in `kvplace.served`.
    workers
        Who simulates each plan under each seed instead of this process.
    prices
        What a GPU of each type costs per hour.

    Raises
    ------
    InputError
        A plan has no placement, a model lacks what a simulation needs, or a GPU type has no price.
    """
    watch, times = watch or Watch(), times or StepTimes()
    for name, plan in plans.items():
        if plan.placement is None or plan.evaluation is None:
            raise InputError("this plan places nothing", name)
    costs = [_cost(plan, prices, name) for name, plan in plans.items()]
    settings: dict[str, Any] = {
        "level": level, "seconds": seconds, "burst": burst, "rules": rules, "times": times,
    }  # fmt: skip
    drawn = list(dict.fromkeys(seeds))
    jobs = [_Job(plan.problem, placed(plan), seed, settings) for plan in plans.values()
            for seed in drawn]  # fmt: skip
    played: Iterator[_Played]
    if workers is None:
        played = (job.served(threads, watch) for job in jobs)
    else:
        played = workers.each(_at_work, jobs, lambda: watch.stop is not None)
    found = []
    for (name, plan), cost in zip(plans.items(), costs, strict=True):
        if watch.stop:
            break
        expected = forecast(plan, burst=burst, rules=rules, times=times)
        mine = [one for one in itertools.islice(played, len(drawn)) if one.complete]
        watch.tell(f"simulated {name}")
        busy = [gpu for gpu in evaluated(plan).gpus if gpu.shards]
        found.append(
            Compared(
                name, plan.value, plan.bound, plan.problem.goal.value, expected.attainment,
                tuple(one.load for one in mine), all(one.limited for one in mine), len(busy), cost,
                tuple(expected.notes), len(mine) == len(drawn),
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class _Played:
    """What one plan serves under one seed."""

    load: float
    limited: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class _Job:
    """One plan and seed to be simulated, with the settings of `served`."""

    problem: Problem
    placement: Placement
    seed: int
    settings: Mapping[str, Any]

    def served(self, threads: int | None, watch: Watch) -> _Played:
        """Find the load that is served."""
        found = served(
            self.problem, self.placement, seeds=(self.seed,), threads=threads, watch=watch,
            **self.settings,
        )  # fmt: skip
        return _Played(found.load, found.limited, found.simulation.complete)


def _at_work(job: _Job) -> _Played:
    """Simulate one plan and seed on one core."""
    return job.served(1, Watch())


def _cost(plan: Result, prices: Mapping[str, float] | None, name: str) -> float | None:
    """Return what the GPUs that a plan uses cost per hour."""
    if prices is None:
        return None
    types = [gpu.type for gpu in evaluated(plan).gpus if gpu.shards]
    known = {kind: price_of(prices, kind) for kind in set(types)}
    missing = sorted(kind for kind, price in known.items() if price is None)
    if missing:
        raise InputError(f"there is no price for {', '.join(missing)}", name)
    return sum(known[kind] or 0.0 for kind in types)
