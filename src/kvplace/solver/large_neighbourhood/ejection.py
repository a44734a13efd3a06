"""Eject: pack a cluster at a target by giving seats to what lacks one, and taking others off.

Guided ejection search (Nagata and Braysy, Operations Research Letters 37, 2009, for vehicle
routing) on bin packing at a target KVPR: a copy that fits nowhere takes the seat where those it
pushes out have been the least trouble to place so far.
"""

import math
import random
from operator import add, itemgetter, sub

import numpy as np

from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.excess import VALID
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

DOMAINS = 48
"""Link domains looked at for one ejection."""
UNLIKELY = 0.1
"""Chance that the option of a model is chosen anew."""


class Packer:
    """Packs boards of one cluster at targets.

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
        self._chooser = chooser
        self._instance = chooser.instance
        self._chance = random.Random(seed)  # noqa: S311 - a search, not a secret
        self._watch = watch
        self._memory: list[int] = self._instance.memory.tolist()
        self._trouble = [0.0] * self._instance.n
        self._hardness = [0.0] * self._instance.n

    def pack(self, start: Assignment, target: float, rounds: int) -> tuple[Assignment | None, int]:
        """Make an assignment at or below a target from another.

        Parameters
        ----------
        start
            Not changed.
        target
            Max KVPR.
        rounds
            Copies placed at most.

        Returns
        -------
        tuple
            The assignment, None where it failed, and the copies placed.
        """
        board = start.copy()
        feasible = self._feasible(target)
        _obey(board, 0.0)
        self._hardness = self._hard(target)
        lacking = self._clear(board, target, feasible)
        for placed in range(rounds):
            if self._watch.stop:
                return None, placed
            if not lacking:
                return (board if board.valid and board.worst() <= target else None), placed
            # What is and was most trouble goes first.
            j = max(lacking, key=lambda j: (self._cost(j), -j))
            option = self._option(board, j, feasible[j])
            if option is None:
                return None, placed
            if place_model(board, j, option, target, tight=target < VALID):
                lacking.discard(j)
                continue
            self._trouble[j] += self._hardness[j]
            lacking |= self._eject_for(board, j, option, target)
            if _whole(board, j):
                lacking.discard(j)
        return None, rounds

    def _feasible(self, target: float) -> list[list[Option]]:
        """Return per model the options of which a shard fits at a target, least room first."""
        _, whole, fit = self._chooser.room(target)
        found = []
        for j, options in enumerate(self._instance.options):
            rows = [(whole[j, at], o.degree, o) for at, o in enumerate(options) if fit[j, at]]
            found.append([option for *_, option in sorted(rows, key=itemgetter(0, 1))])
        return found

    def _hard(self, target: float) -> list[float]:
        """Return how hard each model is to place: the more room it takes, where fewer GPUs have it.

        Returns
        -------
        list
            (n,) the part of the largest GPU that a shard takes, by the part of the GPUs with that.
        """
        each, whole, fit = self._chooser.room(target)
        best = np.where(fit, whole, np.inf).argmin(axis=1)[:, None]
        need = np.maximum(each, self._chooser.least)
        need = np.minimum(np.take_along_axis(need, best, axis=1)[:, 0], self._memory[0])
        hold = self._instance.g - np.searchsorted(np.sort(self._memory), need)
        found: list[float] = (need / self._memory[0] * self._instance.g / hold).tolist()
        return found

    def _cost(self, j: int) -> float:
        """Return the trouble that a model is expected to be, and was."""
        return self._hardness[j] + self._trouble[j]

    def _clear(self, board: Assignment, target: float, feasible: list[list[Option]]) -> set[int]:
        """Take off what keeps GPUs above a target; return the models that lack copies."""
        for g in np.flatnonzero(board.arrays.pressure > target).tolist():
            while board.arrays.pressure[g] > target and board.members[g]:
                j = self._leaver(board, g, target)
                rest = tuple(copy for copy in board.where[j] if g not in copy)
                board.apply([(j, board.option[j], rest if board.option[j] in feasible[j] else ())])
        for j, copies in enumerate(board.where):
            if copies and board.option[j] not in feasible[j]:
                board.apply([(j, None, ())])
        return {j for j in range(self._instance.n) if not _whole(board, j)}

    def _leaver(self, board: Assignment, g: int, target: float) -> int:
        """Return what presses most on a GPU; where it exceeds the memory, what is just enough."""
        if target < VALID:
            at = board.binding(g)
            return max(board.members[g], key=lambda j: (board.shard_loads(j, g)[at], j))
        held = [
            (option.size + option.keep, j) for j in board.members[g] if (option := board.option[j])
        ]
        over = max(1, int(board.arrays.kept[g])) - int(board.arrays.free[g])
        enough = [entry for entry in held if entry[0] >= over]
        return min(enough)[1] if enough else max(held)[1]

    def _option(self, board: Assignment, j: int, feasible: list[Option]) -> Option | None:
        """Return how a model is to be split: as it is, or most often what takes least room."""
        now = board.option[j]
        if now is not None and self._chance.random() > UNLIKELY:
            return now
        if not feasible:
            return None
        if now is not None:
            board.apply([(j, None, ())])
        at = 0
        while at + 1 < len(feasible) and self._chance.random() < 0.35:
            at += 1
        return feasible[at]

    def _eject_for(self, board: Assignment, j: int, option: Option, target: float) -> set[int]:
        """Make room for one copy of a model and place it; return the models pushed out."""
        held = {g for copy in board.where[j] for g in copy}
        instance, allowed = self._instance, self._instance.columns.allowed[j]
        # GPUs of one size that hold the same models are many, as with all ranks of a copy.
        known: dict[object, tuple[float, tuple[int, ...]] | None] = {}
        choices = []
        for domain in self._domains(j, option):
            costs = []
            for g in domain:
                if g in held or not allowed[g]:
                    continue
                alike = (self._memory[g], instance.type_at(g), *board.members[g])
                if alike not in known:
                    loads = option.loads[instance.type_at(g)]
                    need = instance.takes(option.size, loads, target, g)
                    known[alike] = self._cheapest(board, g, need, target)
                found = known[alike]
                if found is not None:
                    costs.append((found[0], self._chance.random(), g, found[1]))
            if len(costs) >= option.degree:
                chosen = sorted(costs)[: option.degree]
                pushed = {i for _, _, _, out in chosen for i in out}
                cost = sum(map(self._cost, pushed))
                choices.append((cost, self._chance.random(), [(g, out) for _, _, g, out in chosen]))
        for _, _, seat in sorted(choices, key=lambda choice: choice[:2])[:4]:
            done = self._push(board, j, option, seat)
            if done is not None:
                return done
        return set()

    def _domains(self, j: int, option: Option) -> list[list[int]]:
        """Return some link domains with GPUs that hold a shard of a model, or single GPUs alike."""
        columns = self._instance.columns
        holds = columns.allowed[j] & (columns.memory >= option.size + max(option.keep, 1))
        found = np.unique(columns.domain_of[holds]).tolist()
        if len(found) > DOMAINS:
            found = self._chance.sample(found, DOMAINS)
        return [[g for g in columns.domains[d].tolist() if g < columns.g] for d in found]

    def _cheapest(
        self, board: Assignment, g: int, need: list[float], target: float
    ) -> tuple[float, tuple[int, ...]] | None:
        """Return the trouble of the models to push out of a GPU for some room, and them.

        None where even all of them are not enough.
        """
        room = list(map(sub, board.room(g, target), need))
        if min(room) > 0:
            return 0.0, ()
        short = room.index(min(room))
        held = []
        for j in board.members[g]:
            size = self._instance.takes(board.chosen(j).size, board.shard_loads(j, g), target, g)
            held.append((self._cost(j), size, j))
        enough = [(trouble, j) for trouble, size, j in held if min(map(add, room, size)) > 0]
        best = min(enough, default=None)
        out: list[int] = []
        total = 0.0
        for trouble, size, j in sorted(
            held, key=lambda entry: (entry[0] / max(entry[1][short], 1.0), entry[2])
        ):
            out.append(j)
            room, total = list(map(add, room, size)), total + trouble
            if min(room) > 0:
                one = best is not None and best[0] <= total
                return (best[0], (best[1],)) if one and best else (total, tuple(out))
        return None

    def _push(
        self, board: Assignment, j: int, option: Option, seat: list[tuple[int, tuple[int, ...]]]
    ) -> set[int] | None:
        """Push models out of GPUs and place a copy there, unless a rule that must hold breaks."""
        broken = board.costs.broken
        gpus = {i: {g for g, out in seat if i in out} for _, outs in seat for i in outs}
        changes = [
            (i, board.option[i], tuple(c for c in board.where[i] if at.isdisjoint(c)))
            for i, at in sorted(gpus.items())
        ]
        copy = tuple(sorted(g for g, _ in seat))
        undo, _ = board.apply([*changes, (j, option, (*board.where[j], copy))])
        if all(board.arrays.pressure[g] < math.inf for g in copy):
            more, back = _obey(board, broken, j)
            if board.costs.broken <= broken:
                return {*gpus, *more}
            board.apply(back)
        board.apply(undo)
        return None


def _whole(board: Assignment, j: int) -> bool:
    option = board.option[j]
    return option is not None and len(board.where[j]) == option.copies


def _obey(board: Assignment, most: float, spared: int = -1) -> tuple[list[int], list[Change]]:
    """Take models off, the smallest first, until no more is broken of what must hold.

    Parameters
    ----------
    board
        Changed in place.
    most
        How much may stay broken.
    spared
        A model that stays.

    Returns
    -------
    tuple
        The models, and what puts them back.
    """
    gone: list[int] = []
    back: list[Change] = []
    size = board.instance.least_bytes
    while board.costs.broken > most:
        before = len(gone)
        concerned = {j for j in board.costs.breaking() if board.where[j] and j != spared}
        for j in sorted(concerned, key=lambda j: (size[j], -j)):
            broken = board.costs.broken
            undo, _ = board.apply([(j, None, ())])
            if board.costs.broken >= broken:
                board.apply(undo)
                continue
            gone.append(j)
            back = [*undo, *back]
            if board.costs.broken <= most:
                break
        if len(gone) == before:
            break
    return gone, back


def repaired(board: Assignment, rounds: int, seed: int, watch: Watch) -> Assignment | None:
    """Return a valid assignment near one that breaks something or lacks models, or None.

    The one given is not changed; at most so many rounds of placing a copy are made.
    """
    return Packer(Chooser(board.instance), seed, watch).pack(board, VALID, rounds)[0]
