"""Whether a small fleet has a better placement than one: all of them are gone through.

The checker's own exhaustive search, for claims that leave no other evidence: that nothing is below
a value, that soft rules cannot be kept better, that the GPUs after the worst cannot be balanced
better, that no placement is valid at all. It knows nothing of who made the claim, and its work is
bounded: where that does not settle it, nothing is said.

Depth-first over the models, the one with the fewest ways left next. A way to place a model is one
of its options and the GPUs of each copy. Adding a model never lowers a pressure or what is broken,
so a part that cannot become better any more is left, and so is one whose models left over take
more than there is room for. GPUs that hold nothing and that nothing tells apart are tried once.
Bytes are whole numbers. Sums of loads are floats: what is within `SURE` of a limit is gone
through, and every whole placement is evaluated by `kvplace.core.evaluation`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product

from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.standing import Standing, standing_of, tiers_of
from kvplace.core.evaluation.constraints import rule_violations
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem

MAX_WAYS = 20_000
"""Ways to place all models, each by itself, above which the checker does not begin."""
MAX_MODELS = 200
"""Models above which the checker does not begin."""
MAX_STEPS = 1_500_000
"""Shards looked at after which the checker gives up."""
SURE = 1e-12
"""Relative distance that no rounding of a sum of loads reaches."""


@dataclass(frozen=True, slots=True)
class _Shard:
    """What a shard takes of a GPU: bytes, and its part of each pressure."""

    gpu: int
    size: int
    kept: int
    kv: tuple[float, ...]
    time: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to place a model."""

    copies: tuple[Replica, ...]
    gpus: tuple[tuple[int, ...], ...]
    shards: tuple[_Shard, ...]


class _StopError(Exception):
    """Ends the search with its answer."""


def look_for_better(problem: Problem, known: Standing | None, steps: int = MAX_STEPS) -> str:
    """Say whether some valid placement is better than one known.

    Parameters
    ----------
    problem
        A problem of few models on few GPUs.
    known
        What is known of the best; None where it is claimed that no placement is valid.
    steps
        Shards looked at, at most.

    Returns
    -------
    str
        Empty where there is none, and this is proved; a sentence that shows one where there is;
        a `TooLarge` where the work allowed does not settle it.
    """
    if known is None:  # what is preferred makes no placement invalid
        problem = replace(problem, rules=tuple(r for r in problem.rules if r.soft is None))
    try:
        _Listing(problem, known, steps).run()
    except _StopError as end:
        answer: str = end.args[0]
        return answer
    return ""


