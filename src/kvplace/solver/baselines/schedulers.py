"""How schedulers place models today: one copy after the other, and none is ever moved again.

Filter and score, as in Kubernetes and GPUStack: of the GPUs that have room and break no hard
rule, those with the best score are taken. Tensor parallel takes its GPUs within one link domain.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence

from kvplace.core.evaluation.constraints import rule_violations
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU
from kvplace.core.needs import ShardNeed
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem

__all__ = ["SCHEDULERS", "best_fit", "first_fit", "prism", "proportional"]

FACTORS = 20
"""Columns of copies that are tried in proportion to demand, each 1.5 times the one before."""


def first_fit(problem: Problem) -> Placement | None:
    """Place the fewest copies, in the order of the input, on the first GPUs with room."""
    return _Board(problem, _first).place(range(len(problem.models)), _fewest_copies(problem))


def best_fit(problem: Problem) -> Placement | None:
    """Place them on the GPUs with the least memory left instead, as bin packing does."""
    return _Board(problem, _fullest).place(range(len(problem.models)), _fewest_copies(problem))


def prism(problem: Problem) -> Placement | None:
    """Place the fewest copies by falling load where KVPR *before* them is least.

    The rule of Prism (arXiv 2505.04021) and of the ADRS benchmark's first program, with the
    memory check it lacks. A group of GPUs counts as its hottest; of equal GPUs the largest comes
    first.
    """
    gpus = sorted(problem.fleet.gpus, key=lambda gpu: (-gpu.usable_bytes, gpu.id))
    board = _Board(problem, _coolest, gpus)
    return board.place(_by_load(problem), _fewest_copies(problem))


def proportional(problem: Problem) -> Placement | None:
    """Give copies in proportion to demand and place them by Prism's rule.

    The best of several factors of proportion, which is more than an operator would try.
    """
    mean = math.fsum(problem.loads) / len(problem.models)
    if not mean:
        return prism(problem)
    found = []
    for step in range(FACTORS):
        per_load = 1.5 ** (step - FACTORS // 2) / mean
        copies = [
            min(max(math.ceil(load * per_load), model.replicas.min), model.replicas.max)
            for model, load in zip(problem.models, problem.loads, strict=True)
        ]
        found.append(_Board(problem, _coolest).place(_by_load(problem), copies))
    placed = [placement for placement in found if placement is not None]
    return min(placed, key=lambda p: evaluate(problem, p).value, default=None)


SCHEDULERS: dict[str, Callable[[Problem], Placement | None]] = {
    "prism-greedy": prism,
    "first-fit": first_fit,
    "best-fit": best_fit,
    "proportional": proportional,
}
"""Schedulers by name."""


def _fewest_copies(problem: Problem) -> list[int]:
    """Return the least allowed number of copies of each model."""
    if problem.plain:
        return [1] * len(problem.models)
    return [model.replicas.min for model in problem.models]


def _by_load(problem: Problem) -> list[int]:
    """Return the models by falling load; equal ones in the order of the input."""
    return sorted(range(len(problem.models)), key=lambda index: -problem.loads[index])


class _Board:
    """GPUs as they fill up.

    Parameters
    ----------
    problem
        What is placed.
    score
        Of a GPU before anything is put on it, the lowest being taken first.
    gpus
        All GPUs in the order in which those of one score are taken; None for that of the fleet.
    """

    def __init__(
        self,
        problem: Problem,
        score: Callable[["_Board", str], float],
        gpus: Sequence[GPU] | None = None,
    ) -> None:
        self.problem = problem
        self._score = score
        self._free_to_go = not problem.rules and not problem.resource_scopes
        self.order = {gpu.id: at for at, gpu in enumerate(gpus or problem.fleet.gpus)}
        self.free = {gpu.id: gpu.usable_bytes for gpu in problem.fleet.gpus}
        self.kept = dict.fromkeys(self.free, 0)
        self.load = dict.fromkeys(self.free, 0.0)
        domains: dict[str, list[str]] = {}
        for gpu in self.free:
            domains.setdefault(problem.fleet.domain(gpu, "link") or "", []).append(gpu)
        self._domains = list(domains.values())
        self._placed: dict[str, list[Replica]] = {}
        # All GPUs by score, kept sorted, so that a shard need not look at every GPU.
        self._scores = {gpu: score(self, gpu) for gpu in self.free}
        self._ranked = sorted((self._scores[gpu], self.order[gpu], gpu) for gpu in self.free)

    def place(self, order: Sequence[int], copies: Sequence[int]) -> Placement | None:
        """Place that many copies of each model; None where one finds no room."""
        for index in order:
            if not any(
                self._place_model(index, degree, copies[index])
                for degree in sorted(self.problem.models[index].tensor_parallel)
            ):
                return None
        return Placement(tuple(copy for held in self._placed.values() for copy in held))

    def _place_model(self, index: int, degree: int, copies: int) -> bool:
        """Place all copies of a model at a degree, or none of them."""
        need = self.problem.need(index, degree, copies)
        name = self.problem.names[index]
        for number in range(copies):
            group = self._group(index, need, degree, number)
            if group is None:
                for copy in self._placed.pop(name, []):
                    self._take(copy.gpus, need, -1)
                return False
            self._placed.setdefault(name, []).append(Replica(name, number, group))
            self._take(group, need, 1)
        return True

    def _take(self, gpus: Sequence[str], need: ShardNeed, sign: int) -> None:
        """Put shards on GPUs, or take them away."""
        for gpu in gpus:
            self.free[gpu] -= sign * need.weights_bytes
            self.kept[gpu] += sign * need.min_kv_bytes
            self.load[gpu] += sign * need.load
            self._ranked.pop(bisect_left(self._ranked, (self._scores[gpu], self.order[gpu])))
            self._scores[gpu] = self._score(self, gpu)
            insort(self._ranked, (self._scores[gpu], self.order[gpu], gpu))

    def _group(
        self, index: int, need: ShardNeed, degree: int, number: int
    ) -> tuple[str, ...] | None:
        """Return the GPUs with the best score that have room and break no rule."""
        name = self.problem.names[index]
        for gpus in self._groups(index, need, degree):
            if self._may(Replica(name, number, gpus)):
                return gpus
        return None

    def _groups(self, index: int, need: ShardNeed, degree: int) -> Iterator[tuple[str, ...]]:
        """Yield the GPUs that one more copy could take, the best score first."""
        allowed = self.problem.allowed(index)
        held = self._placed.get(self.problem.names[index], ())
        used = {gpu for copy in held for gpu in copy.gpus}

        def fits(gpu: str) -> bool:
            least = max(1, self.kept[gpu] + need.min_kv_bytes)
            return (
                self.free[gpu] - need.weights_bytes >= least and gpu in allowed and gpu not in used
            )

        if degree == 1:
            yield from ((gpu,) for _, _, gpu in self._ranked if fits(gpu))
            return
        groups = []
        for domain in self._domains:
            fitting = sorted((self._scores[g], self.order[g], g) for g in domain if fits(g))
            if len(fitting) >= degree:
                chosen = fitting[:degree]
                groups.append((chosen[-1][0], chosen[0][1], tuple(gpu for _, _, gpu in chosen)))
        yield from (gpus for _, _, gpus in sorted(groups))

    def _may(self, copy: Replica) -> bool:
        """Whether a copy breaks no hard rule and no capacity, as things are."""
        if self._free_to_go:
            return True
        held = {**self._placed, copy.model: [*self._placed.get(copy.model, []), copy]}
        for rule in self.problem.rules:
            if rule.soft is not None or rule.gpu_by_gpu:
                continue  # soft rules are left out; where a model may be is filtered before
            if copy.model not in rule.concerned([copy.model]):
                continue
            names = [copy.model] if rule.model_by_model else rule.concerned(held)
            if any(rule.breaches(self.problem, {name: held[name] for name in names})):
                return False
        return not any(self._overdrawn(copy, held))

    def _overdrawn(self, copy: Replica, held: dict[str, list[Replica]]) -> Iterator[bool]:
        """Yield each capacity that is exceeded where a copy asks for any."""
        if self.problem.models[self.problem.index_of[copy.model]].resources:
            everything = Placement(tuple(c for copies in held.values() for c in copies))
            for violation in rule_violations(self.problem, everything):
                if violation.kind == "resource":
                    yield True


def _first(board: _Board, gpu: str) -> float:
    return board.order[gpu]


def _fullest(board: _Board, gpu: str) -> float:
    return board.free[gpu]


def _coolest(board: _Board, gpu: str) -> float:
    return board.load[gpu] / board.free[gpu]
