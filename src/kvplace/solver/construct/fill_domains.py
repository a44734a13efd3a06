"""Fill domains: link domains filled one after another, each as full as it gets.

At a target each copy is worth a little more than in proportion to what it takes, so that large ones
are placed while there are many others to fill up with. Each pass draws how much more, and the order
of the domains; of a few passes one finds room for all. Models of which rules speak are placed
first.
"""

import math
from collections.abc import Iterator

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.stacks import LEVELS, Shelf, fill
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import LOOSE, Chooser, scarcity
from kvplace.solver.instance.parts import Parts

__all__ = ["DomainFiller"]

Copy = tuple[int, int, tuple[int, ...]]
"""Model, row and GPUs of a copy."""

POWERS = 1.02, 1.2
"""Powers of what a copy takes that it is worth, the least and the most: one is drawn each time."""
TRIES = 2
"""Heights of the widest stack of a domain that are tried."""
CHOICE = 8
"""Options tried for a model that found no place, those first that take least."""
NEAR = 5e-4
"""Part of the bound between two targets, one reached and one not, at which no other is tried."""
TINY = 1e-9
"""GPUs that are rounding."""
MOST = 160
"""Models looked at for one width of one domain; of more, those worth most and some others."""


class DomainFiller:
    """Builds assignments of one instance at targets.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of what copies are worth, of the order of domains, and of the models looked at.
    watch
        Ends it early.

    Attributes
    ----------
    missed
        Whether models found no place at the last target.
    """

    def __init__(self, chooser: Chooser, seed: int, watch: Watch) -> None:
        self.chooser, self.instance, self.watch = chooser, chooser.instance, watch
        instance, columns = self.instance, self.instance.columns
        self.parts = Parts(instance)
        self.chance = np.random.default_rng(seed)
        self.domains: list[Ints] = [row[row < instance.g] for row in columns.domains]
        uneven = set(instance.uneven or ())
        costs = Assignment(instance).costs
        self.ruled = [j for j in range(instance.n) if j in uneven or not costs.free(j)]
        self.degree: Ints = np.array(instance.degree, dtype=np.int64)
        self.copies: Ints = np.array(instance.copies, dtype=np.int64)
        self.model: Ints = np.repeat(np.arange(instance.n), np.diff(columns.rows.starts))
        self.missed = True
        self._passes = 0

    def build(self, target: float) -> Assignment | None:
        """Return an assignment that is at or below a target but for the models missed.

        Parameters
        ----------
        target
            Max pressure.

        Returns
        -------
        Assignment or None
            None where more room is lost than there is to spare, a model finds no place at all, or
            time is up.
        """
        self.missed = True
        board = Assignment(self.instance)
        options = self.chooser.pick(target, self.chooser.caps()[0])
        for j in self.ruled:
            if not place_model(board, j, options[j], target, tight=True):
                return None
        least, most = POWERS
        filled = _Filled(self, board, target, least + (most - least) * self.chance.random())
        for at in self._order():
            filled.fill(at)
            if self.watch.stop or filled.spare < -TINY:
                return None
        return self._rest(board, filled, options, target)

    def reach(self, target: float, passes: int) -> Assignment | None:
        """Return an assignment at or below a target, of so many built; None where none is."""
        for _ in range(passes):
            board = self.build(target)
            if board is not None and not self.missed and board.worst() <= target:
                return board
            if self.watch.stop:
                break
        return None

    def lower(self, low: float, failed: float, high: float, passes: int) -> Iterator[Assignment]:
        """Yield better and better assignments, at targets between one that failed and the last.

        Parameters
        ----------
        low
            A lower bound on the optimum, above 0.
        failed, high
            A target that was not reached, and a value that is known.
        passes
            Assignments built at each target.
        """
        while high - failed > NEAR * low and not self.watch.stop:
            target = (failed + high) / 2
            board = self.reach(target, passes)
            if board is None:
                failed = target
            else:
                high = board.worst()
                yield board

    def _order(self) -> list[int]:
        """Return the domains: the largest first in the first pass, then in a random order."""
        self._passes += 1
        if self._passes > 1:
            shuffled: list[int] = self.chance.permutation(len(self.domains)).tolist()
            return shuffled
        memory = self.instance.columns.memory
        largest = [(-int(memory[gpus].max()), -len(gpus)) for gpus in self.domains]
        return sorted(range(len(largest)), key=largest.__getitem__)

    def _rest(
        self, board: Assignment, filled: "_Filled", options: list[Option], target: float
    ) -> Assignment | None:
        """Put the copies found on the board, and what is missed wherever there is room."""
        board.apply(filled.changes)
        every, starts = self.instance.options, self.instance.columns.rows.starts
        _, whole, _ = self.chooser.room(target)
        missed = np.flatnonzero(filled.left)
        later = []
        for j in missed[np.argsort(-filled.size[missed], kind="stable")].tolist():
            if filled.fixed[j] >= 0:
                choice = [every[j][int(filled.fixed[j] - starts[j])]]
            else:
                order = np.argsort(whole[j, : len(every[j])], kind="stable")
                choice = [every[j][at] for at in order[:CHOICE].tolist()]
            if not any(place_model(board, j, option, target, tight=True) for option in choice):
                later.append((j, [*choice, options[j]]))
        self.missed = bool(later)
        for j, choice in later:
            if not any(place_model(board, j, option) for option in choice):
                return None
        return board


