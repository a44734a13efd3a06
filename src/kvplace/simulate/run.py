"""The door of the simulation: loads and seeds, component by component, on all cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kvplace.core.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.rules import Router, Rules, Sharing
from kvplace.forecast.times import StepTimes
from kvplace.simulate.events import run
from kvplace.simulate.fleet import (
    Component,
    Engined,
    Records,
    block_bytes,
    engines_of,
    records_of,
)
from kvplace.simulate.outcome import GPUOutcome, ModelOutcome, Outcome, Simulation
from kvplace.simulate.state import MPS, NONE, REQUEST, SLICE, World, world
from kvplace.simulate.traffic import ModelTraffic, Traffic, drawn
from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.clock import Watch

__all__ = ["Answers", "simulate", "simulate_traffic"]

WARM_UP = 0.1
"""Part of the time whose requests are not counted: the fleet starts empty."""

_SHARING = {Sharing.SLICE: SLICE, Sharing.MPS: MPS, Sharing.NONE: NONE}
_STAY = 3.0
"""Stretches of simulated time after the last arrival, where no objective says when to give up."""

_HASH = 2654435761


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


def simulate(
    problem: Problem,
    placement: Placement,
    *,
    loads: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    seconds: float = 600.0,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    traffic: Callable[[float, int], Traffic] | None = None,
    threads: int | None = None,
    watch: Watch | None = None,
) -> Simulation:
    """Simulate a placement under the demand of its problem.

    Parameters
    ----------
    problem, placement
        What runs where; the placement must be valid.
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
    watch
        Whom to tell, and whether to stop.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks what a simulation needs.
    """
    rules = rules or Rules()
    watch = watch or Watch()
    engined = engines_of(problem, placement, rules, times or StepTimes())

    def made(load: float, seed: int) -> Traffic:
        return drawn(problem.models, seconds, load=load, seed=seed, burst=burst)

    asked = [(load, seed) for load in sorted(set(loads)) for seed in dict.fromkeys(seeds)]
    outcomes: list[Outcome] = []
    stop = np.zeros(1, np.int64)
    simulated = seconds
    with ThreadPoolExecutor(threads or _cores()) as pool:
        # One outcome is prepared while the one before it runs.
        begun: list[tuple[float, int, Traffic, _Running]] = []
        waiting = iter(asked)

        def begin() -> None:
            for load, seed in waiting:
                requests = (traffic or made)(load, seed)
                running = _Running(problem, engined, requests, rules, pool, stop)
                begun.append((load, seed, requests, running))
                return

        begin()
        while begun:
            if not watch.stop:
                begin()
            load, seed, requests, running = begun.pop(0)
            answers, usage = running.result(watch)
            if watch.stop:
                stop[0] = 1
                for *_, other in begun:
                    other.cancel()
                break
            simulated = requests.seconds
            outcomes.append(_outcome(problem, engined, load, seed, requests, answers, usage))
            share = outcomes[-1].attainment
            watch.tell(f"simulated {len(outcomes)} of {len(asked)}, {share:.1%} in time", None)
    return Simulation(tuple(outcomes), simulated, len(outcomes) == len(asked), engined.notes)


def simulate_traffic(
    problem: Problem,
    placement: Placement,
    traffic: Traffic,
    *,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    threads: int | None = None,
) -> tuple[list[Answers], "list[Usage]"]:
    """Simulate one traffic, and return what became of every request and of every GPU."""
    rules = rules or Rules()
    engined = engines_of(problem, placement, rules, times or StepTimes())
    with ThreadPoolExecutor(threads or _cores()) as pool:
        stop = np.zeros(1, np.int64)
        running = _Running(problem, engined, traffic, rules, pool, stop)
        return running.result(Watch())


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


@dataclass(frozen=True, slots=True)
class _Part:
    """A component at its end: model and position of each request, and all that happened."""

    model: Ints
    at: Ints
    end: World
    clock: float


class _Running:
    """The components of one load and seed, at work in a pool of threads."""

    def __init__(
        self,
        problem: Problem,
        engined: Engined,
        traffic: Traffic,
        rules: Rules,
        pool: ThreadPoolExecutor,
        stop: Ints,
    ) -> None:
        self._engined, self._traffic, self._rules = engined, traffic, rules
        self._horizon = _horizon(problem, traffic)
        self._prefixes = _prefix_ranges(traffic)
        self._routed = [
            _routed(engined, index, one, rules) for index, one in enumerate(traffic.models)
        ]
        self._too_long = [
            _too_long(engined, index, one, rules.block_tokens)
            for index, one in enumerate(traffic.models)
        ]
        self._stop = stop
        self._parts: list[tuple[Component, Future[_Part | None]]] = [
            (component, pool.submit(self._simulate, component)) for component in engined.components
        ]

    def cancel(self) -> None:
        """Start nothing that has not been started."""
        for _, part in self._parts:
            part.cancel()

    def _simulate(self, component: Component) -> _Part | None:
        """Run one component; return model and position of each of its requests, and the end."""
        if self._stop[0]:
            return None
        engines, gpus, lists = records_of(self._engined, component, self._rules, self._prefixes)
        model, at, requests = self._requests(component, lists)
        end = world(engines, gpus, requests, np.array(lists, np.int64))
        rules = self._rules
        clock = run(end, _SHARING[rules.sharing], rules.slice_loss, self._horizon, self._stop)
        return None if clock < 0 else _Part(model, at, end, clock)

    def _requests(self, component: Component, lists: list[int]) -> tuple[Ints, Ints, Records]:
        """Return the requests of a component's engines by arrival; extend the lists."""
        engined, traffic = self._engined, self._traffic
        local = np.full(len(engined.copies), -1)
        local[list(component.copies)] = np.arange(len(component.copies))
        models, positions, found = [], [], []
        for index in sorted({engined.copies[at].model for at in component.copies}):
            one, routed = traffic.models[index], self._routed[index]
            mine = ~self._too_long[index] & ((routed < 0) | (local[routed] >= 0))
            at = np.flatnonzero(mine)
            requests = np.zeros(len(at), REQUEST)
            for name in ("arrival", "prompt", "output", "prefix_tokens"):
                requests[name] = getattr(one, name)[at]
            requests["engine"] = np.where(routed[at] < 0, -1, local[routed[at]])
            requests["first_choice"] = len(lists)
            lists.extend(int(local[copy]) for copy in engined.of_model[index])
            requests["end_choice"] = len(lists)
            start = self._prefixes.get(index, (0, 0))[0]
            requests["prefix"] = np.where(one.prefix[at] < 0, -1, one.prefix[at] + start)
            models.append(np.full(len(at), index))
            positions.append(at)
            found.append(requests)
        together = np.concatenate(found)
        order = np.argsort(together["arrival"], kind="stable")
        return np.concatenate(models)[order], np.concatenate(positions)[order], together[order]

    def result(self, watch: Watch) -> tuple[list[Answers], list[Usage]]:
        """Wait for all components and put their requests together again, model by model."""
        engined = self._engined
        gathered = [_unanswered(one, bad) for one, bad in zip(
            self._traffic.models, self._too_long, strict=True
        )]  # fmt: skip
        usage: dict[int, Usage] = {}
        for component, part in self._parts:
            found = _patient(part, watch, self._stop)
            if found is None:
                continue
            copies = np.array(component.copies)
            order = np.argsort(found.model, kind="stable")
            cuts = np.flatnonzero(np.diff(found.model[order])) + 1
            for mine in np.split(order, cuts):
                if not len(mine):
                    continue
                one, to = gathered[int(found.model[mine[0]])], found.at[mine]
                requests = found.end.requests[mine]
                one.first[to], one.finish[to] = requests["first"], requests["finish"]
                one.preempted[to] = requests["preempted"]
                served = requests["served_by"]
                one.engine[to] = np.where(served < 0, -1, copies[served])
            used = _usage(component, engined, found)
            usage.update(zip(component.gpus, used, strict=True))
        return gathered, [
            usage.get(gpu, Usage(0, 0.0, 0.0, 0)) for gpu in range(len(engined.pools))
        ]


