"""Moves of one undivided model and swaps of two under one pressure, in plain Python.

Small fleets are answered by these before numpy is imported.
"""

import math

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.improve.neighbourhoods.neighbourhood import Neighbourhood

Step = tuple[int, list[int], list[int]]
"""A partner, the models given to it, and those taken back."""


class MoveAndSwap(Neighbourhood):
    """The best move off a GPU, or failing that the best swap, with any other.

    Parameters
    ----------
    board
        The assignment that is descended, which nothing else changes meanwhile.
    margin
        Share of each GPU's memory that a step which takes memory there must leave free.
    """

    def __init__(self, board: Assignment, margin: float = 0.0) -> None:
        self._spare = [margin * memory for memory in board.instance.memory]
        self._done = 0
        self._changed = [0] * board.instance.g  # steps done when a GPU changed last
        self._failed = [-1] * board.instance.g  # steps done when relieving it failed last

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best move or swap that leaves both GPUs below a pressure.

        Of a GPU that has not changed since relieving it failed, only partners that have are
        looked at; the goal must be no higher than it was then.
        """
        since = self._failed[g] if self._changed[g] <= self._failed[g] else -1
        others = [
            h for h, at in enumerate(self._changed)
            if at > since and h != g and board.pressure[h] < goal
        ]  # fmt: skip
        found = self._best(board, g, others, goal, swaps=False) or self._best(
            board, g, others, goal, swaps=True
        )
        if found is not None:
            h, out, back = found
            if board.exchange_below(g, out, h, back, goal):
                self._done += 1
                self._changed[g] = self._changed[h] = self._done
                return {g, h}
        self._failed[g] = self._done
        return None

    def _best(
        self, board: Assignment, g: int, others: list[int], goal: float, *, swaps: bool
    ) -> Step | None:
        """Return the move off a GPU or the swap with the smallest larger pressure below a goal."""
        instance, best = board.instance, None
        sizes, keeps, loads = instance.size, instance.keep, instance.load
        mine = [(sizes[j], keeps[j], loads[j], j) for j in board.members[g]]
        free_g, kept_g, load_g = board.free[g], board.kept[g], board.load[g]
        spare_g = self._spare[g]
        for h in others:
            free_h, kept_h, load_h = board.free[h], board.kept[h], board.load[h]
            spare_h = self._spare[h]
            for i in board.members[h] if swaps else (-1,):
                size_i, keep_i, load_i = (0, 0, 0.0) if i < 0 else (sizes[i], keeps[i], loads[i])
                for size_j, keep_j, load_j, j in mine:
                    size, load = size_j - size_i, load_j - load_i
                    # The plain ratio first: it settles nearly every pair.
                    if free_g + size < 1 or load_g - load >= goal * (free_g + size):
                        continue
                    keep = keep_j - keep_i
                    spare = (spare_g, 0.0) if size < 0 else (0.0, spare_h)
                    here = _after(free_g + size, kept_g - keep, load_g - load, spare[0])
                    there = _after(free_h - size, kept_h + keep, load_h + load, spare[1])
                    if here < goal and there < goal:
                        goal, best = max(here, there), (h, [j], [] if i < 0 else [i])
        return best


def _after(free: int, kept: int, load: float, spare: float) -> float:
    """Return the pressure of a GPU after a change; ``inf`` where it would not fit."""
    if free < 1 or free < kept or free < spare:
        return math.inf
    return max(load, 0.0) / free
