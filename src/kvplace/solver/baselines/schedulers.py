"""How schedulers place models today: one copy after the other, and none is ever moved again.

Filter and score, as in Kubernetes and GPUStack: of the GPUs that have room and break no hard
rule, those with the best score are taken. Tensor parallel takes its GPUs within one link domain.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.instance import Instance, Option
from kvplace.solver.instance.pressure import fits

FACTORS = 20
"""Columns of copies that are tried in proportion to demand, each 1.5 times the one before."""

Score = Callable[[Assignment, int], float]
"""Of a GPU before anything is put on it, the lowest being taken first."""


def first_fit(problem: Problem) -> Placement | None:
    """Place the fewest copies, in the order of the input, on the first GPUs with room."""
    return _placed(problem, lambda board, g: board.instance.gpu_index[g])


def best_fit(problem: Problem) -> Placement | None:
    """Place them on the GPUs with the least memory left instead, as bin packing does."""
    return _placed(problem, lambda board, g: board.free[g])


def prism(problem: Problem) -> Placement | None:
    """Place the fewest copies by falling load where KVPR *before* them is least.

    The rule of Prism (arXiv 2505.04021) and of the ADRS benchmark's first program, with the
    memory check it lacks. A group of GPUs counts as its hottest; of equal GPUs the largest comes
    first.
    """
    return _placed(problem, _coolest, by_load=True, largest_first=True)


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
        found.append(_placed(problem, _coolest, copies, by_load=True))
    placed = [placement for placement in found if placement is not None]
    return min(placed, key=lambda p: evaluate(problem, p).value, default=None)


SCHEDULERS: dict[str, Callable[[Problem], Placement | None]] = {
    "prism-greedy": prism,
    "first-fit": first_fit,
    "best-fit": best_fit,
    "proportional": proportional,
}
"""Schedulers by name."""


def _coolest(board: Assignment, g: int) -> float:
    return board.load[g] / board.free[g]


def _placed(
    problem: Problem,
    score: Score,
    copies: Sequence[int] | None = None,
    *,
    by_load: bool = False,
    largest_first: bool = False,
) -> Placement | None:
    """Place copies of each model; None where one finds no room.

    Parameters
    ----------
    problem
        What is placed.
    score
        Of a GPU.
    copies
        Of each model; None for the fewest allowed.
    by_load
        Whether models come by falling load; else, and where loads are equal, as in the input.
    largest_first
        Whether the largest GPU is taken first of those of one score; else the first of the input.
    """
    instance = load_instance(problem)
    position = {i: j for j, i in enumerate(instance.model_index)}
    order = list(range(instance.n))
    if by_load:
        order.sort(key=lambda i: -problem.loads[i])
    schedule = _Schedule(instance, score, largest_first=largest_first)
    for i in order:
        fewest = 1 if problem.plain else problem.models[i].replicas.min
        if not schedule.place(position[i], fewest if copies is None else copies[i]):
            return None
    return unload_copies(problem, instance, schedule.board.where)


class _Schedule:
    """GPUs as they fill up, kept sorted by score, so that a shard need not look at every GPU."""

    def __init__(self, instance: Instance, score: Score, *, largest_first: bool) -> None:
        self._instance = instance
        self.board = Assignment(instance)
        self._score = score
        gpus = range(instance.g)  # the largest first
        self._order = gpus if largest_first else instance.gpu_index
        self._scores = [score(self.board, g) for g in gpus]
        self._ranked = sorted((self._scores[g], self._order[g], g) for g in gpus)
        self._domains: dict[int, list[int]] = {}
        for g, domain in enumerate(instance.domain_of or gpus):
            self._domains.setdefault(domain, []).append(g)

    def place(self, j: int, copies: int) -> bool:
        """Place all copies of a model at the least degree at which all find room, or none."""
        for option in sorted(self._instance.options[j], key=lambda option: option.degree):
            if option.copies == copies and self._place_at(j, option):
                return True
        return False

    def _place_at(self, j: int, option: Option) -> bool:
        for _ in range(option.copies):
            copy = next(filter(lambda copy: self._may(j, copy), self._groups(j, option)), None)
            where = () if copy is None else (*self.board.where[j], copy)
            _, touched = self.board.apply([(j, option if where else None, where)])
            for g in touched:
                self._ranked.pop(bisect_left(self._ranked, (self._scores[g], self._order[g])))
                self._scores[g] = self._score(self.board, g)
                insort(self._ranked, (self._scores[g], self._order[g], g))
            if copy is None:
                return False
        return True

    def _groups(self, j: int, option: Option) -> Iterator[tuple[int, ...]]:
        """Yield the GPUs that one more copy could take, the best score first."""
        board, instance = self.board, self._instance
        used = {g for copy in board.where[j] for g in copy}
        anywhere = instance.anywhere(j)

        def may(g: int) -> bool:
            room = fits(board.free[g] - option.size, board.kept[g] + option.keep)
            return bool(
                room and g not in used and (anywhere or instance.masks[instance.mask_of[j]][g])
            )

        if option.degree == 1:
            yield from ((g,) for _, _, g in self._ranked if may(g))
            return
        groups = []
        for domain in self._domains.values():
            fitting = sorted((self._scores[g], self._order[g], g) for g in domain if may(g))
            if len(fitting) >= option.degree:
                chosen = fitting[: option.degree]
                gpus = tuple(sorted(g for _, _, g in chosen))
                groups.append((chosen[-1][0], chosen[0][1], gpus))
        yield from (gpus for _, _, gpus in sorted(groups))

    def _may(self, j: int, copy: tuple[int, ...]) -> bool:
        """Whether one more copy breaks no hard rule and no capacity, as things are."""
        costs, copies = self.board.costs, self.board.where[j]
        return costs.after(j, copies, (*copies, copy))[0] <= costs.broken