def _patient(part: Future[_Part | None], watch: Watch, stop: Ints) -> _Part | None:
    """Wait for a component, and stop it where somebody asks."""
    while True:
        if watch.stop:
            stop[0] = 1
            if part.cancelled() or part.cancel():
                return None
        try:
            return part.result(timeout=0.2)
        except TimeoutError:
            continue


def _usage(component: Component, engined: Engined, part: _Part) -> Iterator[Usage]:
    """Yield how each GPU of a component was used."""
    seconds = max(part.clock, 1e-9)
    preempted = dict.fromkeys(component.gpus, 0)
    for copy, count in zip(component.copies, part.end.engines["preemptions"], strict=True):
        for gpu in engined.copies[copy].gpus:
            preempted[gpu] += int(count)
    for gpu, one in zip(component.gpus, part.end.gpus, strict=True):
        yield Usage(
            int(one["peak"]),
            float(one["used_seconds"]) / seconds,
            float(one["active_seconds"]) / seconds,
            preempted[gpu],
        )


def _unanswered(one: ModelTraffic, too_long: Bools) -> Answers:
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


def _routed(engined: Engined, index: int, one: ModelTraffic, rules: Rules) -> Ints:
    """Return the engine of each request of a model; -1 where the load decides when it comes."""
    engines = np.array(engined.of_model[index], np.int64)
    count = len(one.arrival)
    if len(engines) == 1:
        return np.full(count, engines[0])
    if rules.router is Router.LEAST_LOADED:
        return np.full(count, -1)
    # Turn by turn, each copy as often as its part says: the cumulative parts of request i.
    ends = np.cumsum([engined.copies[engine].part for engine in engines])
    turn = (np.arange(count) + 0.5) * _GOLDEN % 1.0 if len(set(np.diff(ends).round(9))) > 1 else (
        (np.arange(count) % len(engines) + 0.5) / len(engines)
    )  # fmt: skip
    chosen = engines[np.minimum(np.searchsorted(ends, turn), len(engines) - 1)]
    if rules.router is Router.PREFIX_STICKY:
        prefix = one.prefix
        sticky = engines[(prefix * _HASH >> 8) % len(engines)]
        return np.where(prefix >= 0, sticky, chosen)
    return chosen


