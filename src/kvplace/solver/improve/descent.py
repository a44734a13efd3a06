"""Descent over neighbourhoods: one driver lowers the maximum, one balances the rest (leximax).

Every step lowers the largest pressure among the GPUs it touches below that of the GPU it
relieves, and so the sorted vector of pressures (leximax), and leaves no rule worse.
"""

import math
from collections.abc import Sequence

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.neighbourhoods.neighbourhood import Neighbourhood
from kvplace.solver.improve.neighbourhoods.replacement import AnotherCopy, AnotherSplit, Reseat
from kvplace.solver.improve.neighbourhoods.shard_exchange import ShardExchange
from kvplace.solver.improve.neighbourhoods.wide_exchange import Trade, WideExchange
from kvplace.solver.improve.pair_exchange_cluster import Wide

__all__ = ["COPY_GAIN", "level", "neighbourhoods", "relieve", "settle"]

TOLERANCE = 1e-9
COPY_GAIN = 0.01
"""Least relative gain, below the maximum, for which a copy is started or a split widened."""
EQUALS = 8
"""Equally hot GPUs of which one must be relieved for the descent to go on."""


def neighbourhoods(board: Assignment, wide: Wide | None = None) -> list[Neighbourhood]:
    """Return the kinds of steps that a problem has, in the order in which they are tried.

    Parameters
    ----------
    board
        Of the problem.
    wide
        Looks at exchanges with all GPUs; None leaves it to the coldest.
    """
    found: list[Neighbourhood] = [
        ShardExchange(), Reseat(), AnotherCopy(), AnotherSplit(),
    ]  # fmt: skip
    if wide is not None:
        found[:1] = [WideExchange(wide), ShardExchange(), Trade(wide)]
    return [one for one in found if one.applies(board)]


def settle(
    board: Assignment,
    watch: Watch,
    limit: float,
    wide: Wide | None = None,
    tolerance: float = TOLERANCE,
) -> int:
    """Relieve the hottest GPU until nothing helps; return the steps made."""
    steps, kinds = 0, neighbourhoods(board, wide)
    while steps < limit and not watch.stop:
        worst = board.worst()
        hottest = np.flatnonzero(board.arrays.pressure >= worst * (1 - tolerance))
        if worst <= 0 or not any(
            relieve(board, int(g), kinds, tolerance, tolerance) for g in hottest[:EQUALS]
        ):
            break
        steps += 1
    return steps


def level(
    board: Assignment,
    watch: Watch,
    limit: int,
    tolerance: float = 1e-4,
    kinds: Sequence[Neighbourhood] | None = None,
) -> int:
    """Relieve every GPU, the hottest first, until none can be: leximax; return the steps.

    Parameters
    ----------
    board
        Changed in place.
    watch
        Ends the descent.
    limit
        Steps at most.
    tolerance
        Relative gain that a step must exceed.
    kinds
        Kinds of steps; None for all that the problem has.
    """
    steps = 0
    kinds = neighbourhoods(board) if kinds is None else kinds
    stuck = np.zeros(board.instance.g, dtype=bool)
    while steps < limit and not watch.stop:
        open_ = np.where(stuck, -1.0, board.arrays.pressure)
        g = int(open_.argmax())
        if open_[g] <= 0 or open_[g] == math.inf:
            break
        touched = relieve(board, g, kinds, tolerance, max(tolerance, COPY_GAIN))
        if touched is None:
            stuck[g] = True
        else:
            # Hotter GPUs may use what changed here; they are few, and were stuck on their own.
            stuck[list(touched)] = False
            steps += 1
    return steps


def relieve(
    board: Assignment, g: int, kinds: Sequence[Neighbourhood], gain: float, copy_gain: float
) -> set[int] | None:
    """Make the first step that relieves a GPU.

    Parameters
    ----------
    board
        Changed in place.
    g
        The GPU to relieve.
    kinds
        Kinds of steps, in order.
    gain, copy_gain
        Relative gains to exceed: in general, and of steps that change how many shards there are.

    Returns
    -------
    set of int or None
        The GPUs touched; None where nothing helps.
    """
    hot = board.pressure[g]
    for kind in kinds:
        touched = kind.relieve(board, g, hot * (1 - (copy_gain if kind.adds else gain)))
        if touched is not None:
            return touched
    return None
