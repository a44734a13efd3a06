"""Rooms: the room that each GPU has left at a target, sorted, for best fit at every size."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain

from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.construct.candidates import RULED, TRIED, best_seat
from kvplace.solver.instance.instance import Option

__all__ = ["Rooms"]

ROOMY = 0.6
"""Most of a GPU that a shard may take for which it need not be a larger one."""


class Rooms:
    """Places models on a board where the least room is left at a target.

    Parameters
    ----------
    board
        Changed in place, through this alone.
    target
        KVPR not to exceed.
    """

    def __init__(self, board: Assignment, target: float) -> None:
        instance = board.instance
        self._board, self._target = board, target
        self._step = 1
        self._memory: list[int] = instance.columns.memory.tolist()
        self._sizes = sorted(set(self._memory))[:-1]
        self._room = [self._left(g) for g in range(instance.g)]
        self._sorted: list[tuple[float, int]] = []  # made for the first model that needs it
        self._mask_of: list[int] = instance.columns.mask_of.tolist()
        self._masks: dict[int, list[bool]] = {}
        self._domain: list[list[int]] = [
            [g for g in row if g < instance.g] for row in instance.columns.domains.tolist()
        ]
        self._domain_of: list[int] = instance.columns.domain_of.tolist()
        # Per degree, link domains by the room of the last GPU that a copy would take.
        self._split: dict[int, list[tuple[float, int]]] = {}
        self._last: dict[int, list[float]] = {}

    def place(self, j: int, option: Option, *, apart: bool = False) -> bool:
        """Place all copies of a model that is off the board; whether there was room.

        With `apart` each goes where most room is left, and not least.
        """
        need = option.size + option.load / self._target
        self._step = -1 if apart else 1
        for _ in range(option.copies):
            seat = self._seat(j, option, need)
            if seat is None:
                self._apply((j, None, ()))
                return False
            self._apply((j, option, (*self._board.where[j], seat)))
        return True

    def _seat(self, j: int, option: Option, need: float) -> tuple[int, ...] | None:
        """Return the tightest seat for one more copy that breaks nothing, if there is one."""
        board = self._board
        taken = {g for copy in board.where[j] for g in copy}
        found = (
            self._gpus(j, option, need, taken)
            if option.degree == 1
            else chain.from_iterable(
                self._groups(j, option, need, taken, most) for most in self._memories(need)
            )
        )
        return best_seat(board, j, found, TRIED, RULED)

    def _memories(self, need: float) -> list[float]:
        """Return the sizes of memory up to which GPUs are looked at, one after the other.

        What goes where most room is left leaves larger GPUs to those that need them.
        """
        if self._step == 1:
            return [math.inf]
        return [*(size for size in self._sizes if need <= ROOMY * size), math.inf]

    def _left(self, g: int) -> float:
        """Return the room that a GPU has left at the target."""
        return self._board.free[g] - self._board.load[g] / self._target

    def _fitting(
        self, j: int, gpus: Iterable[int], option: Option, taken: set[int]
    ) -> Iterator[int]:
        """Yield those of some GPUs that a model may run on and whose memory holds a shard."""
        board = self._board
        free, kept, size, keep = board.free, board.kept, option.size, option.keep
        allowed = self._allowed(j)
        for g in gpus:
            # What `fits` says, without a call for each of many GPUs.
            left = free[g] - size
            if left >= 1 and left >= kept[g] + keep and allowed[g] and g not in taken:
                yield g

    def _gpus(
        self, j: int, option: Option, need: float, taken: set[int]
    ) -> Iterator[tuple[int, ...]]:
        """Yield single GPUs, those with the least room first."""
        if not self._sorted:
            self._sorted = sorted((room, g) for g, room in enumerate(self._room))
        roomy = range(bisect_left(self._sorted, (need, -1)), len(self._sorted))[:: self._step]
        gpus = (self._sorted[at][1] for at in roomy)
        for g in self._fitting(j, gpus, option, taken):
            yield (g,)

    def _allowed(self, j: int) -> list[bool]:
        """Return whether a model may run on each GPU."""
        at = self._mask_of[j]
        if at not in self._masks:
            self._masks[at] = self._board.instance.columns.masks[at].tolist()
        return self._masks[at]

    def _groups(
        self, j: int, option: Option, need: float, taken: set[int], most: float
    ) -> Iterator[tuple[int, ...]]:
        """Yield groups of GPUs of one link domain, the domains with the least room first."""
        degree = option.degree
        ranked = self._ranked(degree)
        for at in range(bisect_left(ranked, (need, -1)), len(ranked))[:: self._step]:
            roomy = (
                g for g in self._domain[ranked[at][1]]
                if self._room[g] >= need and self._memory[g] <= most
            )  # fmt: skip
            gpus = list(self._fitting(j, roomy, option, taken))
            if len(gpus) >= degree:
                gpus.sort(key=lambda g: (self._step * self._room[g], g))
                yield tuple(sorted(gpus[:degree]))

    def _ranked(self, degree: int) -> list[tuple[float, int]]:
        """Return the link domains by the room that the last of `degree` GPUs would have."""
        if degree not in self._split:
            last = [self._nth(d, degree) for d in range(len(self._domain))]
            self._last[degree] = last
            self._split[degree] = sorted((room, d) for d, room in enumerate(last))
        return self._split[degree]

    def _nth(self, domain: int, degree: int) -> float:
        gpus = self._domain[domain]
        if len(gpus) < degree:
            return -1.0
        return sorted([self._room[g] for g in gpus])[-degree]

    def _apply(self, change: Change) -> None:
        """Make a change on the board and sort the GPUs that changed anew."""
        touched = self._board.apply([change])[1]
        for g in touched:
            room = self._left(g)
            if self._sorted and room != self._room[g]:
                self._sorted.pop(bisect_left(self._sorted, (self._room[g], g)))
                insort(self._sorted, (room, g))
            self._room[g] = room
        domains = {self._domain_of[g] for g in touched}
        for degree, ranked in self._split.items():
            last = self._last[degree]
            for domain in domains:
                room = self._nth(domain, degree)
                if room != last[domain]:
                    ranked.pop(bisect_left(ranked, (last[domain], domain)))
                    insort(ranked, (room, domain))
                    last[domain] = room
