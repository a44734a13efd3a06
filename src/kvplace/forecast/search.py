"""Local search on the forecast: moves and swaps of single engines that lose fewer requests.

The forecast is not additive over models and has no bound; a plan that it prefers is better by
expectation, and its proved pressure is what it is. Requests that are lost on one GPU depend on what
runs there alone, so a move changes two terms of a sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.forecast.attainment import attain
from kvplace.forecast.copies import copies_of
from kvplace.forecast.forecast import ITERATIONS, SHARING, STEPS, forecast, records_of
from kvplace.forecast.mean_field import settle
from kvplace.forecast.outcome import Forecast
from kvplace.forecast.records import GPU
from kvplace.forecast.rules import Rules
from kvplace.forecast.served_load import LEAST_LOAD, served_load
from kvplace.forecast.times import StepTimes
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.kernels import kernel

_ROUNDS = 4
_PARTNERS = 24
_LEAST_GAIN = 1e-6
"""Part of all requests that a step must save."""


@dataclass(frozen=True, slots=True)
class Refined:
    """A placement improved on its forecast.

    Parameters
    ----------
    placement
        The one found.
    before, after
        Forecasts of the given and of the found placement, at the stated demand.
    load_before, load_after
        Factors on the demand up to which the level is forecast to be kept.
    steps
        Moves and swaps made.
    complete
        Whether the search came to its end.
    """

    placement: Placement
    before: Forecast
    after: Forecast
    load_before: float
    load_after: float
    steps: int
    complete: bool


@kernel
def lost_on(
    templates: Any,
    members: Ints,
    count: int,
    gpu: Any,
    scratch: Any,
    steps: Floats,
    sharing: int,
    loss: float,
) -> float:
    """Return the requests per second that are lost on one GPU with certain engines.

    Parameters
    ----------
    templates
        Engines as records of `kvplace.forecast.records`, for that GPU's type.
    members, count
        Which of them run there.
    gpu
        (1,) record with its pool.
    scratch, steps
        Room for so many engines and their step times.
    sharing, loss
        How they share the GPU, and what slices lose.
    """
    engines = scratch[:count]
    lists = np.zeros(2 * count, np.int64)
    for at in range(count):
        engines[at] = templates[members[at]]
        engines[at].first_gpu, engines[at].end_gpu = at, at + 1
        lists[count + at] = at
    gpu[0].first_engine, gpu[0].end_engine = count, 2 * count
    settle(engines, gpu, lists, steps[:count], sharing, loss, ITERATIONS)
    attain(engines, gpu, lists)
    return float(gpu[0].asked - gpu[0].kept)


class _Search:
    """Engines on GPUs, what each GPU loses, and what a change would save."""

    def __init__(
        self, problem: Problem, placement: Placement, load: float, burst: float, rules: Rules,
        times: StepTimes,
    ) -> None:  # fmt: skip
        self.problem, self.sharing = problem, (SHARING[rules.sharing], rules.slice_loss)
        self.copies = copies_of(problem, placement, times)
        self.replicas = sorted(placement.replicas, key=lambda one: (one.model, one.index))
        order = {(one.model, one.index): at for at, one in enumerate(self.replicas)}
        names = problem.names
        self.replica_of = [order[names[copy.model], copy.index] for copy in self.copies.copies]
        fleet = problem.fleet.gpus
        kinds = list(dict.fromkeys((gpu.type, gpu.memory_bytes) for gpu in fleet))
        self.kind_of = [kinds.index((gpu.type, gpu.memory_bytes)) for gpu in fleet]
        base, _, _ = records_of(problem, self.copies, rules, load, burst)
        self.templates = [self._on(base, kind, times) for kind in kinds]
        self.usable = [gpu.usable_bytes for gpu in fleet]
        self.weights = [self._bytes(at) for at in range(len(self.copies.copies))]
        self.on: list[list[int]] = [[] for _ in fleet]
        for at, copy in enumerate(self.copies.copies):
            for gpu in copy.gpus:
                self.on[gpu].append(at)
        most = len(self.copies.copies)
        self._scratch, self._steps = np.zeros(most, base.dtype), np.zeros((most, STEPS))
        self._gpu = np.zeros(1, GPU)
        self._known: dict[tuple[int, int, frozenset[int]], float] = {}
        self.lost = [self.lost_with(gpu, held) for gpu, held in enumerate(self.on)]

    def _on(self, base: Any, kind: tuple[str, int], times: StepTimes) -> Any:
        """Return the engines as they would be on one kind of GPU."""
        found = base.copy()
        for at, copy in enumerate(self.copies.copies):
            if len(copy.gpus) == 1:
                model = self.problem.models[copy.model]
                costs = times.of(model, kind[0], kind[1]).times
                for name in costs._fields:
                    found[at][name] = getattr(costs, name)
        return found

    def _bytes(self, at: int) -> tuple[int, int]:
        copy = self.copies.copies[at]
        need = self.problem.shard(copy.model, len(copy.gpus), copy.part)
        return need.weights_bytes, need.min_kv_bytes

    def fits(self, gpu: int, held: Sequence[int]) -> bool:
        """Return whether engines leave a GPU the KV memory that they must have."""
        weights = sum(self.weights[at][0] for at in held)
        return self.usable[gpu] - weights >= max(1, sum(self.weights[at][1] for at in held))

    def lost_with(self, gpu: int, held: Sequence[int]) -> float:
        """Return the requests per second that a GPU loses with certain engines."""
        if not held:
            return 0.0
        key = (self.kind_of[gpu], self.usable[gpu], frozenset(held))
        found = self._known.get(key)
        if found is None:
            self._gpu["pool"] = self.usable[gpu] - sum(self.weights[at][0] for at in held)
            members = np.array(sorted(held), np.int64)
            found = lost_on(
                self.templates[self.kind_of[gpu]], members, len(members), self._gpu,
                self._scratch, self._steps, *self.sharing,
            )  # fmt: skip
            self._known[key] = found
        return found

    def movable(self, at: int) -> bool:
        """Return whether an engine may move alone: split ones stay where they are."""
        return len(self.copies.copies[at].gpus) == 1

    def allowed(self, at: int, gpu: int) -> bool:
        """Return whether a model may run on a GPU's type, and has no other copy there."""
        copy = self.copies.copies[at]
        types = self.problem.models[copy.model].gpu_types
        if types and self.problem.fleet.gpus[gpu].type not in types:
            return False
        return not any(
            other != at and self.copies.copies[other].model == copy.model for other in self.on[gpu]
        )

    def changes(self, gpu: int, partners: Sequence[int]) -> list[tuple[float, int, int, int]]:
        """Return moves and swaps of a GPU that save requests: gain, engine, other engine, GPU."""
        found = []
        for at in self.on[gpu]:
            if not self.movable(at):
                continue
            rest = [one for one in self.on[gpu] if one != at]
            for other in partners:
                if other == gpu or not self.allowed(at, other):
                    continue
                before = self.lost[gpu] + self.lost[other]
                for swapped in (-1, *self.on[other]):
                    if swapped >= 0 and not (self.movable(swapped) and self.allowed(swapped, gpu)):
                        continue
                    here = rest if swapped < 0 else [*rest, swapped]
                    there = [one for one in self.on[other] if one != swapped] + [at]
                    if self.fits(gpu, here) and self.fits(other, there):
                        after = self.lost_with(gpu, here) + self.lost_with(other, there)
                        found.append((before - after, at, swapped, other))
        return found

    def apply(self, at: int, swapped: int, gpu: int, other: int) -> None:
        """Move an engine, and the other one back where there is one."""
        self.on[gpu].remove(at)
        self.on[other].append(at)
        if swapped >= 0:
            self.on[other].remove(swapped)
            self.on[gpu].append(swapped)
        for changed in (gpu, other):
            self.lost[changed] = self.lost_with(changed, self.on[changed])

    def placement(self) -> Placement:
        """Return who is where."""
        gpus = self.problem.fleet.gpus
        replicas = list(self.replicas)
        where = {at: gpu for gpu, held in enumerate(self.on) for at in held}
        for at, copy in enumerate(self.copies.copies):
            if len(copy.gpus) == 1:
                old = self.replicas[self.replica_of[at]]
                replicas[self.replica_of[at]] = Replica(old.model, old.index, (gpus[where[at]].id,))
        return Placement(tuple(replicas))


