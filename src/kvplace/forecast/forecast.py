"""The door of the forecast: what a placement is expected to serve, model by model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kvplace.core.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.forecast.attainment import first_token_chance, token_chance
from kvplace.forecast.copies import Copies, copies_of
from kvplace.forecast.mean_field import settle
from kvplace.forecast.records import ENGINE, GPU, MPS, NONE, SLICE
from kvplace.forecast.rules import Rules, Sharing
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes

__all__ = ["Forecast", "GPUForecast", "ModelForecast", "forecast"]

PROMPT_CV, OUTPUT_CV = 1.0, 0.8
"""Coefficients of variation of token counts where only means are known."""

ITERATIONS = 200
_STEPS = 64
"""Batches whose step times are tabled; beyond, they grow in proportion."""

_SHARING = {Sharing.SLICE: SLICE, Sharing.MPS: MPS, Sharing.NONE: NONE}
_FIELDS = [field.name for field in fields(StepTime)]


@dataclass(frozen=True, slots=True)
class ModelForecast:
    """What is expected of one model, over all its copies.

    Parameters
    ----------
    name
        Of the model.
    ttft_seconds, tpot_seconds
        Mean time to the first token and per output token.
    requests
        Mean requests in the system.
    attainment
        Part of the requests that keep every objective; 1 without demand.
    slow_down
        How much slower its steps are than alone on their GPUs.
    """

    name: str
    ttft_seconds: float
    tpot_seconds: float
    requests: float
    attainment: float
    slow_down: float


@dataclass(frozen=True, slots=True)
class GPUForecast:
    """What is expected of one GPU.

    Parameters
    ----------
    id
        Of the GPU.
    pool_used
        Mean KV bytes in use as a part of the pool.
    pool_overflow
        Chance that more KV is asked for than the pool holds.
    busy
        Part of the time in which at least one step runs.
    attainment
        Part of the requests of its engines that keep every objective.
    pressure
        The largest of time per token / objective, TTFT / objective and `pool_used`.
    """

    id: str
    pool_used: float
    pool_overflow: float
    busy: float
    attainment: float
    pressure: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a placement is expected to serve; an expectation, which proves nothing.

    Parameters
    ----------
    models, gpus
        In the order of the problem and of the fleet.
    load
        Factor on the stated demand.
    settled
        Whether the fixed point was reached.
    notes
        What to know about the figures.
    """

    models: Sequence[ModelForecast]
    gpus: Sequence[GPUForecast]
    rates: Sequence[float]
    load: float
    settled: bool
    notes: Sequence[str]

    @property
    def attainment(self) -> float:
        """Part of all requests that keep every objective."""
        total = sum(self.rates)
        if not total:
            return 1.0
        kept = sum(r * m.attainment for r, m in zip(self.rates, self.models, strict=True))
        return kept / total

    @property
    def mean_attainment(self) -> float:
        """Mean of the attainments of the models that are asked for."""
        asked = [m.attainment for r, m in zip(self.rates, self.models, strict=True) if r]
        return sum(asked) / len(asked) if asked else 1.0

    @property
    def pressure(self) -> float:
        """The largest pressure of a GPU."""
        return max(gpu.pressure for gpu in self.gpus)


def forecast(
    problem: Problem,
    placement: Placement,
    *,
    load: float = 1.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
) -> Forecast:
    """Forecast what a placement serves.

    Parameters
    ----------
    problem, placement
        What runs where; the placement must be valid.
    load
        Factor on the stated rates.
    burst
        Coefficient of variation of the gaps between arrivals; 1 is Poisson.
    rules
        How engines run.
    times
        Step times; computed from facts where None.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks what a forecast needs.
    """
    rules = rules or Rules()
    copies = copies_of(problem, placement, times or StepTimes())
    engines, gpus, lists = _records(problem, copies, rules, load, burst)
    steps = np.zeros((len(engines), _STEPS))
    took = settle(engines, gpus, lists, steps, _SHARING[rules.sharing], ITERATIONS)
    used, overflow = _pools(copies, engines)
    busy = _busy(engines, gpus, lists)
    return _forecast(problem, copies, engines, used, overflow, busy, load, took < ITERATIONS)