class _Listing:
    """One search."""

    def __init__(self, problem: Problem, known: Standing | None, steps: int) -> None:
        self._problem, self._known, self._steps = problem, known, steps
        gpus = problem.fleet.gpus
        self._free = [gpu.usable_bytes for gpu in gpus]
        self._kept = [0] * len(gpus)
        self._held = [0] * len(gpus)
        timed = problem.goal is Objective.PRESSURE
        windows = len(problem.windows) if timed else 1
        self._kv = [[0.0] * windows for _ in gpus]
        self._time = [[0.0] * (windows if timed else 0) for _ in gpus]
        self._pressure = [0.0] * len(gpus)
        self._copies: dict[str, list[Replica]] = {}
        positions = {name: at for at, name in enumerate(problem.names)}
        ruled = {name for rule in problem.rules for name in rule.concerned(positions)}
        self._ruled = {
            positions[name] for name in (positions if problem.resource_scopes else ruled)
        }
        self._tiers = tiers_of(problem)
        self._breaches = (0.0,) * len(self._tiers)
        self._number = {gpu.id: at for at, gpu in enumerate(gpus)}
        self._kind = _kinds(problem)

    def run(self) -> None:
        """Look at every placement; ends by an exception where one is better, or work runs out."""
        problem = self._problem
        left, ways = MAX_WAYS, {}
        if len(problem.names) > MAX_MODELS:
            raise _StopError(TooLarge("there are too many models to go through"))
        for index in range(len(problem.names)):
            left -= _count(problem, index)
            if left < 0:
                raise _StopError(TooLarge("the models have too many ways to be placed"))
            ways[index] = list(self._ways(index))
        self._descend(ways)

    def _descend(self, open_: dict[int, list[_Way]]) -> None:
        """Place the models that are not yet placed."""
        if not open_:
            self._arrive()
            return
        most = self._most()
        for index, ways in open_.items():
            self._steps -= 1 + sum([len(way.shards) for way in ways])
            if self._steps < 0:
                raise _StopError(TooLarge("going through all placements takes too much work"))
            fitting = [way for way in ways if self._fits(way, most)]
            if not fitting:
                return
            open_ = open_ | {index: fitting} if len(fitting) < len(ways) else open_
        if self._crowded(open_, most):
            return
        index = min(open_, key=lambda index: len(open_[index]))
        rest = {other: ways for other, ways in open_.items() if other != index}
        seen = set()
        for way in open_[index]:
            mark = self._mark(way)
            if mark in seen:
                continue
            seen.add(mark)
            before, breaches = self._put(index, way), self._breaches
            if self._may_be_better(index):
                self._descend(rest)
            self._take(index, way, before)
            self._breaches = breaches

    def _arrive(self) -> None:
        """Evaluate a whole placement."""
        held = [replica for copies in self._copies.values() for replica in copies]
        evaluation = evaluate(self._problem, Placement(tuple(held)))
        if not evaluation.valid:
            return
        standing = standing_of(self._problem, evaluation)
        if self._known is None:
            raise _StopError(f"there is a valid placement, of {evaluation.value:.6g}")
        if standing.betters(self._known):
            raise _StopError(_shown(standing, self._known))

    def _most(self) -> float:
        """Return the pressure above which no GPU may be for the whole to become better."""
        known = self._known
        if known is None or self._breaches != known.breaches or not known.profile:
            return math.inf
        return known.profile[0] * (1 + SURE)

    def _fits(self, way: _Way, most: float) -> bool:
        """Whether every GPU of a way has the memory, and stays within a pressure."""
        for shard in way.shards:
            at = shard.gpu
            free = self._free[at] - shard.size
            if free < max(1, self._kept[at] + shard.kept):
                return False
            if most < math.inf:
                limit = most * free
                if any(a + b > limit for a, b in zip(self._kv[at], shard.kv, strict=True)):
                    return False
                if any(a + b > most for a, b in zip(self._time[at], shard.time, strict=True)):
                    return False
        return True

    def _crowded(self, open_: dict[int, list[_Way]], most: float) -> bool:
        """Whether the models left take more than there is room for, at the pressure allowed."""
        if not most:
            return False
        room, taken = 0.0, 0.0
        for free, kv in zip(self._free, self._kv, strict=True):
            room += max(0.0, free - kv[0] / most)
        for ways in open_.values():
            taken += min(sum([s.size + s.kv[0] / most for s in way.shards]) for way in ways)
        return taken * (1 - SURE) > room * (1 + SURE)

    def _put(self, index: int, way: _Way) -> list[tuple[int, int, list[float], list[float], float]]:
        """Place a model; return what the GPUs were before."""
        before = []
        for shard in way.shards:
            at = shard.gpu
            state = (self._free[at], self._kept[at], self._kv[at], self._time[at])
            before.append((*state, self._pressure[at]))
            self._held[at] += 1
            self._free[at] -= shard.size
            self._kept[at] += shard.kept
            self._kv[at] = [a + b for a, b in zip(self._kv[at], shard.kv, strict=True)]
            self._time[at] = [a + b for a, b in zip(self._time[at], shard.time, strict=True)]
            self._pressure[at] = max(max(self._kv[at]) / self._free[at], *self._time[at], 0.0)
        self._copies[self._problem.names[index]] = list(way.copies)
        return before

    def _take(
        self, index: int, way: _Way, before: list[tuple[int, int, list[float], list[float], float]]
    ) -> None:
        """Reverse `_put`."""
        for shard, state in zip(way.shards, before, strict=True):
            at = shard.gpu
            self._free[at], self._kept[at], self._kv[at], self._time[at] = state[:4]
            self._pressure[at] = state[4]
            self._held[at] -= 1
        del self._copies[self._problem.names[index]]

    def _may_be_better(self, placed: int) -> bool:
        """Whether what is placed so far, this model last, may become better than the best known.

        Rules take longest to look at, and what they are broken by never becomes less.
        """
        if not self._betters():
            return False
        if placed in self._ruled:
            broken = dict.fromkeys(self._tiers, 0.0)
            for violation in rule_violations(self._problem, Placement(()), self._copies):
                if violation.tier is None:
                    return False
                broken[violation.tier] += violation.amount
            self._breaches = tuple(broken.values())
            return self._betters()
        return True

    def _betters(self) -> bool:
        """Whether breaches and pressures so far are better than the best known."""
        if self._known is None:
            return True
        profile = tuple(sorted(self._pressure, reverse=True))
        return Standing(self._breaches, profile).betters(self._known, SURE)

    def _mark(self, way: _Way) -> tuple[tuple[int, ...], ...]:
        """Return what ways have in common that differ by empty GPUs of one kind."""
        held, kind = self._held, self._kind
        marks = (sorted([g if held[g] else ~kind[g] for g in copy]) for copy in way.gpus)
        return tuple(sorted(map(tuple, marks)))

    def _ways(self, index: int) -> Iterator[_Way]:
        """Yield every way to place a model that is a way at all."""
        problem = self._problem
        model, allowed = problem.models[index], problem.allowed(index)
        domains: dict[str, list[int]] = {}
        for at, gpu in enumerate(problem.fleet.gpus):
            if gpu.id in allowed:
                domains.setdefault(problem.fleet.domain(gpu.id, "link") or "", []).append(at)
        uneven = model.replicas.split is not Split.EVEN
        for degree, count in problem.options(index):
            for chosen in combinations(sorted(g for held in domains.values() for g in held),
                                       degree * count):  # fmt: skip
                parts = [[g for g in chosen if g in held] for held in map(set, domains.values())]
                if any(len(part) % degree for part in parts):
                    continue
                grouped = (_parted(part, degree, every=uneven) for part in parts)
                for groups in product(*grouped):
                    gpus = tuple(copy for group in groups for copy in group)
                    yield self._way(index, degree, gpus)

    def _way(self, index: int, degree: int, gpus: tuple[tuple[int, ...], ...]) -> _Way:
        """Return a way with what each shard takes."""
        problem = self._problem
        name, devices = problem.names[index], problem.fleet.gpus
        unit = problem.goal.memory_unit_bytes
        copies = [tuple(devices[g].id for g in copy) for copy in gpus]
        shards = []
        for copy, part in zip(gpus, problem.demand_parts(index, copies), strict=True):
            need = problem.shard(index, degree, part)
            kv: tuple[float, ...] = (need.load * unit,)
            time: tuple[float, ...] = ()
            for g in copy:
                if problem.goal is Objective.PRESSURE:
                    pressed = problem.pressures.shard(index, degree, part, devices[g].type)
                    kv, time = tuple(pressed[0]), tuple(pressed[1])
                shards.append(_Shard(g, need.weights_bytes, need.min_kv_bytes, kv, time))
        replicas = tuple(Replica(name, at, copy) for at, copy in enumerate(copies))
        return _Way(replicas, gpus, tuple(shards))


