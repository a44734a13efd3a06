"""Ways out of a clash, each verified: after it a placement exists."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from kvplace.core.hardware import Node
from kvplace.core.problem import Problem
from kvplace.explain.changes import (
    Change,
    Effort,
    another_degree,
    more_nodes,
    node_kinds,
    smaller_weights,
    with_gpus,
)
from kvplace.explain.clash import QUESTION_SECONDS, QUESTION_SHARE, Clash, find_clash
from kvplace.explain.demanded import Demanded, Kind, keeping, without
from kvplace.explain.placeable import Verdict, placeable
from kvplace.explain.words import demand_in_words, room_of
from kvplace.facts.catalogue.gpus import gpu_types
from kvplace.solver.clock import Watch
from kvplace.units import GIB

MODELS_TRIED = 4
"""Models of a clash, the largest first, of which changes are tried."""
MOST_ADDED = 256
"""GPUs or nodes at most that are added in one repair."""
STEPS = 8
"""Demands at most that are released one after the other where no single change is enough."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Changes after which a placement exists, which was verified by finding one.

    Parameters
    ----------
    changes
        What is done, in this order; the last one's problem is the repaired problem.
    """

    changes: tuple[Change, ...]

    @property
    def effort(self) -> Effort:
        """The most that any of them takes."""
        return max(change.effort for change in self.changes)

    @property
    def text(self) -> str:
        """What is done, for people."""
        return "; and ".join(change.text for change in self.changes)


def find_repairs(problem: Problem, clash: Clash, watch: Watch | None = None) -> tuple[Repair, ...]:
    """Return the repairs found, the least effort first.

    Single changes come first; where none of them is enough, demands are released one clash after
    the other until a placement exists.

    Parameters
    ----------
    problem
        What cannot be placed.
    clash
        A clash of it.
    watch
        Clock and interrupt; when it ends, the repairs found so far are returned.
    """
    run = _Run(watch or Watch())
    found = run.single(_released(problem, clash))
    hardware = [Repair((change,)) for change in run.hardware(problem, clash)]
    found += run.single(_engines(problem, clash))
    found += run.single(_left_out(problem, clash))
    for kind in ("degree", "weights") if not found else ():
        found += run.several(problem, clash, kind)
        if found:
            break
    return tuple(sorted(found + hardware, key=lambda repair: (repair.effort, len(repair.changes))))


def _released(problem: Problem, clash: Clash) -> Iterator[Change]:
    """Yield the problem without each rule or limit of the clash."""
    for member in clash.members:
        changed = None if member.kind is Kind.MODEL else without(problem, member)
        if changed is not None:
            yield _release(problem, member, changed)


def _left_out(problem: Problem, clash: Clash) -> Iterator[Change]:
    """Yield the problem without each of the largest models of the clash."""
    for index in _largest(problem, clash):
        member = Demanded(Kind.MODEL, problem.models[index].name)
        changed = without(problem, member)
        if changed is not None:
            yield _release(problem, member, changed)


def _largest(problem: Problem, clash: Clash) -> list[int]:
    """Return the positions of the largest models of a clash."""
    names = [member.subject for member in clash.members if member.kind is Kind.MODEL]
    indices = [problem.index_of[name] for name in names]
    return sorted(indices, key=lambda i: -problem.models[i].weights_bytes)[:MODELS_TRIED]


def _release(problem: Problem, member: Demanded, changed: Problem) -> Change:
    """Return the step that gives up one demand."""
    if member.kind is Kind.MODEL:
        text = f"leave out {member.subject}"
        return Change("leave_out", member.subject, text, Effort.SERVICE, changed)
    words = demand_in_words(problem, member)
    what = "release the rule" if member.kind is Kind.RULE else "give up"
    return Change("release", member.subject, f"{what}: {words}", Effort.RULE, changed)


def _engines(problem: Problem, clash: Clash) -> Iterator[Change]:
    """Yield other ways to run the largest models of the clash."""
    for index in _largest(problem, clash):
        engine = (another_degree(problem, index), smaller_weights(problem, index))
        yield from (change for change in engine if change is not None)


class _Run:
    """Questions about changed problems under one watch."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        share = watch.left * QUESTION_SHARE
        self._seconds = min(share, QUESTION_SECONDS) if share < math.inf else None

    def single(self, changes: Iterable[Change]) -> list[Repair]:
        """Return the changes that are enough by themselves."""
        found, each = [], iter(changes)
        while not self.watch.stop and (change := next(each, None)) is not None:
            found += [Repair((change,))] if self.possible(change.problem) else []
        return found

    def possible(self, problem: Problem) -> bool:
        """Whether a placement of the problem was found."""
        if self.watch.stop:
            return False
        return placeable(problem, self.watch, self._seconds) is Verdict.POSSIBLE

    def hardware(self, problem: Problem, clash: Clash) -> Iterator[Change]:
        """Yield the fewest further GPUs, as small as they may be, and the fewest further nodes."""
        room = room_of(clash.problem)
        touched = [n for n in problem.fleet.nodes if any(g.id in room.gpus for g in n.gpus)]
        touched = touched or list(problem.fleet.nodes)
        gpus = self._gpus(problem, touched[0], inside=True) if len(touched) == 1 else None
        gpus = gpus or self._gpus(problem, touched[0], inside=False)
        if gpus is not None:
            yield gpus
        for like in node_kinds(problem.fleet):
            if len(like.gpus) > 1:
                nodes = self._fewest(partial(more_nodes, problem, like))
                if nodes is not None:
                    yield nodes[1]

    def _gpus(self, problem: Problem, like: Node, *, inside: bool) -> Change | None:
        """Return the fewest further GPUs that are enough, of the fewest whole GiB.

        None where even one would have to be larger than any that is known.
        """
        change = partial(with_gpus, problem, like, inside=inside)
        largest = max(gpu.usable_bytes for gpu in problem.fleet.gpus)
        for index, model in enumerate(problem.models):
            need = problem.need(index, max(model.tensor_parallel))
            largest = max(largest, need.weights_bytes + max(1, need.min_kv_bytes))
        sold = max(kind.memory_bytes for kind in gpu_types().values())
        if largest > max(sold, *(gpu.usable_bytes for gpu in problem.fleet.gpus)):
            return None
        high = -(-largest // GIB)
        found = self._fewest(lambda number: change(high, number))
        if found is None:
            return None
        number, _ = found
        low = 0  # whole GiB known to be too few
        while high - low > 1 and not self.watch.stop:
            middle = (low + high) // 2
            enough = self.possible(change(middle, number).problem)
            low, high = (low, middle) if enough else (middle, high)
        return change(high, number)

    def _fewest(self, change: Callable[[int], Change]) -> tuple[int, Change] | None:
        """Return the least number that is enough, and its change; None where it is not found."""
        low, high = 0, 1
        while not self.possible(change(high).problem):
            low, high = high, 2 * high
            if high > MOST_ADDED or self.watch.stop:
                return None
        while high - low > 1 and not self.watch.stop:
            middle = (low + high) // 2
            low, high = (low, middle) if self.possible(change(middle).problem) else (middle, high)
        return high, change(high)

    def several(self, problem: Problem, clash: Clash, favoured: str) -> Iterator[Repair]:
        """Undo one clash after the other, each by what takes the least, until all is placed.

        Parameters
        ----------
        problem, clash
            Where it starts.
        favoured
            Kind of change to take first among those that take the same effort.
        """
        changes: list[Change] = []
        current, at = problem, clash
        while len(changes) < STEPS and not self.watch.stop:
            steps = sorted(
                (*_released(current, at), *_engines(current, at), *_left_out(current, at)),
                key=lambda step: (step.effort, step.kind != favoured),
            )
            step = next((one for one in steps if self._undoes(one, at)), None)
            if step is None:
                return
            changes.append(step)
            current = step.problem
            if self.possible(current):
                yield Repair(tuple(changes))
                return
            found = find_clash(current, self.watch)
            if found is None:
                return
            at = found

    def _undoes(self, step: Change, clash: Clash) -> bool:
        """Whether a step makes the demands of a clash possible."""
        if step.kind in {"release", "leave_out"}:
            return clash.irreducible
        part = keeping(step.problem, clash.members)
        return part is not None and self.possible(part)
