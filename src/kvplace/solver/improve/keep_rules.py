"""Steps that keep soft rules better, whatever they do to pressures short of too full a GPU."""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.neighbourhoods.shard_exchange import exchanges

EXCHANGES = 2_500
"""Moves and swaps of a fleet up to which all are tried, which takes some 0.3 s."""


def keep_rules(board: Assignment, watch: Watch, most: float = math.inf) -> int:
    """Move shards and swap pairs while that breaks less of the rules; return the steps made.

    Of the exchanges of one GPU with the others, those come first that leave the least pressure.

    Parameters
    ----------
    board
        Changed in place.
    watch, most
        End it early: time, and steps.
    """
    steps, (n, g) = 0, (board.instance.n, board.instance.g)
    waiting = list(range(g)) if n * (n + g) <= EXCHANGES else []
    while waiting and steps < most and any(board.flaws) and not watch.stop:
        if _better(board, waiting.pop()):
            steps += 1
            waiting = list(range(g))
    return steps


def _better(board: Assignment, g: int) -> bool:
    """Make the first exchange of a GPU after which less is broken; return whether there is one."""
    flaws, others = board.flaws, np.delete(np.arange(board.instance.g), g)
    for changes in exchanges(board, g, others, math.inf):
        undo, touched = board.apply(changes)
        if board.flaws < flaws and all(board.pressure[t] < math.inf for t in touched):
            return True
        board.apply(undo)
    return False