class _Filled:
    """Domains filled at a target.

    Attributes
    ----------
    left, fixed
        (n,) copies that are not placed, and the option of models of which some are, else -1.
    size
        (n,) what a copy of each model takes, in GPUs.
    spare
        GPUs by which those not filled yet are more than what is left takes.
    """

    def __init__(self, maker: DomainFiller, board: Assignment, target: float, power: float) -> None:
        self._maker, instance = maker, maker.instance
        self._instance = instance
        self._takes = maker.parts.of_options(target)
        self._has = maker.parts.has.copy()
        for j in maker.ruled:
            for g in (g for copy in board.where[j] for g in copy):
                option, loads = board.option[j], np.array(board.shard_loads(j, g))
                assert option is not None
                self._has[g] -= maker.parts.taken(option.size, option.keep, loads, target)
        np.maximum(self._has, 0.0, out=self._has)
        self.left, self._rows = self._wanted(target)
        self.fixed: Ints = np.full(instance.n, -1, dtype=np.int64)
        self._main, self.size, self._room = self._measured()
        self.spare = float(self._room.sum() - self.left @ self.size)
        self._worth: Floats = self.size**power
        self._held: list[Copy] = []
        columns = instance.columns
        self._inside: dict[int, Bools] = {}
        self._masks = np.array(columns.masks), columns.mask_of

    def _wanted(self, target: float) -> tuple[Ints, Ints]:
        """Return (n,) copies of each model to be placed, and the options to choose from."""
        maker = self._maker
        _, whole, fit = maker.chooser.room(target)
        starts = self._instance.columns.rows.starts
        whole = np.where(fit, whole, math.inf)
        chosen = starts[:-1] + whole.argmin(axis=1)
        good = (whole <= LOOSE * whole.min(axis=1)[:, None]) & np.isfinite(whole)
        rows = good[np.arange(whole.shape[1]) < np.diff(starts)[:, None]]
        left: Ints = maker.copies[chosen]
        rows &= maker.copies == left[maker.model]
        left[maker.ruled] = 0
        return left, np.flatnonzero(rows)

    def _measured(self) -> tuple[int, Floats, Floats]:
        """Return the scarcest entry, and sizes by all as they count: of copies, and of GPUs."""
        maker, rows = self._maker, self._rows
        least = self._takes.min(axis=1)[rows] * maker.degree[rows, None]
        need = np.full((self._instance.n, least.shape[1]), math.inf)
        np.minimum.at(need, maker.model[rows], least)
        need[~np.isfinite(need)] = 0.0
        share = (need * self.left[:, None]).sum(axis=0)
        share /= np.maximum(self._has.sum(axis=0), 1e-300)
        weight = scarcity(share) / np.maximum(self._has.mean(axis=0), 1e-300)
        return int(share.argmax()), need @ weight, self._has @ weight

    def fill(self, at: int) -> None:
        """Fill a domain."""
        main, domain = self._main, self._maker.domains[at]
        order = domain[np.argsort(-self._has[domain, main], kind="stable")]
        unit = float(self._has[order[0], main]) / LEVELS
        if unit <= 0:
            self.spare -= float(self._room[order].sum())
            return
        room = np.floor(self._has[order, main] / unit + 1e-9).astype(np.int64)
        rest = np.delete(self._has[order], main, axis=1)
        shelves = self._shelves(at, order, unit)
        found = fill(shelves, self._worth, self.left, self.fixed, room, rest, TRIES)
        self._held += [
            (j, row, tuple(sorted(order[list(gpus)].tolist()))) for j, row, gpus in found.copies
        ]
        self.spare -= float(self._room[order].sum())
        self.spare += sum(float(self.size[j]) for j, _, _ in found.copies)

    def _shelves(self, at: int, gpus: Ints, unit: float) -> list[Shelf]:
        """Return what may be put on a domain's GPUs, of the models that are left."""
        maker, rows, main = self._maker, self._rows, self._main
        model, degree = maker.model[rows], maker.degree[rows]
        if at not in self._inside:
            masks, of = self._masks
            inside: Bools = np.all(masks[:, gpus], axis=1)
            self._inside[at] = inside[of]
        types = np.unique(self._instance.columns.type_of[gpus])
        takes = self._takes[rows][:, types].max(axis=1)
        open_ = (self.left[model] > 0) & self._inside[at][model] & (degree <= len(gpus))
        open_ &= (takes <= self._has[gpus].max(axis=0)).all(axis=1)
        found = []
        for width in np.unique(degree[open_])[::-1].tolist():
            few = np.flatnonzero(open_ & (degree == width))
            if len(few) > MOST:
                few = few[np.argsort(-self._worth[model[few]], kind="stable")]
                some = maker.chance.choice(few[MOST // 2 :], MOST // 2, replace=False)
                few = np.concatenate([few[: MOST // 2], some])
            few = few[np.argsort(-takes[few, main], kind="stable")]
            height = np.maximum(np.ceil(takes[few, main] / unit - 1e-9), 1).astype(np.int64)
            rest = np.delete(takes[few], main, axis=1)
            found.append(Shelf(width, model[few], rows[few], height, rest))
        return found

    @property
    def changes(self) -> list[Change]:
        """What puts the copies on a board."""
        options, starts = self._instance.options, self._instance.columns.rows.starts
        placed: dict[int, list[tuple[int, ...]]] = {}
        for j, _, gpus in self._held:
            placed.setdefault(j, []).append(gpus)
        return [
            (j, options[j][int(self.fixed[j] - starts[j])], tuple(sorted(copies)))
            for j, copies in placed.items()
        ]
