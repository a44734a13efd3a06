"""The door of the forecast: what a placement is expected to serve, model by model."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, what_runs
from kvplace.errors import Fault, InputError
from kvplace.forecast.attainment import attain
from kvplace.forecast.copies import Copies, copies_of
from kvplace.forecast.mean_field import settle
from kvplace.forecast.outcome import Forecast, GPUForecast, ModelForecast
from kvplace.forecast.records import ENGINE, GPU, MPS, NONE, SLICE
from kvplace.forecast.rules import Rules, Sharing
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes
from kvplace.solver.clock import Watch
from kvplace.solver.kernels import interpreted, is_compiled

__all__ = ["Forecast", "GPUForecast", "ModelForecast", "expected", "forecast"]

ITERATIONS = 200
STEPS = 64
"""Batches whose step times are tabled; beyond, they grow in proportion."""

MOST_FACTOR = 1e9
"""Largest factor on rates and on the spread of arrivals."""

FEW = 32
"""Engines up to which kernels that are not compiled yet are interpreted: compiling takes 10 s."""

SHARING = {Sharing.SLICE: SLICE, Sharing.MPS: MPS, Sharing.NONE: NONE}
_FIELDS = StepTime._fields


def forecast(
    problem: Problem | Result,
    placement: Placement | Result | None = None,
    *,
    load: float = 1.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    evaluation: Evaluation | None = None,
    watch: Watch | None = None,
) -> Forecast:
    """Forecast what a placement serves.

    Parameters
    ----------
    problem, placement
        What runs where, or a result alone; the placement must be valid.
    load
        Factor on the stated rates.
    burst
        Coefficient of variation of the gaps between arrivals; 1 is Poisson. Where a demand states
        its `dispersion`, the root of that is multiplied by it.
    rules
        How engines run.
    times
        Step times; computed from facts where None.
    evaluation
        The placement's, where it is known: a result alone has its own. Made anew where None.
    watch
        Is told where kernels are compiled.

    Raises
    ------
    InputError
        The placement is not valid, a model lacks what a forecast needs, or a factor means nothing.
    """
    if isinstance(problem, Result) and placement is None:
        evaluation = evaluation or problem.evaluation
    problem, placement = what_runs(problem, placement)
    copies = copies_of(problem, placement, times or StepTimes(), evaluation)
    return expected(problem, copies, load=load, burst=burst, rules=rules or Rules(), watch=watch)


def expected(
    problem: Problem,
    copies: Copies,
    *,
    load: float,
    burst: float,
    rules: Rules,
    watch: Watch | None = None,
) -> Forecast:
    """Forecast what engines serve; parameters as in `forecast`."""
    engines, gpus, lists = records_of(problem, copies, rules, load, burst)
    took, ready = None, is_compiled(settle) and is_compiled(attain)
    if len(engines) <= FEW and not ready:
        tried = engines.copy(), gpus.copy()
        # What compiled code makes an infinite number of is an error here.
        with suppress(ArithmeticError, ValueError), np.errstate(all="ignore"):
            took = _settled(interpreted(settle), interpreted(attain), *tried, lists, rules)
            engines, gpus = tried
    if took is None:
        if watch is not None and not ready:
            watch.tell("compiling the forecast, once after an installation")
        took = _settled(settle, attain, engines, gpus, lists, rules)
    return _forecast(problem, copies, engines, gpus, load, took < ITERATIONS)


def _settled(
    settle: Callable[..., int], attain: Callable[..., None], engines: Any, gpus: Any, lists: Any,
    rules: Rules,
) -> int:  # fmt: skip
    """Put what engines do into their records; return the iterations taken."""
    steps = np.zeros((len(engines), STEPS))
    took = settle(engines, gpus, lists, steps, SHARING[rules.sharing], rules.slice_loss, ITERATIONS)
    attain(engines, gpus, lists)
    return took


def records_of(
    problem: Problem, copies: Copies, rules: Rules, load: float, burst: float
) -> tuple[Any, Any, Any]:
    """Return the engines and GPUs as records, with what they do still open."""
    faults = [
        Fault(f"must be a factor from 0 to {MOST_FACTOR:,.0f}, not {factor}", name)
        for name, factor in (("load", load), ("burst", burst))
        if not 0 <= factor <= MOST_FACTOR
    ]
    faults += [
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
        context = prompt + output / 2 * (1 + demand.output_cv**2)
        rate = demand.requests_per_second * load * copy.part
        slo = problem.models[copy.model].slo
        objectives = [
            math.inf if one is None else one
            for one in (slo.ttft_seconds, slo.tpot_seconds, slo.latency_seconds)
        ]
        sizes = (copy.token_bytes, copy.window_bytes, copy.sequence_bytes)
        # A copy that gets a part of the requests sees their dispersion by that part.
        dispersion = 1 + copy.part * (burst**2 * demand.dispersion - 1)
        computed = max(1.0, prompt - demand.cached_tokens)
        asked = (rate, computed, output, demand.prompt_cv, demand.output_cv)
        told = (*asked, context, (1 + dispersion) / 2)
        rows.append((first, len(lists), *told, *objectives, *sizes))
    columns = zip(*rows, strict=True)
    for name, column in zip(
        ("first_gpu", "end_gpu", "rate", "prompt", "output", "prompt_cv", "output_cv", "context",
         "peakedness", "ttft_objective", "tpot_objective", "latency_objective", "token_bytes",
         "window_bytes", "sequence_bytes"),
        columns,
        strict=True,
    ):  # fmt: skip
        engines[name] = column
    costs = np.array([copy.costs for copy in copies.copies])
    for at, name in enumerate(_FIELDS):
        engines[name] = costs[:, at]
    engines["sequences"] = rules.max_sequences
    engines["host_seconds"] = rules.host_seconds
    engines["host_seconds_per_sequence"] = rules.host_seconds_per_sequence
    for at, held in enumerate(on_gpu):
        gpus[at]["first_engine"] = len(lists)
        lists.extend(held)
        gpus[at]["end_engine"] = len(lists)
    gpus["pool"] = copies.pools
    return engines, gpus, np.array(lists, np.int64)


def _forecast(
    problem: Problem, copies: Copies, engines: Any, gpus: Any, load: float, settled: bool
) -> Forecast:
    """Turn the fixed point into what people ask for."""
    of_model = np.array([copy.model for copy in copies.copies], np.int64)

    def total(values: Any) -> Any:
        return np.bincount(of_model, values, minlength=len(problem.models))

    rates = total(engines["rate"])
    asked = rates > 0
    divisor = np.where(asked, rates, 1.0)
    ttft, tpot, attained, slow = (
        np.where(asked, total(engines["rate"] * engines[name]) / divisor, empty).tolist()
        for name, empty in (("ttft", 0.0), ("tpot", 0.0), ("attained", 1.0), ("slow", 1.0))
    )
    number = np.where(asked, total(engines["number"]), 0.0).tolist()
    names = [model.name for model in problem.models]
    models = map(ModelForecast, names, ttft, tpot, number, attained, slow)
    used = np.divide(gpus["held"], gpus["pool"], out=np.zeros(len(gpus)), where=gpus["pool"] > 0)
    kept = np.divide(gpus["kept"], gpus["asked"], out=np.ones(len(gpus)), where=gpus["asked"] > 0)
    columns = (used, gpus["overflow"], gpus["busy"], kept, gpus["pressure"])
    ids = [gpu.id for gpu in problem.fleet.gpus]
    found = map(GPUForecast, ids, *(column.tolist() for column in columns))
    return Forecast(tuple(models), tuple(found), tuple(rates.tolist()), load, settled, copies.notes)
