"""Refill: pack a cluster at a target by filling its link domains anew, one by one.

See `kvplace.solver.large_neighbourhood.refill_kernel`. All domains are filled several times; then
some of them, again and again, from the best that was found, kept as in simulated annealing
(Kirkpatrick, Gelatt and Vecchi, Science 220, 1983). A model is copied as often as takes the least
room at the target; under several pressures one that has no place so is tried with other numbers of
copies. So copies, degrees and places are chosen together. What rules bind stays where it is.
"""

import math

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.chance import seeded
from kvplace.solver.clock import Watch
from kvplace.solver.instance.options import LOOSE, Chooser, scarcity
from kvplace.solver.instance.parts import Parts
from kvplace.solver.instance.regions import Regions
from kvplace.solver.large_neighbourhood.refill_kernel import fill_domains
from kvplace.solver.large_neighbourhood.seat_board import Board, fill_up

__all__ = ["Refiller"]

POWER = 1.2
"""Power of its room that a copy is worth: above 1, so that large copies go first."""
SHARE = 0.1
"""Share of what the last filling tells in what a copy is worth."""
DEARER = 1.15
"""Factor by which what was left over is worth more."""
MOST = 8.0
"""Factor by which a copy is worth more than its room at most."""
TRIES = 2
"""Fillings of each domain that are compared."""
SPREAD = 0.6
"""Part by which a worth is varied from one to the next."""
FEW, MANY = 2, 6
"""Domains filled anew together at least and at most; at most half of them all."""
WHOLE = 0.15
"""Part of the fillings that are of all domains."""
RECOUNTED = 0.3
"""Part of the fillings of some domains before which a model may have another number of copies,
where pressures are several: with one, no gain was measured."""
HOTTEST, COLDEST = 0.2, 0.02
"""First and last temperature, in GPUs, at which a filling of some domains is kept that leaves more:
what has no place is then another model, for which there may be room elsewhere."""


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
        instance, columns = chooser.instance, chooser.instance.columns
        self._chooser, self._instance, self._watch = chooser, instance, watch
        self._chance, self._rng = seeded(seed), np.random.default_rng(seed)
        self._free = Regions(instance).free
        self._free[list(instance.uneven)] = False
        self._degree = np.array(instance.degree, dtype=np.int64)
        self._copies = np.array(instance.copies, dtype=np.int64)
        most = np.maximum.reduceat(self._copies, columns.rows.starts[:-1])
        most[~self._free] = 0
        self._first_seat: Ints = np.concatenate([[0], np.cumsum(most)])
        self._model_of: Ints = np.repeat(np.arange(instance.n), most)
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
        state = self.state_of(board, target)
        fill_up(state)
        plan = _Plan(state, self._chooser, target, self._chance)
        if not plan.possible:
            return False, 0
        found, made = self._fill(state, plan, rounds)
        return found and self._carry_out(board, state, target), made

    def _fill(self, state: Board, plan: "_Plan", rounds: int) -> tuple[bool, int]:
        """Fill domains until all copies have a place; return whether, and how often."""
        now = best = math.inf
        kept = last = plan.taken(state)
        made, whole = 0, math.ceil(WHOLE * rounds)
        number = len(state.domains) - 1
        most = max(FEW, min(MANY, number // 2))
        work = 0.0
        while work < rounds and not self._watch.stop:
            if made < whole:
                plan.fill(state, plan.order(self._rng, made))
                work += 1
            else:
                if made == whole:
                    now, last = best, kept
                    plan.restore(state, last)
                if self._instance.pressures > 1 and self._rng.random() < RECOUNTED:
                    plan.recount(state, self._rng)
                few = min(number, int(self._rng.integers(FEW, most + 1)))
                plan.fill(state, self._rng.permutation(number)[:few].astype(np.int64))
                work += few / number
            made += 1
            left = plan.left()
            if left <= best:
                best, kept = left, plan.taken(state)
            if best <= 0:
                return True, made
            if made <= whole:
                plan.correct()
                continue
            heat = HOTTEST * (COLDEST / HOTTEST) ** (work / rounds)
            if left <= now + heat * self._rng.exponential():
                now, last = left, plan.taken(state)
            else:
                plan.restore(state, last)
        plan.restore(state, kept)
        return False, made

    def _carry_out(self, board: Assignment, state: Board, target: float) -> bool:
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
        gpu = np.full((len(self._model_of), int(self._degree.max())), -1, dtype=np.int64)
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
        g, shards = instance.g, gpu.size
        empty: Floats = np.zeros_like(cap)
        return Board(
            columns.rows.starts, self._degree, self._copies, self._usable(target), size,
            cap, columns.type_of, self._domains, self._in_domain,
            self._masks, columns.mask_of, self._free, row, self._model_of, self._first_seat, gpu,
            empty, np.empty(g, np.int64), np.empty(shards, np.int64), np.empty(shards, np.int64),
        )  # fmt: skip

    def _usable(self, target: float) -> NDArray[np.uint8]:
        """Return (rows,) which options are worth taking at a target."""
        _, whole, fit = self._chooser.room(target)
        counts = np.diff(self._instance.columns.rows.starts)
        good = fit & (whole <= LOOSE * whole.min(axis=1)[:, None])
        usable: NDArray[np.uint8] = good[np.arange(good.shape[1]) < counts[:, None]].astype(
            np.uint8
        )
        return usable


class _Plan:
    """What copies are worth, and how often each model is copied, at one target."""

    def __init__(
        self, state: Board, chooser: Chooser, target: float, chance: NDArray[np.uint64]
    ) -> None:
        _, whole, fit = chooser.room(target)
        self.possible = bool((fit.any(axis=1) | (~state.free)).all())
        self._chance = chance
        starts = state.first_row[:-1]
        self.row: Ints = starts + np.where(fit, whole, math.inf).argmin(axis=1)
        self._count: Ints = state.copies[self.row]
        self._open = state.usable > 0
        count = self._count[chooser.instance.columns.model]
        state.usable[:] = usable = self._open & (state.copies == count)
        each = state.size * state.degree[:, None, None]
        least = (each * state.copies[:, None, None]).min(axis=1)
        used = np.minimum.reduceat(np.where(usable[:, None], least, math.inf), starts)
        parts = np.where(np.isfinite(used), used, 0.0).sum(axis=0) / state.cap.sum(axis=0)
        self._scarce: Floats = scarcity(parts) / state.cap.mean(axis=0)
        self._room: Floats = np.maximum(each @ self._scarce, 1e-12)
        self._rooms = np.where(self._open, self._room.min(axis=1), math.inf)
        room = np.where(usable, self._rooms, math.inf)
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

    def taken(self, state: Board) -> tuple[Ints, Ints, Ints, Ints]:
        """Return options, places, counts and what has no place, for `restore`."""
        return state.row.copy(), state.gpu.copy(), self._count.copy(), self._lacking.copy()

    def restore(self, state: Board, kept: tuple[Ints, Ints, Ints, Ints]) -> None:
        """Go back to what `taken` returned."""
        row, gpu, count, self._lacking[:] = kept
        for j in np.flatnonzero(count != self._count).tolist():
            self._take_count(state, j, int(count[j]))
        state.row[:], state.gpu[:] = row, gpu
        fill_up(state)

    def recount(self, state: Board, rng: np.random.Generator) -> None:
        """Take a model without a place off, and let it have another number of copies."""
        lacking = np.flatnonzero((self._lacking > 0) & state.free)
        if not len(lacking):
            return
        j = int(rng.choice(lacking))
        first, end = state.first_row[j], state.first_row[j + 1]
        counts = np.unique(state.copies[first:end][self._open[first:end]])
        counts = counts[counts != self._count[j]]
        if not len(counts):
            return
        self._take_count(state, j, int(rng.choice(counts)))
        state.row[j] = -1
        state.gpu[state.first_seat[j] : state.first_seat[j + 1]] = -1
        fill_up(state)

    def _take_count(self, state: Board, j: int, count: int) -> None:
        """Let a model have a number of copies."""
        rows = slice(state.first_row[j], state.first_row[j + 1])
        usable = self._open[rows] & (state.copies[rows] == count)
        state.usable[rows], self._count[j] = usable, count
        self._least[j] = self._rooms[rows][usable].min()
        base = self._least[j] ** POWER
        self._worth[j] *= base / self._base[j]
        self._base[j] = base

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
