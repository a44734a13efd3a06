"""Rematch: what GPUs hold above a target, lowered by giving every GPU another one's shards.

Each GPU gives away none, one or two of its shards, drawn at random, and the largest of what is
given goes to the GPU with the most room then, the next to the next. Of all ways to hand them out,
that one makes every convex sum of what GPUs hold too much least, so what they hold too much falls
or stays. Shards of which rules speak stay in their region.
"""

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.instance import Instance

WHOLE = 64.0
"""Bytes of excess that count as none."""
PATIENCE, MOST_PATIENCE, PATIENT_GPUS = 30, 300, 20_000
"""Rounds without less excess after which it ends: at least, and at most; in between as many as look
at so many GPUs."""
GAIN = 1e-3
"""Part of the excess that counts as less."""
GIVEN = (0.15, 0.8)
"""Chances that a GPU gives nothing, and at most one shard."""
FREE = 0.5
"""Chance that only shards that may go anywhere are given, to any GPU."""
JOINED, JOINED_GPUS = 0.001, 10_000
"""Part of the GPUs at most whose shards are given on with others', every other time; and GPUs from
which on."""
HALF = 0.5
"""Part of the smallest GPU that both take together at most."""
REPEATS = 4
"""Times that GPUs are left out which would get two copies of one model."""


