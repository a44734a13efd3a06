"""Brute force for tiny fleets with tensor parallel, copies and rules; knows nothing of the solver.

Every way to split every model is tried on every choice of GPUs, model after model. What a
placement is worth is left to `kvplace.core.evaluation`; here only whole bytes are added up. Two
things make it fast enough. GPUs that hold nothing and that nothing tells apart are tried once.
And whatever is broken or pressed by some of the models is not less so with all of them: every
rule, every capacity, and the worst GPU; so a part that is already no better than the best
placement known is left.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from kvplace.core.evaluation.constraints import Violation, rule_violations
from kvplace.core.evaluation.evaluate import evaluate, kvpr_of
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.places import EVERYWHERE

Copies = tuple[tuple[str, ...], ...]
"""GPUs of each copy of one model."""
Worth = tuple[tuple[float, ...], float]
"""Breaches by tier and max pressure."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The truth about a tiny fleet.

    Parameters
    ----------
    breaches
        Summed amounts of the soft rules broken, weightiest tier first.
    value
        Least max pressure among the placements of these breaches; ``inf`` where none is valid.
    placement
        One of the best; None where none is valid.
    """

    breaches: tuple[float, ...]
    value: float
    placement: Placement | None

    @property
    def feasible(self) -> bool:
        """Whether any placement is valid."""
        return self.placement is not None


def solve_by_force(problem: Problem) -> Answer:
    """Try every placement: soft rules by tier first, then the max KVPR."""
    search = _Search(problem)
    search.extend(0, Placement(()), ((0.0,) * len(search.best[0]), 0.0))
    answer = Answer(*search.best, search.placement)
    if answer.placement is not None:
        assert worth(problem, answer.placement) == search.best
    return answer


def worth(problem: Problem, placement: Placement) -> Worth | None:
    """Return breaches by tier and max KVPR of a placement; None where it is not valid."""
    evaluation = evaluate(problem, placement)
    if evaluation.violations:
        return None
    return _by_tier(problem, evaluation.preferences), evaluation.value


def ways(problem: Problem, index: int) -> list[Copies]:
    """Return every way to place the copies of one model, whether or not they fit or may."""
    model = problem.models[index]
    domains: dict[tuple[str, str], list[str]] = {}
    for node in problem.fleet.nodes:
        for gpu in node.gpus:
            domains.setdefault((node.name, gpu.link), []).append(gpu.id)
    found: list[Copies] = []
    for degree in set(model.tensor_parallel):
        groups = [group for ids in domains.values() for group in combinations(ids, degree)]
        for count in range(model.replicas.min, model.replicas.max + 1):
            found.extend(_disjoint(groups, count))
    return found


def _disjoint(groups: list[tuple[str, ...]], count: int) -> Iterator[Copies]:
    """Yield every choice of that many groups that share no GPU."""
    for chosen in combinations(groups, count):
        flat = [gpu for group in chosen for gpu in group]
        if len(flat) == len(set(flat)):
            yield chosen


class _Search:
    """Depth first over the models, those with the fewest ways first."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.ruled = bool(problem.rules) or bool(problem.resource_scopes)
        self.usable = {gpu.id: gpu.usable_bytes for gpu in problem.fleet.gpus}
        self.alike = _alike(problem)
        options = {
            index: [way for way in ways(problem, index) if self._may(index, way)]
            for index in range(len(problem.models))
        }
        self.order = sorted(options, key=lambda index: len(options[index]))
        self.options = options
        self.size = dict.fromkeys(self.usable, 0)
        self.least = dict.fromkeys(self.usable, 0)
        windows = 1 if problem.goal is not Objective.PRESSURE else len(problem.windows)
        self.loads = {gpu: [[] for _ in range(windows)] for gpu in self.usable}
        self.shares = {gpu: [[] for _ in range(windows)] for gpu in self.usable}
        self.types = {gpu.id: gpu.type for gpu in problem.fleet.gpus}
        self.best: Worth = ((math.inf,) * len(_tiers(problem)), math.inf)
        self.placement: Placement | None = None

    def _may(self, index: int, way: Copies) -> bool:
        """Whether a model may be so placed, if it were alone."""
        model = self.problem.models[index]
        types = {gpu.id: gpu.type for gpu in self.problem.fleet.gpus}
        if model.gpu_types and any(types[g] not in model.gpu_types for group in way for g in group):
            return False
        alone = Placement(_replicas(model.name, way))
        return all(v.tier is not None for v in rule_violations(self.problem, alone))

    def extend(self, depth: int, placed: Placement, so_far: Worth) -> None:
        """Place the models from a depth on in every way that can still be the best."""
        if depth == len(self.order):
            self.best, self.placement = so_far, placed
            return
        index = self.order[depth]
        seen: set[object] = set()
        for way in self.options[index]:
            mark = self._mark(way)
            if mark in seen:
                continue
            seen.add(mark)
            taken = self._take(index, way)
            if self._fits(way):
                value = max(so_far[1], *map(self._value, (gpu for group in way for gpu in group)))
                if (so_far[0], value) < self.best:
                    more = _replicas(self.problem.models[index].name, way)
                    grown = Placement((*placed.replicas, *more))
                    breaches = self._breaches(grown)
                    if breaches is not None and (breaches, value) < self.best:
                        self.extend(depth + 1, grown, (breaches, value))
            for gpu, size, least in taken:
                self.size[gpu] -= size
                self.least[gpu] -= least
                for held in (*self.loads[gpu], *self.shares[gpu]):
                    held.pop()

    def _mark(self, way: Copies) -> object:
        """Return what all ways have in common that differ by empty GPUs of one kind."""
        marks = (
            tuple(sorted((gpu, "") if self.loads[gpu][0] else self.alike[gpu] for gpu in group))
            for group in way
        )
        return tuple(sorted(marks))

    def _take(self, index: int, way: Copies) -> list[tuple[str, int, int]]:
        """Put the shards of a model on its GPUs; return what each takes."""
        taken = []
        for group, part in zip(way, self.problem.demand_parts(index, way), strict=True):
            need = self.problem.shard(index, len(group), part)
            for gpu in group:
                self.size[gpu] += need.weights_bytes
                self.least[gpu] += need.min_kv_bytes
                loads, shares = [need.load], [0.0]
                if self.problem.goal is Objective.PRESSURE:
                    loads, shares = self._press(index, len(group), part, self.types[gpu])
                for held, more in zip(
                    (*self.loads[gpu], *self.shares[gpu]), (*loads, *shares), strict=True
                ):
                    held.append(more)
                taken.append((gpu, need.weights_bytes, need.min_kv_bytes))
        return taken

    def _press(
        self, index: int, degree: int, part: float, gpu_type: str
    ) -> tuple[list[float], list[float]]:
        """Return the KV bytes in use and the shares of time of a shard, from their definitions."""
        problem, model = self.problem, self.problem.models[index]
        demands = [model.demand_in(window.name) for window in problem.windows]
        of_rank = part * model.kv_part(degree)
        loads = [Objective.OCCUPANCY.load(model, demand) * of_rank for demand in demands]
        share = problem.timing.share
        return loads, [share(model, demand, degree, part, gpu_type) for demand in demands]

    def _fits(self, way: Copies) -> bool:
        """Whether the memory of the GPUs just filled is enough."""
        return all(
            self.usable[gpu] - self.size[gpu] >= max(1, self.least[gpu])
            for group in way
            for gpu in group
        )

    def _value(self, gpu: str) -> float:
        """Return the pressure of a GPU by what is placed so far, memory left out."""
        free, unit = self.usable[gpu] - self.size[gpu], self.problem.goal.memory_unit_bytes
        kvpr = max(kvpr_of(math.fsum(loads), free, unit) for loads in self.loads[gpu])
        return max(kvpr, *map(math.fsum, self.shares[gpu]))

    def _breaches(self, placed: Placement) -> tuple[float, ...] | None:
        """Return the breaches by tier of what is placed so far; None where a rule forbids it."""
        if not self.ruled:
            return ()
        broken = list(rule_violations(self.problem, placed))
        if any(violation.tier is None for violation in broken):
            return None
        return _by_tier(self.problem, broken)


def _tiers(problem: Problem) -> list[int]:
    """Return the tiers of the soft rules, the weightiest first."""
    return sorted({rule.soft for rule in problem.rules if rule.soft is not None})


def _by_tier(problem: Problem, broken: Iterable[Violation]) -> tuple[float, ...]:
    """Return the summed amounts of soft breaches, the weightiest tier first."""
    held = list(broken)
    return tuple(sum(v.amount for v in held if v.tier == tier) for tier in _tiers(problem))


def _alike(problem: Problem) -> dict[str, tuple[str, str]]:
    """Return a mark per GPU, the same for GPUs that nothing but their number tells apart."""
    named = {gpu for rule in problem.rules for gpu in getattr(rule, "places", EVERYWHERE).gpus}
    return {
        gpu.id: (
            repr((node.name, gpu.link, gpu.type, gpu.usable_bytes, sorted(gpu.resources.items()))),
            gpu.id if gpu.id in named else "",
        )
        for node in problem.fleet.nodes
        for gpu in node.gpus
    }


def _replicas(name: str, way: Copies) -> tuple[Replica, ...]:
    return tuple(Replica(name, number, group) for number, group in enumerate(way))