_GOLDEN = 0.6180339887498949
"""Steps of the golden ratio hit each part as often as it is long, and evenly over time."""


def _too_long(engined: Engined, index: int, one: ModelTraffic, block: int) -> Bools:
    """Return which requests no engine of their model can hold, even alone."""
    tokens = one.prompt + one.output
    most = 0
    for engine in engined.of_model[index]:
        copy = engined.copies[engine]
        pool = min(engined.limits[engine], *(engined.pools[gpu] for gpu in copy.gpus))
        most_here = max(0, pool - copy.sequence_bytes) // block_bytes(copy, block) * block
        most = most_here if most == 0 else min(most, most_here)
    found: Bools = tokens > most
    return found


def _prefix_ranges(traffic: Traffic) -> dict[int, tuple[int, int]]:
    """Give the shared prompt beginnings of all models one number after the other."""
    ranges = {}
    first = 0
    for index, one in enumerate(traffic.models):
        count = int(one.prefix.max(initial=-1)) + 1
        if count:
            ranges[index] = (first, first + count)
            first += count
    return ranges


def _horizon(problem: Problem, traffic: Traffic) -> float:
    """Return when nothing that still happens can change who kept the objectives."""
    stay = 0.0
    for model, one in zip(problem.models, traffic.models, strict=True):
        if not len(one.arrival):
            continue
        slo, most = model.slo, int(one.output.max())
        if slo.ttft_seconds is not None and slo.tpot_seconds is not None:
            stay = max(stay, slo.ttft_seconds + most * slo.tpot_seconds)
        elif slo.latency_seconds is not None:
            stay = max(stay, slo.latency_seconds)
        else:
            stay = max(stay, _STAY * traffic.seconds)
    return traffic.seconds + stay


def _outcome(
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


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