def _shown(better: Standing, known: Standing) -> str:
    """Say what a better placement has that the one known has not."""
    if better.breaches != known.breaches:
        less, more = (", ".join(f"{b:g}" for b in s.breaches) for s in (better, known))
        return f"a placement breaks the tiers of soft rules by {less} only, not by {more}"
    for rank, (mine, its) in enumerate(zip(better.profile, known.profile, strict=False), 1):
        if mine < its * (1 - SURE):
            where = "the worst GPU" if rank == 1 else f"GPU {rank} from the worst"
            return f"a placement has {where} at {mine:.6g}, below {its:.6g}"
    raise AssertionError


def _count(problem: Problem, index: int) -> int:
    """Return about how many ways a model has, and no fewer."""
    places = len(problem.allowed(index))
    model = problem.models[index]
    found = 0
    for degree, count in problem.options(index):
        parted = 1
        if model.replicas.split is not Split.EVEN:
            shards = degree * count
            parted = math.factorial(shards) // math.factorial(degree) ** count
        found += math.comb(places, degree * count) * parted
    return found


def _parted(gpus: list[int], degree: int, *, every: bool) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield GPUs cut into copies: in order, or, where that matters, in every way."""
    if not gpus:
        yield ()
        return
    first, rest = gpus[0], gpus[1:]
    mates = combinations(rest, degree - 1) if every else iter([tuple(rest[: degree - 1])])
    for mate in mates:
        left = [g for g in rest if g not in mate]
        for others in _parted(left, degree, every=every):
            yield ((first, *mate), *others)


def _kinds(problem: Problem) -> list[int]:
    """Return a number for each GPU, the same for GPUs that only their ids tell apart.

    Where no model is split or copied and there are no rules, nodes tell nothing apart.
    """
    named = {gpu for rule in problem.rules for gpu in rule.named_places.gpus}
    numbers: dict[object, int] = {}
    kinds = []
    for gpu in problem.fleet.gpus:
        traits = (gpu.usable_bytes, gpu.type, *sorted(gpu.resources.items()))
        link = "" if problem.plain else problem.fleet.domain(gpu.id, "link")
        key = (link, traits, gpu.id if gpu.id in named else "")
        kinds.append(numbers.setdefault(key, len(numbers)))
    return kinds