def _records(
    problem: Problem, copies: Copies, rules: Rules, load: float, burst: float
) -> tuple[Any, Any, Any]:
    """Return the engines and GPUs as records, with what they do still open."""
    faults = [
        Fault("a forecast needs it", f"{m.name}.demand.{name}")
        for m in problem.models
        if m.demand.requests_per_second > 0
        for name in ("prompt_tokens", "output_tokens")
        if getattr(m.demand, name) is None
    ]
    if faults:
        raise InputError(faults)
    engines, gpus = np.zeros(len(copies.copies), ENGINE), np.zeros(len(copies.pools), GPU)
    lists: list[int] = []
    on_gpu: list[list[int]] = [[] for _ in copies.pools]
    rows = []
    for at, copy in enumerate(copies.copies):
        first = len(lists)
        lists.extend(copy.gpus)
        for gpu in copy.gpus:
            on_gpu[gpu].append(at)
        demand = problem.models[copy.model].demand
        prompt, output = demand.prompt_tokens or 1.0, max(1.0, demand.output_tokens or 1.0)
        # A decoded token sees the half of an output that is weighted by its length.
        context = prompt + output / 2 * (1 + OUTPUT_CV**2)
        rate = demand.requests_per_second * load * copy.part
        rows.append((first, len(lists), rate, prompt, output, context))
    columns = zip(*rows, strict=True)
    for name, column in zip(
        ("first_gpu", "end_gpu", "rate", "prompt", "output", "context"), columns, strict=True
    ):
        engines[name] = column
    costs = np.array([copy.costs for copy in copies.copies])
    for at, name in enumerate(_FIELDS):
        engines[name] = costs[:, at]
    engines["sequences"] = rules.max_sequences
    engines["host_seconds"] = rules.host_seconds
    engines["host_seconds_per_sequence"] = rules.host_seconds_per_sequence
    engines["peakedness"] = (1 + burst**2) / 2
    for at, held in enumerate(on_gpu):
        gpus[at]["first_engine"] = len(lists)
        lists.extend(held)
        gpus[at]["end_engine"] = len(lists)
    return engines, gpus, np.array(lists, np.int64)


def _pools(copies: Copies, engines: Any) -> tuple[list[float], list[float]]:
    """Return the mean use of each pool, and the chance that it is not enough.

    Requests in the system are as good as Poisson (times the peakedness), and each holds its prompt
    and half of an output, weighted by length; sums of many are normal.
    """
    mean, variance = np.zeros(len(copies.pools)), np.zeros(len(copies.pools))
    for copy, engine in zip(copies.copies, engines, strict=True):
        held = copy.token_bytes * float(engine["context"]) + copy.sequence_bytes
        spread = copy.token_bytes * math.hypot(
            PROMPT_CV * float(engine["prompt"]), float(engine["output"]) / 2
        )
        number = float(engine["number"])
        for gpu in copy.gpus:
            mean[gpu] += number * held
            variance[gpu] += number * (held**2 * float(engine["peakedness"]) + spread**2)
    used, overflow = [], []
    for gpu, pool in enumerate(copies.pools):
        used.append(float(mean[gpu]) / pool if pool else math.inf if mean[gpu] else 0.0)
        sigma = math.sqrt(float(variance[gpu]))
        excess = (float(mean[gpu]) - pool) / sigma if sigma else -math.inf
        overflow.append(0.5 * math.erfc(-excess / math.sqrt(2)) if sigma else 0.0)
    return used, overflow


def _busy(engines: Any, gpus: Any, lists: Any) -> list[float]:
    """Return the part of the time in which a step runs on each GPU."""
    found = []
    for gpu in gpus:
        idle = 1.0
        for at in range(int(gpu["first_engine"]), int(gpu["end_engine"])):
            idle *= 1 - float(engines[lists[at]]["busy"])
        found.append(1 - idle)
    return found


