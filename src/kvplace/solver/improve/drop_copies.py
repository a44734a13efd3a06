"""Copies that bring nothing are stopped, and those that a model's target makes needless."""

import math
from collections.abc import Callable, Mapping

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import COPY_GAIN
from kvplace.solver.improve.neighbourhoods.neighbourhood import try_changes
from kvplace.solver.instance.instance import Copies, Option


def drop_copies(board: Assignment, watch: Watch) -> int:
    """Stop copies that bring nothing, once the rest is balanced; return how many.

    A copy goes where without it the GPUs concerned are no hotter, or a little and yet well
    below the maximum.
    """

    def drop(j: int, fewer: Option) -> bool:
        before = _worst(board, board.where[j])
        goal = max(before, min(before * (1 + COPY_GAIN), board.worst() * (1 - COPY_GAIN)))
        return any(
            try_changes(board, [(j, fewer, rest)], math.nextafter(goal, math.inf)) is not None
            for rest in _without_one(board, j)
        )

    return sum(_dropped(board, j, drop, watch) for j in range(board.instance.n))


def drop_to_targets(board: Assignment, targets: Mapping[int, float], watch: Watch) -> int:
    """Stop copies as long as all GPUs of their model stay at or below its target.

    Copies go one at a time, each time the one without which the worst of the model's GPUs is
    best. What is not above the target before may rise; the rest of the fleet only loses load.

    Parameters
    ----------
    board
        A valid assignment, changed in place.
    targets
        By model.
    watch
        Ends it early.
    """

    def drop(j: int, fewer: Option) -> bool:
        found = []
        for rest in _without_one(board, j):
            undo, _ = board.apply([(j, fewer, rest)])
            worst = _worst(board, rest)
            if worst <= targets[j] and board.costs.broken <= 0:
                found.append((worst, rest))
            board.apply(undo)
        if found:
            board.apply([(j, fewer, min(found)[1])])
        return bool(found)

    return sum(_dropped(board, j, drop, watch) for j in targets)


def _dropped(board: Assignment, j: int, drop: Callable[[int, Option], bool], watch: Watch) -> int:
    """Stop copies of a model while one can be; return how many."""
    for dropped in range(len(board.where[j])):
        now = board.option[j]
        wanted = now and (now.degree, now.copies - 1)
        fewer = next((o for o in board.instance.options[j] if (o.degree, o.copies) == wanted), None)
        if fewer is None or watch.stop or not drop(j, fewer):
            return dropped
    return 0


def _without_one(board: Assignment, j: int) -> list[Copies]:
    """Return a model's copies without one of them, that on the hottest GPUs first."""
    copies = board.where[j]
    hottest = sorted(copies, key=lambda copy: (-_worst(board, (copy,)), copy))
    return [tuple(other for other in copies if other != copy) for copy in hottest]


def _worst(board: Assignment, copies: Copies) -> float:
    """Return the highest pressure of the GPUs of some copies."""
    return max(board.pressure[g] for copy in copies for g in copy)
