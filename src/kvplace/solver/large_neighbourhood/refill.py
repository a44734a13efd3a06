"""Refill: pack a cluster at a target by filling its link domains anew, one by one.

See `kvplace.solver.large_neighbourhood.refill_kernel` for one filling, and `annealed_fillings`
beside it for many. A model is copied as often as takes the least room at the target, or as the
configuration program says: least by a mix of pressures may be too much of one. Under several
pressures a model that has no place so is tried with other numbers of copies. So copies, degrees
and places are chosen together. What rules bind stays where it is.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.chance import seeded
from kvplace.solver.clock import Watch
from kvplace.solver.instance.options import LOOSE, Chooser, scarcity
from kvplace.solver.instance.parts import Parts
from kvplace.solver.kernels import Crew
from kvplace.solver.large_neighbourhood.annealed_fillings import (
    POWER,
    Course,
    Known,
    fill_until,
    nothing_known,
)
from kvplace.solver.large_neighbourhood.refill_kernel import Worth
from kvplace.solver.large_neighbourhood.seat_board import Board

Chosen = Callable[[float], Floats | None]
"""Returns (rows,) what part of its model should take each option at a target, as the configuration
program says; None for the number of copies that takes least room."""

WARM = 0.07
"""First temperature, in GPUs, at which a change is kept that leaves more, where not all domains are
filled anew first."""
ONE, SEVERAL = Course(0.05, 0.1, 1, 0.0), Course(0.15, 0.2, 2, 0.3)
"""Under one pressure, and under several, where other numbers of copies help: measured."""
CALLS = 1_000_003
"""Seeds of searches are apart by so much, and those of the targets of one search by one."""


class Refiller:
    """Packs assignments of one instance at targets.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of the choices.
    watch
        Ends it.
    chosen
        What the configuration program chooses at a target.
    """

    def __init__(
        self, chooser: Chooser, seed: int, watch: Watch, chosen: Chosen = lambda _: None
    ) -> None:
        instance, columns = chooser.instance, chooser.instance.columns
        self.chosen = chosen
        self._chooser, self._instance, self._watch = chooser, instance, watch
        self._seed = seed * CALLS
        self._free = instance.regions.free.copy()
        self._free[list(instance.uneven)] = False
        self._degree = np.array(instance.degree, dtype=np.int64)
        self._copies = np.array(instance.copies, dtype=np.int64)
        most = np.maximum.reduceat(self._copies, columns.starts[:-1])
        most[~self._free] = 0
        self._first_seat: Ints = np.concatenate([[0], np.cumsum(most)])
        order = np.argsort(columns.domain_of, kind="stable")
        counts = np.bincount(columns.domain_of)
        self._domains: Ints = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        self._in_domain: Ints = order.astype(np.int64)
        self._masks = np.array(columns.masks, dtype=np.uint8)
        self._parts = Parts(instance)

    def pack(self, board: Assignment, target: float, rounds: int) -> tuple[bool, int]:
        """Bring an assignment to a target, if fillings do; return whether, and the steps made.

        Parameters
        ----------
        board
            Changed only where it is at or below the target afterwards.
        target
            Max pressure.
        rounds
            Work at most, in fillings of all domains.
        """
        reached, made = self.pack_lowest(board, [(target, True)], rounds, Crew(1))
        return reached is not None, made

    def pack_lowest(
        self, board: Assignment, aims: Sequence[tuple[float, bool]], rounds: int, crew: Crew
    ) -> tuple[int | None, int]:
        """Bring an assignment to the first of some targets that fillings reach.

        Parameters
        ----------
        board
            Changed only where it is at or below a target afterwards.
        aims
            Targets, the lowest first, and whether all domains are filled anew. Otherwise only those
            above the target are, and then some at a time with little heat: better where the target
            is just below the value.
        rounds
            Work at most for each target, in fillings of all domains.
        crew
            Looks at several targets at once; no more at any above one that is reached.

        Returns
        -------
        tuple
            Which one was reached, None for none, and the steps made for it and those below it.
        """
        tried: list[tuple[Board | None, int]] = [(None, 0)] * len(aims)
        chosen = [self.chosen(target) for target, _ in aims]
        first_seed, steps, begun = self._seed, 0, 0
        self._seed += len(aims)

        def look(first: int, end: int) -> int:
            for at in range(begun + first, begun + end):

                def lower(at: int = at) -> bool:
                    return any(state is not None for state, _ in tried[begun:at])

                if not lower():
                    tried[at] = self._fill(
                        board, *aims[at], rounds, first_seed + at, lower, chosen[at]
                    )
            return 0

        while begun < len(aims):
            crew.share(look, len(aims) - begun, 1)
            found = [at for at in range(begun, len(aims)) if tried[at][0] is not None]
            end = found[0] + 1 if found else len(aims)
            steps += sum(made for _, made in tried[begun:end])
            state = tried[end - 1][0]
            if state is not None and self.carry_out(board, state, aims[end - 1][0]):
                return end - 1, steps
            begun = end  # what was above it was not looked at to its end
            tried[begun:] = [(None, 0)] * (len(aims) - begun)
        return None, steps

    def fill(
        self,
        board: Assignment,
        target: float,
        rounds: int,
        note: Callable[[Board, Known], object],
        chosen: Floats | None,
    ) -> tuple[Board | None, int]:
        """Return a board on which all copies have a place, None for none, and the steps made.

        Parameters
        ----------
        board
            Not changed.
        target
            Max pressure.
        rounds
            Work at most, in fillings of all domains.
        note
            Told what is known now and then.
        """
        self._seed += 1
        return self._fill(board, target, True, rounds, self._seed - 1, lambda: False, chosen, note)  # noqa: FBT003 - all anew

    def _fill(
        self, board: Assignment, target: float, anew: bool, rounds: int, seed: int,
        ended: Callable[[], bool], chosen: Floats | None,
        note: Callable[[Board, Known], object] | None = None,
    ) -> tuple[Board | None, int]:  # fmt: skip
        """Return a board on which all copies have a place, None for none, and the steps made."""
        state = self.state_of(board, target)
        worth = worth_of(state, self._chooser, target, chosen)
        if worth is None:
            return None, 0
        known = nothing_known(state)
        course = SEVERAL if self._instance.pressures > 1 else ONE
        whole, hottest = (math.ceil(course.whole * rounds), course.hottest) if anew else (0, WARM)
        chance, made = seeded(seed), 0
        while known.work[0] < rounds and not self._watch.stop and not ended():
            made = fill_until(state, worth, known, made, whole, rounds, hottest, course, chance)
            if note is not None:
                note(state, known)
            if known.left[0] <= 0:
                return state, made
        return None, made

    def carry_out(self, board: Assignment, state: Board, target: float) -> bool:
        """Move what moved on the board, unless that breaks anything or misses the target.

        Returns
        -------
        bool
            Whether the assignment is as `state` says now.
        """
        flaws, options = board.flaws, self._instance.options
        changes: list[Change] = []
        for j in np.flatnonzero(state.row >= 0).tolist():
            row = int(state.row[j])
            option = options[j][row - int(state.first_row[j])]
            first = int(state.first_seat[j])
            seats = state.gpu[first : first + option.copies, : option.degree]
            copies = tuple(sorted(tuple(sorted(copy)) for copy in seats.tolist()))
            if copies != board.where[j]:
                changes.append((j, option, copies))
        undo, _ = board.apply(changes)
        if board.worst() <= target and board.flaws <= flaws:
            return True
        board.apply(undo)
        return False

    def state_of(self, board: Assignment, target: float) -> Board:
        """Return an assignment as the kernels have it, without what stays where it is.

        Options that take more than `LOOSE` times the room of the least are none.
        """
        instance, columns = self._instance, self._instance.columns
        size, cap = self._parts.of_options(target), self._parts.has.copy()
        row = np.full(instance.n, -1, dtype=np.int64)
        gpu = np.full((self._first_seat[-1], int(self._degree.max())), -1, dtype=np.int64)
        for j, copies in enumerate(board.where):
            option = board.option[j]
            if option is None:
                continue
            if self._free[j]:
                row[j] = option.row
                first = self._first_seat[j]
                gpu[first : first + option.copies, : option.degree] = copies
                continue
            for g in (g for copy in copies for g in copy):
                loads = board.shard_loads(j, g)
                cap[g] -= self._parts.taken(option.size, option.keep, np.array(loads), target)
        return Board(
            columns.starts, self._degree, self._copies, self._usable(target), size, cap,
            columns.type_of, self._domains, self._in_domain, self._masks, columns.mask_of,
            self._free, row, self._first_seat, gpu, np.zeros_like(cap),
        )  # fmt: skip

    def _usable(self, target: float) -> NDArray[np.uint8]:
        """Return (rows,) which options are worth taking at a target."""
        _, whole, fit = self._chooser.room(target)
        counts = np.diff(self._instance.columns.starts)
        good = fit & (whole <= LOOSE * whole.min(axis=1)[:, None])
        usable: NDArray[np.uint8] = good[np.arange(good.shape[1]) < counts[:, None]].astype(
            np.uint8
        )
        return usable


def worth_of(
    state: Board, chooser: Chooser, target: float, chosen: Floats | None = None
) -> Worth | None:
    """Return what copies are worth at a target; None where a model fits nowhere.

    Each model gets the number of copies that most of it should take, or that takes least room, and
    `Board.usable` becomes that.
    """
    _, whole, fit = chooser.room(target)
    if not (fit.any(axis=1) | ~state.free).all():
        return None
    starts = state.first_row[:-1]
    count: Ints = state.copies[starts + np.where(fit, whole, math.inf).argmin(axis=1)]
    if chosen is not None:
        parts = np.zeros((len(starts), 1 + int(state.copies.max())))
        np.add.at(parts, (chooser.instance.columns.model, state.copies), chosen)
        count = np.where(parts.any(axis=1), parts.argmax(axis=1), count)
        state.usable[chosen > 0] = 1
    opened = state.usable > 0
    state.usable[:] = usable = opened & (state.copies == count[chooser.instance.columns.model])
    each = state.size * state.degree[:, None, None]
    least = (each * state.copies[:, None, None]).min(axis=1)
    used = np.minimum.reduceat(np.where(usable[:, None], least, math.inf), starts)
    parts = np.where(np.isfinite(used), used, 0.0).sum(axis=0) / state.cap.sum(axis=0)
    scarce: Floats = scarcity(parts) / state.cap.mean(axis=0)
    room: Floats = np.maximum(each @ scarce, 1e-12)
    rooms: Floats = np.where(opened, room.min(axis=1), math.inf)
    one: Floats = np.minimum.reduceat(np.where(usable, rooms, math.inf), starts)
    one[~np.isfinite(one)] = 1e-12
    base: Floats = np.power(one, POWER)
    large: Floats = np.add.reduceat(state.cap[state.in_domain] @ scarce, state.domains[:-1])
    n = len(starts)
    return Worth(
        opened.astype(np.uint8), room, rooms, scarce, large, count, one, base, base.copy(),
        np.zeros(n), np.zeros(n, dtype=np.int64),
    )  # fmt: skip