def _forecast(
    problem: Problem,
    copies: Copies,
    engines: Any,
    used: list[float],
    overflow: list[float],
    busy: list[float],
    load: float,
    settled: bool,
) -> Forecast:
    """Turn the fixed point into what people ask for."""
    models: list[ModelForecast] = []
    rates: list[float] = []
    asked, kept = np.zeros(len(copies.pools)), np.zeros(len(copies.pools))
    pressure = list(used)
    others = _others(copies, engines)
    for index, model in enumerate(problem.models):
        mine = copies.of_model[index]
        rate = float(sum(engines[at]["rate"] for at in mine))
        rates.append(rate)
        if rate == 0:
            models.append(ModelForecast(model.name, 0.0, 0.0, 0.0, 1.0, 1.0))
            continue
        sums = np.zeros(5)
        for at in mine:
            copy, engine = copies.copies[at], engines[at]
            ttft, chance = _attainment(model, engine, others[at])
            worst = max(overflow[gpu] for gpu in copy.gpus)
            chance *= 1 - worst
            part = float(engine["rate"]) / rate
            tpot = float(engine["tpot"])
            sums += part * np.array([ttft, tpot, 0.0, chance, float(engine["slow"])])
            sums[2] += float(engine["number"])
            ratio = max(
                tpot / (model.slo.tpot_seconds or math.inf),
                ttft / (model.slo.ttft_seconds or math.inf),
            )
            for gpu in copy.gpus:
                asked[gpu] += float(engine["rate"])
                kept[gpu] += float(engine["rate"]) * chance
                pressure[gpu] = max(pressure[gpu], ratio)
        models.append(ModelForecast(model.name, *map(float, sums)))
    gpus = [
        GPUForecast(
            gpu.id, used[at], overflow[at], busy[at],
            float(kept[at] / asked[at]) if asked[at] else 1.0, pressure[at],
        )
        for at, gpu in enumerate(problem.fleet.gpus)
    ]  # fmt: skip
    return Forecast(tuple(models), tuple(gpus), tuple(rates), load, settled, copies.notes)


def _others(copies: Copies, engines: Any) -> list[list[tuple[float, float]]]:
    """Return, for each engine, how often each other one on its first GPU steps, and for how long.

    How long is the time over which it changes: the mean stay of its requests.
    """
    on_gpu: dict[int, list[int]] = {}
    for at, copy in enumerate(copies.copies):
        for gpu in copy.gpus:
            on_gpu.setdefault(gpu, []).append(at)
    found = []
    for at, copy in enumerate(copies.copies):
        beside = sorted({e for gpu in copy.gpus for e in on_gpu[gpu]} - {at})
        pairs = []
        for e in beside:
            rate, number = float(engines[e]["rate"]), float(engines[e]["number"])
            if rate > 0:
                pairs.append((float(engines[e]["busy"]), number / rate))
        found.append(pairs)
    return found


def _attainment(
    model: Model, engine: Any, others: list[tuple[float, float]]
) -> tuple[float, float]:
    """Return the mean TTFT of one engine, and the part of its requests that keep all objectives."""
    slow, gap = float(engine["slow"]), float(engine["host_seconds"])
    prompt = float(engine["first_seconds"])
    prefilling = min(0.95, float(engine["rate"]) * float(engine["prompt_seconds"]) * slow)
    decoding = 1 - float(engine["idle"])
    step = float(engine["step"])
    # Half a step until the next one, the prompts before it, and its own with the batch beside.
    spread = (float(engine["peakedness"]) * 2 - 1 + PROMPT_CV**2) / 2  # Kingman's formula
    ahead = prefilling / (1 - prefilling) * prompt * spread
    alone = decoding * step / 2 + ahead + prompt + decoding * step * 0.5
    ttft = alone * slow + gap
    stay = float(engine["output"]) * float(engine["tpot"]) + ttft
    good = 1.0 - float(engine["full"])
    if model.slo.ttft_seconds is not None:
        good *= first_token_chance(
            model.slo.ttft_seconds - gap, alone, prompt * PROMPT_CV, step, others, slow
        )
    if model.slo.tpot_seconds is not None and engine["output"] > 1:
        good *= token_chance(
            model.slo.tpot_seconds, float(engine["tpot"]), float(engine["tpot_variance"]),
            stay, others, slow,
        )  # fmt: skip
    if model.slo.latency_seconds is not None:
        good *= token_chance(model.slo.latency_seconds, stay, (stay * OUTPUT_CV) ** 2, 0.0, [], 1.0)
    return ttft, good
