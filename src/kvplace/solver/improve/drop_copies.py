"""Copies that bring nothing are stopped, once the rest is balanced."""

import math

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import COPY_GAIN
from kvplace.solver.improve.neighbourhoods.neighbourhood import try_changes

__all__ = ["drop_copies"]


def drop_copies(board: Assignment, watch: Watch) -> int:
    """Stop copies that bring nothing; return how many.

    A copy goes where without it the GPUs concerned are no hotter, or a little and yet well
    below the maximum.
    """
    dropped = 0
    for j, options in enumerate(board.instance.options):
        least = min((o.copies for o in options), default=1)
        stuck = watch.stop is not None
        while not stuck and len(board.where[j]) > least:
            stuck = not _drop(board, j)
            dropped += not stuck
    return dropped


def _drop(board: Assignment, j: int) -> bool:
    """Stop the copy of a model without which the rest is best, if it brings nothing."""
    option, copies = board.option[j], board.where[j]
    assert option is not None
    wanted = (option.degree, option.copies - 1)
    fewer = next((o for o in board.instance.options[j] if (o.degree, o.copies) == wanted), None)
    if fewer is None:
        return False
    before = max(board.pressure[g] for copy in copies for g in copy)
    goal = max(before, min(before * (1 + COPY_GAIN), board.worst() * (1 - COPY_GAIN)))
    hottest = sorted(
        copies, key=lambda copy: (-max(float(board.arrays.pressure[g]) for g in copy), copy)
    )
    for copy in hottest:
        rest = tuple(other for other in copies if other != copy)
        if try_changes(board, [(j, fewer, rest)], math.nextafter(goal, math.inf)) is not None:
            return True
    return False
