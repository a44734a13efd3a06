"""Anneal: pack whole clusters at lower and lower targets by compiled moves of whole copies.

A target is a packing problem (see `docs/algorithm.md`). From an assignment, what exceeds its GPU at
the target is moved on, to GPUs of another link domain, in exchange for others, or split anew,
until nothing exceeds or the moves are used up. What rules bind stays, or moves among GPUs that no
rule tells apart.
"""

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.improve.movable_shards import Regions
from kvplace.solver.instance.options import Chooser
from kvplace.solver.instance.parts import Parts
from kvplace.solver.large_neighbourhood.anneal_board import Board
from kvplace.solver.large_neighbourhood.anneal_kernel import anneal, fill_up

__all__ = ["Annealer"]

LOOSE = 1.3
"""Room of an option to that of the one which takes least above which it is not taken."""
HOTTEST, COLDEST = 0.03, 0.01
"""First and last temperature, in parts of a GPU."""
GROWTH, MOST = 1.05, 100_000.0
"""Factor by which an excess weighs more after every move that did not lower it, and the most: a
tiny excess must come to weigh more than what a whole link domain holds."""
MEMORY = 0.9
"""Part of that weight left after a move that left no excess, or once some weigh too much."""
SPARE = 0.005
"""Part of all GPUs that splitting models anew leaves, for what packing costs."""
CHUNK = 20_000
"""Moves between two looks at the clock."""
MIX = 0x9E3779B97F4A7C15
"""Odd number that spreads seeds over 64 bits."""


class Annealer:
    """Packs assignments of one instance at targets.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of the moves.
    watch
        Ends it.
    """

    def __init__(self, chooser: Chooser, seed: int, watch: Watch) -> None:
        instance, columns = chooser.instance, chooser.instance.columns
        self._chooser, self._instance, self._watch = chooser, instance, watch
        self._chance = np.array([(2 * seed + 1) * MIX % 2**64], dtype=np.uint64)
        regions = Regions(instance)
        freedom = np.where(regions.free, 2, np.where(regions.bound, 1, 0))
        freedom[list(instance.uneven or ())] = 0
        self._freedom: Ints = freedom.astype(np.int64)
        self._region = regions.of
        self._degree = np.array(instance.degree, dtype=np.int64)
        self._copies = np.array(instance.copies, dtype=np.int64)
        most = np.maximum.reduceat(self._copies, columns.rows.starts[:-1])
        most[self._freedom == 0] = 0
        self._first_seat: Ints = np.concatenate([[0], np.cumsum(most)])
        self._model_of: Ints = np.repeat(np.arange(instance.n), most)
        order = np.argsort(columns.domain_of, kind="stable")
        counts = np.bincount(columns.domain_of)
        self._domains: Ints = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        self._in_domain: Ints = order.astype(np.int64)
        numbers = np.cumsum(counts > 0) - 1
        self._domain_of: Ints = numbers[columns.domain_of]
        self._masks = np.array(columns.masks, dtype=np.uint8)
        self._parts = Parts(instance)

    def pack(self, board: Assignment, target: float, moves: int) -> tuple[bool, int]:
        """Bring an assignment to a target, if moves do; return whether, and the moves tried.

        Parameters
        ----------
        board
            Changed only where it is at or below the target afterwards.
        target
            Max pressure.
        moves
            At most.
        """
        state = self.state_of(board, target)
        fill_up(state)
        made = self.settle(state, moves)
        return not state.number[0] and self.carry_out(board, state, target), made

    def settle(self, state: Board, moves: int) -> int:
        """Make moves until nothing exceeds its GPU; return how many were tried."""
        made, cooling = 0, COLDEST / HOTTEST
        while made < moves and state.number[0] and not self._watch.stop:
            some = min(CHUNK, moves - made)
            hot, cold = (HOTTEST * cooling ** (at / moves) for at in (made, made + some))
            made += anneal(state, some, hot, cold, GROWTH, MEMORY, MOST, self._chance)
        return made

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

    def state_of(self, board: Assignment, target: float, loose: float = LOOSE) -> Board:
        """Return an assignment as the kernels have it, without what stays where it is.

        Options that take more than `loose` times the room of the least are none.
        """
        instance, columns = self._instance, self._instance.columns
        size, cap = self._parts.of_options(target), self._parts.has.copy()
        row = np.full(instance.n, -1, dtype=np.int64)
        gpu = np.full((len(self._model_of), int(self._degree.max())), -1, dtype=np.int64)
        for j, copies in enumerate(board.where):
            option = board.option[j]
            if option is None:
                continue
            if self._freedom[j]:
                row[j] = option.row
                first = self._first_seat[j]
                gpu[first : first + option.copies, : option.degree] = copies
                continue
            for g in (g for copy in copies for g in copy):
                loads = board.shard_loads(j, g)
                cap[g] -= self._parts.taken(option.size, option.keep, np.array(loads), target)
        g, shards = instance.g, gpu.size
        empty: Floats = np.zeros_like(cap)
        return Board(
            columns.rows.starts, self._degree, self._copies, self._usable(target, loose), size,
            cap, columns.type_of, self._region, self._domain_of, self._domains, self._in_domain,
            self._masks, columns.mask_of, self._freedom, row, self._model_of, self._first_seat, gpu,
            empty, np.empty(g, np.int64), np.empty(shards, np.int64), np.empty(shards, np.int64),
            np.empty(g, np.int64), np.empty(g, np.int64), np.zeros(1, np.int64), np.ones(g),
            np.array([np.zeros(cap.shape[1]), (1 - SPARE) * cap.sum(axis=0)]),
        )  # fmt: skip

    def _usable(self, target: float, loose: float) -> NDArray[np.uint8]:
        """Return (rows,) which options are worth taking at a target."""
        _, whole, fit = self._chooser.room(target)
        counts = np.diff(self._instance.columns.rows.starts)
        good = fit & (whole <= loose * whole.min(axis=1)[:, None])
        usable: NDArray[np.uint8] = good[np.arange(good.shape[1]) < counts[:, None]].astype(
            np.uint8
        )
        return usable
