"""Deal: a whole assignment soon, with all models dealt out at once.

In every round each GPU with much room is dealt one shard, the largest where most room is left. That
is list scheduling (Graham, SIAM J. Appl. Math. 17, 1969) by rounds of arrays, so that hundreds of
thousands of models take a second. Copies of split models are dealt to the GPUs of one link domain.
"""

from collections.abc import Iterator

import numpy as np

from kvplace.collector import paused_collector
from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch, Within
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.excess import VALID
from kvplace.solver.construct.rematch import WHOLE, Rematch
from kvplace.solver.instance.instance import Copies, Instance, Option
from kvplace.solver.instance.options import Chooser
from kvplace.solver.instance.pressure import pressures

ROOMY = 0.5
"""Part of the most room that is left from which GPUs are dealt a shard in a round."""
PARTS = 16
"""Parts of the GPUs that are given a shard at a time where each is to fit tightly."""
APART, SMALL = 0.75, 0.6
"""Part of the GPUs up to which split shards are dealt before all others, each where most room is
left; and part of a GPU's memory up to which such a shard goes to no larger one."""
NEAR = 0.003, 0.01, 0.03, 0.1, 0.5, 2.0, 8.0
"""Parts above the bound of the targets at which very many models are dealt, until memory holds what
finds no room."""
EVENED, EVENED_PART = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 1.0, 4.0), 0.5
"""Parts above the bound of the targets at which shards are handed out anew then, and the part of
the time left that each may take."""
ANYHOW = 0.04
"""Part above the bound from which on a target takes no more than a few rounds, and no clock ends
it: else a GPU may be left with more than its memory."""
GAIN, PATIENCE, HURRIED = 0.02, 12, 4
"""Part by which that must lower the excess within so many rounds; and rounds once time is over."""


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
    table = _Table(instance, options, target, tight=tight)
    if any(len(left) for left in table.deal_all(watch)):
        return None
    board = Assignment(instance, table.where)
    return board if _ruled(board, options, target, watch) else None