class Rematch:
    """Shards that may move, and the room that GPUs have at a target.

    Parameters
    ----------
    instance
        The problem.
    room
        (g,) bytes that GPUs have left; below 0 what they hold too much.
    model, gpu, size
        (s,) the model of each shard that may move, where it is, and the bytes that it takes.
    alone
        Whether what is given goes only to GPUs that would hold it alone.

    Attributes
    ----------
    model, gpu
        As above; `gpu` changes.
    """

    def __init__(
        self,
        instance: Instance,
        room: Floats,
        model: Ints,
        gpu: Ints,
        size: Floats,
        *,
        alone: bool = True,
    ) -> None:
        regions = instance.regions
        self._room, self._size, self.model, self.gpu = room, size, model, gpu.copy()
        self._alone = room_alone(instance.columns) if alone else np.full(instance.g, np.inf)
        self._most = HALF * float(instance.columns.memory.min())
        self._region, self._begun = regions.of, gpu
        self._copied = np.flatnonzero(np.bincount(model, minlength=1)[model] > 1)
        self._free = np.flatnonzero(regions.free[model])
        self._random = np.random.default_rng(0)

    @classmethod
    def of(cls, board: Assignment, target: float) -> "Rematch":
        """Return that of an assignment, which is read, and left as it is.

        A shard takes the larger of its load's part and of the KV that must be left for it, so that
        what GPUs hold counts as too much where some must keep much and others carry much.

        Parameters
        ----------
        board
            The assignment.
        target
            In load per byte, above 0 and finite; so large that only memory counts where pressures
            are several.
        """
        instance = board.instance
        may = instance.regions.bound
        rows = [
            (j, g, option.taken(target))
            for j, option in enumerate(board.option)
            if option is not None and option.degree == 1 and may[j]
            and (option.copies == 1 or not instance.is_uneven(j))
            for (g,) in board.where[j]
        ]  # fmt: skip
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        model, gpu = table[:, :2].astype(np.int64).T
        memory = instance.columns.memory.astype(np.float64)
        room: Floats = board.arrays.free - memory * 1e-12 - 1.0 - _beside(board, target)
        return cls(instance, room, model, gpu, table[:, 2], alone=instance.columns.keeps)

    @property
    def excess(self) -> float:
        """Bytes that GPUs hold too much, all of them together."""
        return -float(self._room[self._room < -WHOLE].sum())

    def run(self, watch: Watch, gain: float = GAIN, patience: int | None = None) -> float:
        """Hand shards out anew until that no longer helps; return the excess that is left.

        Parameters
        ----------
        watch
            Ends it early.
        gain
            Part of the excess that counts as less.
        patience
            Rounds without less after which it ends; None for as many as GPUs ask for.
        """
        best, idle = self.excess, 0
        if patience is None:
            patience = max(PATIENCE, min(MOST_PATIENCE, PATIENT_GPUS // len(self._room)))
        while best > WHOLE and idle < patience and len(self.model) and not watch.stop:
            self._round()
            now = self.excess
            idle = 0 if now < best * (1 - gain) else idle + 1
            best = min(best, now)
        return best

    def changes(self, board: Assignment) -> list[Change]:
        """Return what was moved on the board that this is of."""
        option, where = board.option, {}
        for j in np.unique(self.model[self.gpu != self._begun]).tolist():
            where[j] = [g for (g,) in board.where[j]]
        for at in np.flatnonzero(self.gpu != self._begun).tolist():
            where[int(self.model[at])].remove(int(self._begun[at]))
            where[int(self.model[at])].append(int(self.gpu[at]))
        return [(j, option[j], tuple((g,) for g in sorted(gpus))) for j, gpus in where.items()]

    def _round(self) -> None:
        """Give and hand out once."""
        free = self._random.random() < FREE
        given = self._given(self._free if free else np.arange(len(self.model)))
        gpus = len(self._room)
        size: Floats = np.bincount(self.gpu[given], self._size[given], gpus).astype(np.float64)
        room, with_ = self._room + size, np.arange(gpus)
        hot = np.flatnonzero((self._room < -WHOLE) & (size > 0))
        joined = gpus >= JOINED_GPUS and len(hot) > 0 and self._random.random() < FREE
        if joined:
            hot = self._random.permutation(hot)[: int(JOINED * gpus)]
            regions = np.zeros(gpus, dtype=np.int64) if free else self._region
            for region in np.unique(regions[hot]).tolist():
                some = hot[regions[hot] == region]
                with_[some] = self._partners(some, size, regions == region)
            size = np.bincount(with_, size, gpus).astype(np.float64)
        # GPUs that give what fewer GPUs hold keep to themselves, so that it fits wherever it goes.
        kinds = np.unique(self._alone)
        apart = np.searchsorted(kinds, size)
        if not free:
            apart += self._region * (len(kinds) + 1)
        part = size <= self._alone
        to: Ints = np.arange(gpus)
        for _ in range(REPEATS):
            some = np.flatnonzero(part)
            source = some[np.lexsort((size[some], apart[some]))]
            to = np.arange(gpus)
            to[source] = some[np.lexsort((room[some], apart[some]))]
            wrong = self._twice(given, to[with_])
            if not wrong.any():
                break
            part &= ~wrong
        else:
            return
        room[to] -= size
        if joined and -room[room < -WHOLE].sum() > self.excess:
            return
        self._room = room
        self.gpu[given] = to[with_][self.gpu[given]]

    def _partners(self, hot: Ints, size: Floats, among: Bools) -> Ints:
        """Return with what GPUs' shards those of hot ones are given on together, drawn at random.

        A GPU gets the shards of one other. So one that has room for none gets none only where two
        others' go to one GPU.
        """
        others = np.flatnonzero((size > 0) & (self._room >= -WHOLE) & among)
        drawn = self._random.permutation(others)[: len(hot)]
        found = hot.copy()
        held = size[drawn] + size[hot[: len(drawn)]] <= self._most
        found[: len(drawn)][held] = drawn[held]
        return found

    def _given(self, some: Ints) -> Ints:
        """Draw none, one or two shards of each GPU."""
        drawn = some[self._random.permutation(len(some))]
        drawn = drawn[np.argsort(self.gpu[drawn], kind="stable")]
        gpu = self.gpu[drawn]
        place = np.arange(len(gpu)) - np.searchsorted(gpu, gpu)
        most = np.searchsorted(GIVEN, self._random.random(len(self._room)))
        return drawn[place < most[gpu]]

    def _twice(self, given: Ints, to: Ints) -> Bools:
        """Return (g,) which GPUs give or get a second copy of a model."""
        wrong = np.zeros(len(to), dtype=bool)
        then = self.gpu.copy()
        then[given] = to[then[given]]
        code = self.model[self._copied] * len(to) + then[self._copied]
        _, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
        twice = self._copied[count[inverse.reshape(-1)] > 1]
        wrong[self.gpu[twice]] = wrong[then[twice]] = True
        return wrong


def room_alone(columns: Columns) -> Floats:
    """Return (g,) bytes that GPUs have for what is alone on them."""
    found: Floats = columns.memory.astype(np.float64) * (1 - 1e-12) - 1.0
    return found


def _beside(board: Assignment, target: float) -> Floats:
    """Return (g,) bytes that shards take beside weights, each the larger of its two."""
    arrays = board.arrays
    if not board.instance.columns.keeps:
        found: Floats = arrays.load[0] / target
        return found
    found = np.zeros(board.instance.g)
    for option, copies in zip(board.option, board.where, strict=True):
        if option is not None:
            found[[g for copy in copies for g in copy]] += option.taken(target) - option.size
    return found