def refine_forecast(
    problem: Problem,
    placement: Placement,
    *,
    level: float = 0.95,
    burst: float = 1.0,
    rules: Rules | None = None,
    times: StepTimes | None = None,
    seed: int = 0,
    kicks: int = 20,
    watch: Watch | None = None,
) -> Refined:
    """Move and swap engines so that the placement is forecast to serve more.

    Parameters
    ----------
    problem, placement
        What runs where; the placement must be valid, and the one returned is too.
    level
        Part of all requests that is to keep every objective: the search looks at the load at which
        the placement falls to it, and loses as few requests as it can there; then again at the
        load that this has brought.
    burst, rules, times
        As in `kvplace.forecast.forecast.forecast`.
    seed
        Of the kicks.
    kicks
        Times that a placement which nothing improves is shaken and improved again.
    watch
        Whom to tell, and when to stop.

    Raises
    ------
    InputError
        The placement is not valid, or a model lacks what a forecast needs.
    """
    rules, times, watch = rules or Rules(), times or StepTimes(), watch or Watch()
    found = evaluate(problem, placement)
    if found.violations:
        raise InputError([Fault(v.message, "placement") for v in found.violations], "placement")
    options: dict[str, Any] = {"level": level, "burst": burst, "rules": rules, "times": times}
    load_before = load = served_load(problem, placement, **options)
    best, steps = placement, 0
    rng = np.random.default_rng(seed)
    for _ in range(_ROUNDS):
        search = _Search(problem, best, max(load, LEAST_LOAD) * 1.02, burst, rules, times)
        steps += _descend(search, watch, rng, kicks)
        candidate = search.placement()
        reached = served_load(problem, candidate, **options)
        if reached <= load * 1.001 or watch.stop:
            if reached > load:
                best, load = candidate, reached
            break
        best, load = candidate, reached
    return Refined(
        best,
        forecast(problem, placement, burst=burst, rules=rules, times=times),
        forecast(problem, best, burst=burst, rules=rules, times=times),
        load_before,
        load,
        steps,
        watch.stop is None,
    )


