"""Descent over neighbourhoods: one driver lowers the maximum, one balances the rest (leximax).

Every step lowers the largest pressure among the GPUs it touches below that of the GPU it
relieves, and so the sorted vector of pressures (leximax), and leaves no rule worse. Neither driver
needs numpy; which kinds of steps there are is for the caller to say.
"""

import heapq
import math
from collections.abc import Sequence

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.neighbourhoods.neighbourhood import Neighbourhood

TOLERANCE = 1e-9
COPY_GAIN = 0.01
"""Least relative gain, below the maximum, for which a copy is started or a split widened."""
EQUALS = 8
"""Equally hot GPUs of which one must be relieved for the descent to go on, where no other number is
asked for."""


def settle(
    board: Assignment,
    watch: Watch,
    limit: float,
    kinds: Sequence[Neighbourhood],
    tolerance: float = TOLERANCE,
    equals: int = EQUALS,
) -> int:
    """Relieve the hottest GPU until nothing helps; return the steps made.

    Parameters
    ----------
    board
        Changed in place.
    watch
        Ends the descent.
    limit
        Steps at most.
    kinds
        Kinds of steps, in the order in which they are tried.
    tolerance
        Relative gain that a step must exceed, and within which GPUs are equally hot.
    equals
        Equally hot GPUs that are tried.
    """
    steps = 0
    while steps < limit and not watch.stop:
        hottest = board.hottest(tolerance, equals)
        if not any(_relieve(board, g, kinds, tolerance, tolerance) for g in hottest):
            break
        steps += 1
    return steps


def level(
    board: Assignment,
    watch: Watch,
    limit: float,
    kinds: Sequence[Neighbourhood],
    tolerance: float = 1e-4,
    *,
    again: bool = False,
) -> int:
    """Relieve every GPU, the hottest first, until none can be: leximax; return the steps.

    Parameters
    ----------
    board, watch, limit, kinds, tolerance
        As of `settle`.
    again
        Whether all GPUs are tried again after a step, and not only those that it touched.
    """
    steps = 0
    copy_gain = max(tolerance, COPY_GAIN)
    stuck: set[int] = set()
    waiting = set(range(board.instance.g))
    ranked = [(-board.pressure[g], g) for g in waiting]
    heapq.heapify(ranked)
    while ranked and steps < limit and not watch.stop:
        hot, g = heapq.heappop(ranked)
        if g not in waiting or -hot != board.pressure[g]:
            continue  # has been relieved, or was tried
        if not 0 < -hot < math.inf:
            break
        waiting.discard(g)
        touched = _relieve(board, g, kinds, tolerance, copy_gain)
        if touched is None:
            stuck.add(g)
            continue
        steps += 1
        if again:
            touched, stuck = touched | stuck, set()
        # Else hotter GPUs may use what changed here; they are few, and were stuck on their own.
        waiting |= touched
        for h in touched:
            heapq.heappush(ranked, (-board.pressure[h], h))
    return steps


def _relieve(
    board: Assignment, g: int, kinds: Sequence[Neighbourhood], gain: float, copy_gain: float
) -> set[int] | None:
    """Make the first step that relieves a GPU; return the GPUs touched, None where nothing helps.

    The gains are those to exceed: in general, and of steps that change how many shards there are.
    """
    hot = board.pressure[g]
    for kind in kinds:
        touched = kind.relieve(board, g, hot * (1 - (copy_gain if kind.adds else gain)))
        if touched is not None:
            return touched
    return None
