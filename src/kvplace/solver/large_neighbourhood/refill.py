"""Refill: pack a cluster at a target by filling its link domains anew, one by one.

See `kvplace.solver.large_neighbourhood.refill_kernel`. All domains are filled several times; then
some of them, again and again, from the best that was found. What has no place in the end is seated
where it adds the least excess, and moves of whole copies go on from there. How often a model is
copied is what takes the least room at the target, so that copies, degrees and places are chosen
together, under any number of pressures.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.options import LOOSE, Chooser, scarcity
from kvplace.solver.large_neighbourhood.anneal import MIX, Annealer
from kvplace.solver.large_neighbourhood.anneal_board import Board
from kvplace.solver.large_neighbourhood.anneal_kernel import fill_up
from kvplace.solver.large_neighbourhood.refill_kernel import fill_domains, seat_rest

__all__ = ["Refiller"]

POWER = 1.2
"""Power of its room that a copy is worth: above 1, so that large copies go first."""
SHARE = 0.1
"""Share of what the last filling tells in what a copy is worth."""
DEARER = 1.15
"""Factor by which what was left over is worth more."""
MOST = 8.0
"""Factor by which a copy is worth more than its room at most."""
TRIES = 6
"""Fillings of each domain that are compared."""
SPREAD = 0.35
"""Part by which a worth is varied from one to the next."""
FEW, MANY = 2, 7
"""Domains filled anew together at least, and one more than at most."""
WHOLE = 0.3
"""Part of the fillings that are of all domains."""


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
    """

    def __init__(self, chooser: Chooser, seed: int, watch: Watch) -> None:
        self._chooser, self._watch = chooser, watch
        self._annealer = Annealer(chooser, seed, watch)
        self._chance = np.array([(2 * seed + 1) * MIX % 2**64], dtype=np.uint64)
        self._rng = np.random.default_rng(seed)

    def pack(self, board: Assignment, target: float, rounds: int, moves: int) -> tuple[bool, int]:
        """Bring an assignment to a target, if fillings do; return whether, and the steps made.

        Parameters
        ----------
        board
            Changed only where it is at or below the target afterwards.
        target
            Max pressure.
        rounds
            Work at most, in fillings of all domains.
        moves
            Moves of whole copies from the best filling at most.
        """
        state = self._annealer.state_of(board, target, LOOSE)
        fill_up(state)
        plan = _Plan(state, self._chooser, target, self._chance)
        if not plan.possible:
            return False, 0
        found, made = self._fill(state, plan, rounds)
        if not found and not self._watch.stop and seat_rest(state, plan.row, self._chance):
            made += self._annealer.settle(state, moves)
            found = not state.number[0]
        return found and self._annealer.carry_out(board, state, target), made

    def _fill(self, state: Board, plan: "_Plan", rounds: int) -> tuple[bool, int]:
        """Fill domains until all copies have a place; return whether, and how often."""
        best, kept = math.inf, (state.row.copy(), state.gpu.copy())
        made, whole = 0, math.ceil(WHOLE * rounds)
        number = len(state.domains) - 1
        work = 0.0
        while work < rounds and not self._watch.stop:
            if made < whole:
                plan.fill(state, plan.order(self._rng, made))
                work += 1
            else:
                if made == whole:
                    self._restore(state, kept)
                few = min(number, int(self._rng.integers(FEW, MANY)))
                plan.fill(state, self._rng.permutation(number)[:few].astype(np.int64))
                work += few / number
            made += 1
            left = plan.left()
            if left <= best:
                best, kept = left, (state.row.copy(), state.gpu.copy())
            elif made > whole:
                self._restore(state, kept)
            if best <= 0:
                return True, made
            if made <= whole:
                plan.correct()
        self._restore(state, kept)
        return False, made

    def _restore(self, state: Board, kept: tuple[Ints, Ints]) -> None:
        state.row[:], state.gpu[:] = kept
        fill_up(state)


class _Plan:
    """What copies are worth, and how often each model is copied, at one target."""

    def __init__(
        self, state: Board, chooser: Chooser, target: float, chance: NDArray[np.uint64]
    ) -> None:
        _, whole, fit = chooser.room(target)
        self.possible = bool((fit.any(axis=1) | (state.freedom != 2)).all())
        self._chance = chance
        starts = state.first_row[:-1]
        self.row: Ints = starts + np.where(fit, whole, math.inf).argmin(axis=1)
        self._count: Ints = state.copies[self.row]
        model = np.repeat(np.arange(len(starts)), np.diff(state.first_row))
        usable = (state.usable > 0) & (state.copies == self._count[model])
        state.usable[:] = usable
        each = state.size * state.degree[:, None, None]
        least = (each * state.copies[:, None, None]).min(axis=1)
        used = np.minimum.reduceat(np.where(usable[:, None], least, math.inf), starts)
        parts = np.where(np.isfinite(used), used, 0.0).sum(axis=0) / state.cap.sum(axis=0)
        self._scarce: Floats = scarcity(parts) / state.cap.mean(axis=0)
        self._room: Floats = np.maximum(each @ self._scarce, 1e-12)
        room = np.where(usable, self._room.min(axis=1), math.inf)
        self._least: Floats = np.minimum.reduceat(room, starts)
        self._least[~np.isfinite(self._least)] = 1e-12
        self._base: Floats = np.power(self._least, POWER)
        self._worth: Floats = self._base.copy()
        self._beside: Floats = np.zeros(len(starts))
        self._lacking: Ints = np.zeros(len(starts), dtype=np.int64)
        cap = state.cap[state.in_domain] @ self._scarce
        self._large: Floats = np.add.reduceat(cap, state.domains[:-1])

    def order(self, rng: np.random.Generator, turn: int) -> Ints:
        """Return all domains, the largest first, more or less."""
        varied = self._large * (1 + 0.5 * (turn % 3) * rng.random(len(self._large)))
        found: Ints = np.argsort(-varied, kind="stable").astype(np.int64)
        return found

    def fill(self, state: Board, order: Ints) -> None:
        """Fill some domains anew."""
        fill_domains(
            state, self._count, self._worth, self._room, self._scarce, order, TRIES, SPREAD,
            self._chance, self._beside, self._lacking,
        )  # fmt: skip

    def left(self) -> float:
        """Return the room of what has no place."""
        return float(self._least @ self._lacking)

    def correct(self) -> None:
        """Make worth more what has no place, or lies beside waste."""
        placed = self._beside > 0
        told = self._base / np.maximum(self._beside, 0.1)
        self._worth[placed] += SHARE * (told - self._worth)[placed]
        dear = self._lacking > 0
        self._worth[dear] = np.minimum(self._worth * DEARER, self._base * MOST)[dear]
