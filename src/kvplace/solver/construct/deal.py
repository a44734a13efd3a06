"""Deal: a whole assignment soon, with all models dealt out at once.

In every round each GPU with much room is dealt one shard, the largest where most room is left. That
is list scheduling (Graham, SIAM J. Appl. Math. 17, 1969) by rounds of arrays, so that hundreds of
thousands of models take a second. Copies of split models are dealt to the GPUs of one link domain.
"""

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.instance.instance import Instance, Option
from kvplace.solver.instance.pressure import pressures

__all__ = ["dealt"]

ROOMY = 0.5
"""Part of the most room that is left from which GPUs are dealt a shard in a round."""
PARTS = 16
"""Parts of the GPUs that are given a shard at a time where each is to fit tightly."""


def dealt(
    instance: Instance, options: list[Option], target: float, watch: Watch, *, tight: bool
) -> Assignment | None:
    """Return an assignment of all models at a target, or None where a model finds no seat.

    Parameters
    ----------
    instance
        The problem.
    options
        How each model is split and copied.
    target
        Pressure not to exceed, above 0 and finite; uneven copies may.
    watch
        Ends it early, without an assignment.
    tight
        Give shards, some at a time, to the GPUs with the least room that hold them; else deal one
        each to those with most.
    """
    columns = instance.columns
    rows = np.array([option.row for option in options])
    least = columns.size[rows].astype(np.float64) + columns.keep[rows]
    need = np.maximum(columns.needs(rows, target), least)
    table = _Table(instance, options, need, target, tight=tight)
    degree = np.array([option.degree for option in options])
    places = np.array([int(mask.sum()) for mask in columns.masks])[columns.mask_of]
    order = np.lexsort((-need, places))
    most = max(1, instance.g // PARTS) if tight else instance.n
    for first in range(0, instance.n, most):
        some = order[first : first + most]
        # Those that few GPUs may hold go first, and of these the ones that are split most.
        kind = np.stack([places[some], -degree[some], columns.mask_of[some]])
        kinds, which = np.unique(kind, axis=1, return_inverse=True)
        for at in range(kinds.shape[1]):
            if not table.deal(some[which.reshape(-1) == at], watch):
                return None
    board = Assignment(instance, table.where)
    return board if _ruled(board, options, target, watch) else None


def _ruled(board: Assignment, options: list[Option], target: float, watch: Watch) -> bool:
    """Place models anew that break rules, as far as there is time; whether all found seats."""
    costs, lifted = board.costs, []
    if not any(costs.vector):
        return True
    for j, rules in enumerate(board.instance.rules_of):
        if watch.stop:
            break
        seats = board.where[j]
        if rules and costs.after(j, seats, ())[1] < costs.vector:
            board.apply([(j, None, ())])
            lifted.append((j, seats))
    for j, seats in lifted:
        if watch.stop:
            board.apply([(j, options[j], seats)])
        elif not place_model(board, j, options[j], target):
            return False
    return True


class _Table:
    """What GPUs hold while models are dealt.

    Attributes
    ----------
    where
        GPUs of the copies of each model so far.
    """

    def __init__(
        self, instance: Instance, options: list[Option], need: Floats, target: float, *, tight: bool
    ) -> None:
        columns = instance.columns
        self._columns, self._target, self._kv = columns, target, instance.kv
        self._options, self._need, self._tight = options, need, tight
        self._rows = np.array([option.row for option in options])
        self._copies = np.array([option.copies for option in options])
        self._free: Floats = columns.memory.astype(np.float64)
        self._kept = np.zeros(instance.g)
        self._load = np.zeros((instance.pressures, instance.g))
        self._left: Floats = self._free.copy()
        self.where: list[tuple[tuple[int, ...], ...]] = [()] * instance.n
        # Of GPUs with as much room, those of other link domains come first: copies are apart.
        self._turn = np.zeros(instance.g, dtype=np.int64)
        held = columns.domains < instance.g
        self._turn[columns.domains[held]] = np.nonzero(held)[1]

    def deal(self, models: Ints, watch: Watch) -> bool:
        """Deal the copies of models of one degree and one set of GPUs; whether all found seats.

        Parameters
        ----------
        models
            Those of most room first.
        watch
            Ends it early.
        """
        width = self._options[models[0]].degree
        mask = self._columns.masks[self._columns.mask_of[models[0]]]
        models = np.repeat(models, self._copies[models])
        while len(models):
            some, seats = self._matched(models, self._seats(width, mask))
            fit = self._fitting(models[some], seats)
            if not fit.any() or watch.stop:
                return False
            models = np.delete(models, some[fit])
        return True

    def _matched(self, models: Ints, seats: Ints) -> tuple[Ints, Ints]:
        """Return positions of models, and the seats that they are tried on."""
        if not self._tight:
            count = min(len(models), len(seats))
            return np.arange(count), seats[:count]
        rising = np.arange(len(models))[::-1]
        first = np.searchsorted(self._left[seats].min(axis=1), self._need[models[rising]])
        at = np.maximum.accumulate(first - np.arange(len(first))) + np.arange(len(first))
        count = int(np.searchsorted(at, len(seats)))
        return rising[:count], seats[at[:count]]

    def _seats(self, width: int, mask: Bools) -> Ints:
        """Return (seats, width) GPUs of one link domain each, sorted by the room they have.

        Those with least come first where shards are to fit tightly, else those with most.
        """
        left = np.append(np.where(mask, self._left, -np.inf), -np.inf)
        if width == 1:
            seats = np.flatnonzero(mask).reshape(-1, 1)
        else:
            domains = self._columns.domains
            order = np.argsort(-left[domains], axis=1, kind="stable")
            order = order[:, : domains.shape[1] // width * width]
            seats = np.take_along_axis(domains, order, axis=1).reshape(-1, width)
        least = left[seats[:, -1]]
        part = 0.0 if self._tight else ROOMY
        seats = seats[least >= max(part * float(least.max(initial=0.0)), 1.0)]
        first, least = seats[:, 0], left[seats[:, -1]]
        keys = (first, least) if self._tight else (first, self._turn[first], -least)
        found: Ints = seats[np.lexsort(keys)]
        return found

    def _fitting(self, models: Ints, seats: Ints) -> Bools:
        """Put copies on their seats where these hold them; return which do."""
        columns, rows = self._columns, self._rows[models]
        size, keep = columns.size[rows, None], columns.keep[rows, None]
        free, kept = self._free[seats] - size, self._kept[seats] + keep
        kinds = columns.type_of[seats]
        loads = [load[seats] + columns.loads[rows[:, None], kinds, at]
                 for at, load in enumerate(self._load)]  # fmt: skip
        fit = np.asarray((pressures(free, kept, loads, self._kv) <= self._target).all(axis=1))
        where = self.where
        for at, (j, copy) in enumerate(zip(models.tolist(), seats.tolist(), strict=True)):
            if fit[at]:
                if where[j] and not set(copy).isdisjoint(g for other in where[j] for g in other):
                    fit[at] = False
                else:
                    where[j] = (*where[j], tuple(sorted(copy)))
        gpus = seats[fit]
        self._free[gpus], self._kept[gpus] = free[fit], kept[fit]
        for load, more in zip(self._load, loads, strict=True):
            load[gpus] = more[fit]
        self._left[gpus] = self._room(gpus)
        return fit

    def _room(self, gpus: Ints) -> Floats:
        """Return what GPUs have left of what is scarcest, in bytes."""
        free, load = self._free[gpus], self._load[:, gpus]
        taken = load[: self._kv].max(axis=0) / self._target
        left = free - np.maximum(self._kept[gpus], taken)
        if len(load) > self._kv:
            time = 1 - load[self._kv :].max(axis=0) / self._target
            left = np.minimum(left, time * float(self._columns.memory[0]))
        return np.asarray(left)
