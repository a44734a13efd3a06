"""Several plans side by side: what is proved of each, what is forecast, what is served."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.served import served
from kvplace.solver.clock import Watch

__all__ = ["Compared", "compare"]


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
    watch: Watch | None = None,
) -> list[Compared]:
    """Compare plans; each gets the same requests.

    Parameters
    ----------
    plans
        By name; each must have a placement.
    level, seeds, seconds, burst, rules, times, threads, watch
        As in `kvplace.simulate.served.served`.
    prices
        What a GPU of each type costs per hour.

    Raises
    ------
    InputError
        A plan has no placement, a model lacks what a simulation needs, or a GPU type has no price.
    """
    watch, times = watch or Watch(), times or StepTimes()
    found = []
    for name, plan in plans.items():
        if plan.placement is None or plan.evaluation is None:
            raise InputError("this plan places nothing", name)
        if watch.stop:
            break
        problem, placement = plan.problem, plan.placement
        expected = forecast(problem, placement, burst=burst, rules=rules, times=times)
        loads, limited, complete = [], True, True
        for seed in dict.fromkeys(seeds):
            played = served(
                problem, placement, level=level, seeds=(seed,), seconds=seconds, burst=burst,
                rules=rules, times=times, threads=threads, watch=watch,
            )  # fmt: skip
            if not played.simulation.complete:
                complete = False
                break
            loads.append(played.load)
            limited &= played.limited
        busy = [gpu.type for gpu in plan.evaluation.gpus if gpu.shards]
        found.append(
            Compared(
                name, plan.value, plan.bound, problem.goal.value, expected.attainment,
                tuple(loads), limited, len(busy), _cost(busy, prices, name),
                tuple(expected.notes), complete,
            )
        )  # fmt: skip
    return found


def _cost(types: Sequence[str], prices: Mapping[str, float] | None, name: str) -> float | None:
    """Return what GPUs cost per hour."""
    if prices is None:
        return None
    missing = sorted(set(types) - prices.keys())
    if missing:
        raise InputError(f"there is no price for {', '.join(missing)}", name)
    return sum(prices[kind] for kind in types)