@paused_collector()
def dealt_near(chooser: Chooser, bound: float, watch: Watch) -> Assignment | None:
    """Return an assignment of very many models near a bound, or None where none is found.

    Shards are dealt tightly just above the bound. The few that find no room go on top of those that
    can be handed out anew best, and all are, at rising targets, until no GPU holds too much.

    Parameters
    ----------
    chooser
        The options of the models, under one pressure.
    bound
        A lower bound on the optimum, above 0.
    watch
        Ends it early: the assignment is whole all the same, however far above.
    """
    instance, cap = chooser.instance, chooser.caps()[0]
    for above in NEAR:
        began, target = watch.seconds, bound * (1 + above)
        options = chooser.pick(target, cap)
        table = _Table(instance, options, target, tight=True)
        if not table.pile(np.concatenate([*table.deal_all(Watch(), apart=True)])):
            continue
        kept = watch.keep(0.0)  # what is made of it takes half as long again
        watch.keep(kept + (watch.seconds - began) / 2)
        table.even_out(bound, above, watch)
        watch.keep(kept)
        board = Assignment(instance, table.where)
        return board if _ruled(board, options, VALID, watch) else None
    return None


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

    Parameters
    ----------
    instance, options, target, tight
        As of `dealt`.

    Attributes
    ----------
    where
        GPUs of the copies of each model so far.
    """

    def __init__(
        self, instance: Instance, options: list[Option], target: float, *, tight: bool
    ) -> None:
        columns = instance.columns
        self._instance, self._columns, self._kv = instance, columns, instance.kv
        self._target, self._tight = target, tight
        self._rows = np.array([option.row for option in options])
        self._degree = np.array([option.degree for option in options])
        self._copies = np.array([option.copies for option in options])
        self._free: Floats = columns.memory.astype(np.float64)
        self._kept = np.zeros(instance.g)
        self._load = np.zeros((instance.pressures, instance.g))
        self._left: Floats = self._free.copy()
        self.where: list[Copies] = [()] * instance.n
        self._seated: list[tuple[Ints, Ints]] = []
        # Of GPUs with as much room, those of other link domains come first: copies are apart.
        self._turn = np.zeros(instance.g, dtype=np.int64)
        held = columns.domains < instance.g
        self._turn[columns.domains[held]] = np.nonzero(held)[1]

    def _need(self, target: float) -> Floats:
        """Return (n,) what a shard of each model takes of the largest GPU at a target, in bytes."""
        columns, rows = self._columns, self._rows
        least = columns.size[rows].astype(np.float64) + columns.keep[rows]
        found: Floats = np.maximum(columns.needs(rows, target), least)
        return found

    def deal_all(self, watch: Watch, *, apart: bool = False) -> Iterator[Ints]:
        """Deal all models; yield those, once per copy, of each part that find no seat.

        Those that few GPUs may hold go first, and of these the largest; where each is to fit
        tightly, of some at a time the ones that are split most. Copies of a model of which rules
        speak are apart by region.

        Parameters
        ----------
        watch
            Ends it early.
        apart
            Deal split shards, where these are few, before all others where most room is left.
        """
        instance, columns = self._instance, self._columns
        need, split = self._need(self._target), self._degree > 1
        places = np.array([int(mask.sum()) for mask in columns.masks])[columns.mask_of]
        order = np.lexsort((-need, places))
        if apart and (self._degree * self._copies)[split].sum() <= APART * instance.g:
            for models, mask in self._alike(order[split[order]]):
                yield self._deal_apart(models, need, mask, watch)
            order = order[~split[order]]
        most = max(1, instance.g // PARTS) if self._tight else instance.n
        for first in range(0, len(order), most):
            for models, mask in self._alike(order[first : first + most]):
                yield self._deal(models, need, mask, watch)

    def _alike(self, some: Ints) -> Iterator[tuple[Ints, Bools]]:
        """Yield models of one degree and the GPUs that they go to, each once per copy.

        Those that few GPUs may hold come first, and of these the ones that are split most.
        """
        columns, regions = self._columns, self._instance.regions
        ruled = np.flatnonzero((self._copies > 1) & regions.bound & ~regions.free)
        turn = np.full(len(self._copies), -1)
        turn[ruled] = np.arange(len(ruled))
        models, begins = np.repeat(some, self._copies[some]), np.cumsum(self._copies[some])
        copy = np.arange(len(models)) - np.repeat(begins - self._copies[some], self._copies[some])
        region = np.where(turn[models] < 0, -1, (turn[models] + copy) % regions.count)
        places = np.array([int(mask.sum()) for mask in columns.masks])[columns.mask_of[models]]
        kind = np.stack([places, -self._degree[models], columns.mask_of[models], region])
        kinds, which = np.unique(kind, axis=1, return_inverse=True)
        for at, (_, _, mask_of, inside) in enumerate(kinds.T.tolist()):
            mask = columns.masks[mask_of]
            yield (
                models[which.reshape(-1) == at],
                mask & (regions.of == inside) | mask & (inside < 0),
            )

    def _deal_apart(self, models: Ints, need: Floats, mask: Bools, watch: Watch) -> Ints:
        """Deal copies as `_deal`, each where most room is left, the largest GPUs last."""
        memory, self._tight = self._columns.memory, False
        for most in np.unique(memory).tolist():
            small = need[models] <= (SMALL * most if most < memory.max() else np.inf)
            left = self._deal(models[small], need, mask & (memory <= most), watch)
            models = np.concatenate([models[~small], left])
            models = models[np.argsort(-need[models], kind="stable")]
        self._tight = True
        return self._deal(models, need, mask, watch)

    def _deal(self, models: Ints, need: Floats, mask: Bools, watch: Watch) -> Ints:
        """Deal copies of models of one degree to some GPUs; return those that found no seat.

        Parameters
        ----------
        models
            Those of most room first, each once per copy.
        need
            (n,) what a shard takes.
        mask
            (g,) the GPUs.
        watch
            Ends it early.
        """
        while len(models):
            seats = self._seats(int(self._degree[models[0]]), mask)
            some, seats = self._matched(need[models], seats)
            fit = self._fitting(models[some], seats)
            if not fit.any() or watch.stop:
                break
            models = np.delete(models, some[fit])
        return models

    def pile(self, models: Ints) -> bool:
        """Put shards on top where most undivided ones lie, one each; whether memory holds all.

        Parameters
        ----------
        models
            Each once per copy that has no place.
        """
        columns, need = self._columns, self._need(self._target)
        self._target, self._tight, self._left = VALID, False, np.zeros(len(self._free))
        stays = np.zeros(len(self._free))
        for held, gpus in self._seated:
            np.add.at(self._left, gpus, self._degree[held] == 1)
            np.add.at(stays, gpus, np.where(self._degree[held] > 1, need[held], 0.0))
        masks = np.array(columns.masks)
        for degree in np.unique(self._degree[models])[::-1].tolist():
            some = models[self._degree[models] == degree]
            some = some[np.argsort(-need[some], kind="stable")]
            while len(some):
                seats = self._seats(degree, np.ones(len(stays), dtype=bool))[: len(some)]
                if not len(seats):
                    return False
                tried = some[: len(seats)]
                room = columns.memory[seats] - (stays[seats] if degree > 1 else 0.0)
                may = masks[columns.mask_of[tried, None], seats] & (need[tried, None] <= room)
                at = np.flatnonzero(may.all(axis=1))
                some = np.delete(some, at[self._fitting(tried[at], seats[at])])
                self._left[seats] = 0.0
        return True

    def even_out(self, bound: float, least: float, watch: Watch) -> None:
        """Hand out anew what GPUs hold too much, at rising targets until that is nothing.

        Parameters
        ----------
        bound, least
            The targets are at least that part above the bound.
        watch
            Leaves it the targets from `ANYHOW` on alone, once it ends.
        """
        instance, columns = self._instance, self._columns
        model, gpu = (np.concatenate(arrays) for arrays in zip(*self._seated, strict=True))
        uneven = np.zeros(instance.n, dtype=bool)
        uneven[[*instance.uneven]] = True
        fixed = (self._degree > 1) | ~instance.regions.bound | (uneven & (self._copies > 1))
        moves = np.flatnonzero(~fixed[model])
        memory = columns.memory.astype(np.float64) * (1 - 1e-12) - 1.0
        began = gpu.copy()
        for above in EVENED:
            if above < least:
                continue
            size = self._need(bound * (1 + above))[model]
            room = memory - np.bincount(gpu, size, instance.g)
            rematch = Rematch(instance, room, model[moves], gpu[moves], size[moves])
            within = Watch() if above >= ANYHOW else Within(watch, watch.left * EVENED_PART)
            left = rematch.run(within, GAIN, HURRIED if watch.stop else PATIENCE)
            gpu[moves] = rematch.gpu
            if left <= WHOLE:
                break
        found: dict[int, Copies] = {}
        changed = np.zeros(instance.n, dtype=bool)
        changed[model[gpu != began]] = True
        at = np.flatnonzero(changed[model])
        for j, g in zip(model[at].tolist(), gpu[at].tolist(), strict=True):
            found[j] = (*found.get(j, ()), (g,))
        for j, copies in found.items():
            self.where[j] = tuple(sorted(copies))

    def _matched(self, need: Floats, seats: Ints) -> tuple[Ints, Ints]:
        """Return which of some copies are tried, the largest first, and the seats of these."""
        if not self._tight:
            count = min(len(need), len(seats))
            return np.arange(count), seats[:count]
        rising = np.arange(len(need))[::-1]
        first = np.searchsorted(self._left[seats].min(axis=1), need[rising])
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
        self._seated.append((np.repeat(models[fit], seats.shape[1]), gpus.reshape(-1)))
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
