"""What became of requests and GPUs, and how many kept their objectives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kvplace.core.models.model import Model
from kvplace.core.problem import Problem
from kvplace.simulate.fleet import Engined
from kvplace.simulate.outcome import GPUOutcome, ModelOutcome, Outcome
from kvplace.simulate.traffic import ModelTraffic, Traffic
from kvplace.solver.array_types import Bools, Floats, Ints

WARM_UP = 0.1
"""Part of the time whose requests are not counted: the fleet starts empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What became of each request of one model.

    Parameters
    ----------
    arrival, first, finish
        (r,) seconds; ``inf`` for what did not happen.
    output
        (r,) tokens asked for.
    preempted
        (r,) recomputations.
    engine
        (r,) position in `Engined.copies`.
    too_long
        (r,) whether no pool can hold it.
    """

    arrival: Floats
    first: Floats
    finish: Floats
    output: Ints
    preempted: Ints
    engine: Ints
    too_long: Bools

    @property
    def ttft_seconds(self) -> Floats:
        """Time to the first token."""
        return self.first - self.arrival

    @property
    def tpot_seconds(self) -> Floats:
        """Time per output token after the first; 0 where there is one token."""
        rest = np.full(len(self.finish), np.inf)
        np.subtract(self.finish, self.first, out=rest, where=np.isfinite(self.finish))
        found: Floats = np.where(self.output > 1, rest / np.maximum(1, self.output - 1), 0.0)
        return found

    def kept(self, model: Model) -> Bools:
        """Return which requests kept every objective of their model."""
        slo = model.slo
        good: Bools = np.isfinite(self.finish)
        if slo.ttft_seconds is not None:
            good &= self.ttft_seconds <= slo.ttft_seconds
        if slo.tpot_seconds is not None:
            good &= self.tpot_seconds <= slo.tpot_seconds
        if slo.latency_seconds is not None:
            good &= self.finish - self.arrival <= slo.latency_seconds
        return good


@dataclass(frozen=True, slots=True)
class Usage:
    """A GPU over the simulated time.

    Parameters
    ----------
    peak_bytes, mean_bytes
        KV held.
    busy
        Part of the time in which a step ran.
    preemptions
        By its engines.
    """

    peak_bytes: int
    mean_bytes: float
    busy: float
    preemptions: int


def unanswered(one: ModelTraffic, too_long: Bools) -> Answers:
    """Return requests of which nothing is known yet."""
    arrival, output = one.arrival, one.output
    count = len(arrival)
    return Answers(
        arrival,
        np.full(count, np.inf),
        np.full(count, np.inf),
        output,
        np.zeros(count, np.int64),
        np.full(count, -1),
        too_long,
    )


def counted(
    problem: Problem,
    engined: Engined,
    load: float,
    seed: int,
    traffic: Traffic,
    answers: Sequence[Answers],
    usage: Sequence[Usage],
) -> Outcome:
    """Count who kept the objectives."""
    start = WARM_UP * traffic.seconds
    models = []
    asked, kept = np.zeros(len(engined.copies), np.int64), np.zeros(len(engined.copies), np.int64)
    for model, one in zip(problem.models, answers, strict=True):
        counted = one.arrival >= start
        good = one.kept(model) & counted
        done = counted & np.isfinite(one.finish)
        ttft, tpot = one.ttft_seconds[done], one.tpot_seconds[done & (one.output > 1)]
        served = counted & (one.engine >= 0)
        asked += np.bincount(one.engine[served], minlength=len(asked))
        kept += np.bincount(one.engine[served & good], minlength=len(kept))
        models.append(
            ModelOutcome(
                model.name,
                int(counted.sum()),
                int(good.sum()),
                int((counted & ~np.isfinite(one.finish) & ~one.too_long).sum()),
                int((counted & one.too_long).sum()),
                *_mean_and_p99(ttft),
                *_mean_and_p99(tpot),
                int(one.preempted.sum()),
            )
        )
    on_gpu = np.zeros((len(engined.pools), 2), np.int64)
    for engine, copy in enumerate(engined.copies):
        for gpu in copy.gpus:
            on_gpu[gpu] += (asked[engine], kept[engine])
    gpus = [
        GPUOutcome(
            gpu.id, int(on_gpu[at, 0]), int(on_gpu[at, 1]), engined.pools[at],
            usage[at].peak_bytes, usage[at].mean_bytes, usage[at].busy, usage[at].preemptions,
        )
        for at, gpu in enumerate(problem.fleet.gpus)
    ]  # fmt: skip
    return Outcome(load, seed, tuple(models), tuple(gpus))


def _mean_and_p99(values: Floats) -> tuple[float | None, float | None]:
    if not len(values):
        return None, None
    return float(values.mean()), float(np.percentile(values, 99))
