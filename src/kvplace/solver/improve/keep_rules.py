"""Steps that keep soft rules better, whatever they do to pressures short of too full a GPU."""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.neighbourhoods.neighbourhood import moved, stays, uneven
from kvplace.solver.improve.neighbourhoods.shard_exchange import exchange_values

__all__ = ["keep_rules"]

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
    mine = [j for j in board.members[g] if not uneven(board, j)]
    others = np.array([h for h in range(board.instance.g) if h != g])
    if not mine or not len(others):
        return False
    flaws, allowed = board.flaws, board.instance.columns.allowed
    value, pairs = exchange_values(board, g, mine, others)
    finite = np.flatnonzero(value < math.inf)
    for at in finite[np.argsort(value[finite], kind="stable")].tolist():
        a, h, b = pairs(at)
        if a in board.members[h] or b in board.members[g]:
            continue
        if b >= 0 and not (allowed[b][g] and stays(board, b, h, g) and not uneven(board, b)):
            continue
        changes = [moved(board, a, g, h)] + ([moved(board, b, h, g)] if b >= 0 else [])
        undo, touched = board.apply(changes)
        if board.flaws < flaws and all(board.pressure[t] < math.inf for t in touched):
            return True
        board.apply(undo)
    return False