def _descend(search: _Search, watch: Watch, rng: np.random.Generator, kicks: int) -> int:
    """Improve until nothing helps, shake, and keep the best; return the steps made."""
    steps = _settle(search, watch)
    best, kept = sum(search.lost), [list(held) for held in search.on]
    for _ in range(kicks):
        if watch.stop or best <= 0:
            break
        _kick(search, rng)
        steps += _settle(search, watch)
        total = sum(search.lost)
        if total < best * (1 - 1e-9):
            best, kept = total, [list(held) for held in search.on]
        else:
            _restore(search, kept)
    _restore(search, kept)
    return steps


def _restore(search: _Search, kept: Sequence[Sequence[int]]) -> None:
    search.on = [list(held) for held in kept]
    search.lost = [search.lost_with(gpu, held) for gpu, held in enumerate(search.on)]


def _settle(search: _Search, watch: Watch) -> int:
    """Make the best change of the GPU that loses most, until no GPU has one; count the steps."""
    total = max(1e-12, float(search.templates[0]["rate"].sum()))
    steps, tried = 0, set[int]()
    while not watch.stop:
        order = sorted(range(len(search.on)), key=lambda gpu: (-search.lost[gpu], gpu))
        gpu = next((g for g in order if g not in tried and search.lost[g] > 0), None)
        if gpu is None:
            break
        coldest = order[::-1][:_PARTNERS]
        for gain, at, swapped, other in sorted(search.changes(gpu, coldest), reverse=True):
            if gain <= _LEAST_GAIN * total:
                tried.add(gpu)
                break
            before = [list(held) for held in search.on], list(search.lost)
            search.apply(at, swapped, gpu, other)
            if not search.problem.rules or _valid(search):
                steps += 1
                tried.clear()
                watch.tell("forecast", sum(search.lost) / total)
                break
            search.on, search.lost = before
        else:
            tried.add(gpu)
    return steps


def _valid(search: _Search) -> bool:
    """Return whether no rule is broken."""
    return evaluate(search.problem, search.placement()).valid


def _kick(search: _Search, rng: np.random.Generator) -> None:
    """Swap or move a few engines at random, as far as memory and rules allow."""
    made = 0
    for _ in range(200):
        at = int(rng.integers(len(search.copies.copies)))
        gpu, other = int(rng.integers(len(search.on))), int(rng.integers(len(search.on)))
        if gpu == other or at not in search.on[gpu] or not search.movable(at):
            continue
        swapped = int(rng.choice(search.on[other])) if search.on[other] else -1
        if not search.allowed(at, other):
            continue
        if swapped >= 0 and not (search.movable(swapped) and search.allowed(swapped, gpu)):
            continue
        here = [one for one in search.on[gpu] if one != at] + ([swapped] if swapped >= 0 else [])
        there = [one for one in search.on[other] if one != swapped] + [at]
        if not (search.fits(gpu, here) and search.fits(other, there)):
            continue
        before = [list(held) for held in search.on], list(search.lost)
        search.apply(at, swapped, gpu, other)
        if search.problem.rules and not _valid(search):
            search.on, search.lost = before
            continue
        made += 1
        if made == 3:
            return
