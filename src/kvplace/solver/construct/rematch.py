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

__all__ = ["WHOLE", "Rematch", "room_alone"]

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
REPEATS = 4
"""Times that GPUs are left out which would get two copies of one model."""


class Rematch:
    """Sums and shards of a board at a target.

    Parameters
    ----------
    board
        It is read, and left as it is. A shard takes the larger of its load's part and of the KV
        that must be left for it, so that what GPUs hold counts as too much where some must keep
        much and others carry much. What is given where KV must be left goes only to GPUs that would
        hold it alone.
    target
        In load per byte, above 0 and finite; so large that only memory counts where pressures are
        several.

    Attributes
    ----------
    model
        (s,) the model of each shard that may move.
    """

    def __init__(self, board: Assignment, target: float) -> None:
        self._board, instance, arrays = board, board.instance, board.arrays
        memory = instance.columns.memory.astype(np.float64)
        self._room: Floats = arrays.free - memory * 1e-12 - 1.0 - _beside(board, target)
        regions = instance.regions
        self._alone = (
            room_alone(instance.columns) if instance.columns.keeps else np.full(instance.g, np.inf)
        )
        self._region = regions.of
        rows = [
            (j, g, option.taken(target))
            for j, option in enumerate(board.option)
            if option is not None and option.degree == 1 and regions.bound[j]
            and (option.copies == 1 or not instance.is_uneven(j))
            for (g,) in board.where[j]
        ]  # fmt: skip
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        self.model: Ints = table[:, 0].astype(np.int64)
        self._gpu: Ints = table[:, 1].astype(np.int64)
        self._size = table[:, 2]
        self._begun = self._gpu.copy()
        self._copied = np.flatnonzero(np.bincount(self.model, minlength=1)[self.model] > 1)
        self._free = np.flatnonzero(regions.free[self.model])
        self._random = np.random.default_rng(0)

    @property
    def excess(self) -> float:
        """Bytes that GPUs hold too much, all of them together."""
        return -float(self._room[self._room < -WHOLE].sum())

    def run(self, watch: Watch) -> float:
        """Hand shards out anew until that no longer helps; return the excess that is left."""
        best, idle = self.excess, 0
        patience = max(PATIENCE, min(MOST_PATIENCE, PATIENT_GPUS // len(self._room)))
        while best > WHOLE and idle < patience and len(self.model) and not watch.stop:
            self._round()
            now = self.excess
            idle = 0 if now < best * (1 - GAIN) else idle + 1
            best = min(best, now)
        return best

    def changes(self) -> list[Change]:
        """Return what was moved."""
        option, where = self._board.option, {}
        for j in np.unique(self.model[self._gpu != self._begun]).tolist():
            where[j] = [g for (g,) in self._board.where[j]]
        for at in np.flatnonzero(self._gpu != self._begun).tolist():
            where[int(self.model[at])].remove(int(self._begun[at]))
            where[int(self.model[at])].append(int(self._gpu[at]))
        return [(j, option[j], tuple((g,) for g in sorted(gpus))) for j, gpus in where.items()]

    def _round(self) -> None:
        """Give and hand out once."""
        free = self._random.random() < FREE
        given = self._given(self._free if free else np.arange(len(self.model)))
        gpus = len(self._room)
        size = np.bincount(self._gpu[given], self._size[given], gpus)
        # GPUs that give what fewer GPUs hold keep to themselves, so that it fits wherever it goes.
        kinds = np.unique(self._alone)
        apart = np.searchsorted(kinds, size)
        if not free:
            apart += self._region * (len(kinds) + 1)
        room = self._room + size
        part = size <= self._alone
        to: Ints = np.arange(gpus)
        for _ in range(REPEATS):
            some = np.flatnonzero(part)
            source = some[np.lexsort((size[some], apart[some]))]
            to = np.arange(gpus)
            to[source] = some[np.lexsort((room[some], apart[some]))]
            wrong = self._twice(given, to)
            if not wrong.any():
                break
            part &= ~wrong
        else:
            return
        room[to] -= size
        self._room = room
        self._gpu[given] = to[self._gpu[given]]

    def _given(self, some: Ints) -> Ints:
        """Draw none, one or two shards of each GPU."""
        drawn = some[self._random.permutation(len(some))]
        drawn = drawn[np.argsort(self._gpu[drawn], kind="stable")]
        gpu = self._gpu[drawn]
        place = np.arange(len(gpu)) - np.searchsorted(gpu, gpu)
        most = np.searchsorted(GIVEN, self._random.random(len(self._room)))
        return drawn[place < most[gpu]]

    def _twice(self, given: Ints, to: Ints) -> Bools:
        """Return (g,) which GPUs give or get a second copy of a model."""
        wrong = np.zeros(len(to), dtype=bool)
        then = self._gpu.copy()
        then[given] = to[then[given]]
        code = self.model[self._copied] * len(to) + then[self._copied]
        _, inverse, count = np.unique(code, return_inverse=True, return_counts=True)
        twice = self._copied[count[inverse.reshape(-1)] > 1]
        wrong[self._gpu[twice]] = wrong[then[twice]] = True
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
