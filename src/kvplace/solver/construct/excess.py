"""Excess: what GPUs hold above a target, all of them together, brought down by exchanges.

Where a start is filled by sizes on levels, many GPUs end a little above its target and as many a
little below. A step exchanges one or two shards of a GPU above it for none, one or two of another,
so that the sum of what both GPUs hold too much falls most: of room at the target, or of memory with
the KV that must be left.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Option

__all__ = ["crowd", "lower_excess"]

MOST = 100_000
"""Bundles above which there are none of two shards, and shards above which nothing is done: each
step looks at all of them."""
WHOLE = 64.0
"""Bytes of excess that count as none."""
GAIN = 2.0**10
"""Bytes by which a step lowers the excess at least."""
TRIES = 24
"""Exchanges looked at for a bundle until one keeps the copies of each model apart."""


def lower_excess(board: Assignment, target: float, watch: Watch) -> float:
    """Exchange shards until no step lowers the excess at a target.

    Parameters
    ----------
    board
        Changed in place; of one pressure. GPUs may hold more than their memory.
    target
        In load per byte, above 0 and finite.
    watch
        Ends it early.

    Returns
    -------
    float
        Bytes that GPUs still hold too much, all of them together.
    """
    state = _Excess(board, target)
    if 0 < len(state.model) <= MOST:
        state.run(watch)
        board.apply(state.changes())
    return float(state.over.sum())


def crowd(board: Assignment, j: int, target: float) -> bool:
    """Place an undivided model where its copies add least excess, whatever that is.

    Returns
    -------
    bool
        Whether it was placed; not where rules speak of it, or GPUs are too few.
    """
    instance, arrays = board.instance, board.arrays
    options = [option for option in instance.options[j] if option.degree == 1]
    if not board.costs.free(j) or instance.pressures > 1:
        return False
    room = arrays.free - arrays.load[0] / target, (arrays.free - arrays.kept).astype(np.float64)
    before = np.maximum(np.maximum(-room[0], -room[1]), 0.0)
    best: tuple[float, Option, list[int]] | None = None
    for option in options:
        size = option.size + option.load / target, float(option.size + option.keep)
        added = np.maximum(np.maximum(size[0] - room[0], size[1] - room[1]), 0.0) - before
        added[~instance.columns.allowed[j]] = math.inf
        # What fits anywhere leaves more room elsewhere the fewer copies there are.
        seats = np.argsort(added, kind="stable")[: option.copies]
        cost = float(added[seats].sum())
        enough = len(seats) == option.copies and cost < math.inf
        if enough and (best is None or cost < best[0]):
            best = cost, option, sorted(seats.tolist())
    if best is None:
        return False
    board.apply([(j, best[1], tuple((g,) for g in best[2]))])
    return True


@dataclass(slots=True)
class _Bundles:
    """Sets of one or two shards of one GPU, and for every GPU the empty set.

    Parameters
    ----------
    gpu, first, second
        (b,) where each is, and what it takes of both sums.
    shards
        (b, 2) its shards, -1 for none.
    alive
        (b,) whether it still is.
    """

    gpu: Ints
    first: Floats
    second: Floats
    shards: Ints
    alive: Bools


class _Excess:
    """Sums and shards of a board at a target."""

    def __init__(self, board: Assignment, target: float) -> None:
        self._board = board
        instance, arrays, columns = board.instance, board.arrays, board.instance.columns
        memory = columns.memory.astype(np.float64)
        self._room = memory * (1 - 1e-12) - 1.0, memory
        self._sums = (
            memory - arrays.free + arrays.load[0] / target,
            (memory - arrays.free + arrays.kept).astype(np.float64),
        )
        self._where = [{g for copy in copies for g in copy} for copies in board.where]
        model, gpu, size, least = [], [], [], []
        for j, option in enumerate(board.option):
            movable = option is not None and option.degree == 1 and board.costs.free(j)
            if option is None or not movable or not instance.anywhere(j):
                continue
            if option.copies > 1 and instance.is_uneven(j):
                continue
            for (g,) in board.where[j]:
                model.append(j)
                gpu.append(g)
                size.append(option.size + option.load / target)
                least.append(float(option.size + option.keep))
        self.model, self._gpu = model, gpu
        self._moved: set[int] = set()
        self._sizes = np.array([*size, 0.0]), np.array([*least, 0.0])  # the last one, -1, is none
        self._held: list[list[int]] = [[] for _ in range(instance.g)]
        for at, g in enumerate(gpu):
            self._held[g].append(at)
        self._paired = sum(len(held) * (len(held) + 1) // 2 for held in self._held) <= MOST
        self.over = self._over(np.arange(instance.g), 0.0, 0.0)
        self._bundles, self._of = self._all_bundles()

    def run(self, watch: Watch) -> None:
        """Take GPUs with the most excess first, until none has a step that lowers it."""
        stuck = np.zeros(len(self.over), dtype=bool)
        while not watch.stop:
            open_ = np.where(stuck, 0.0, self.over)
            g = int(open_.argmax())
            if open_[g] <= WHOLE:
                break
            touched = self._step(g)
            if touched < 0:
                stuck[g] = True
            else:
                stuck[[g, touched]] = False

    def changes(self) -> list[Change]:
        """Return what was moved."""
        option, where = self._board.option, self._where
        return [(j, option[j], tuple((g,) for g in sorted(where[j]))) for j in sorted(self._moved)]

    def _over(self, gpus: Ints, first: Floats | float, second: Floats | float) -> Floats:
        """Return what some GPUs hold too much with something added to both sums."""
        excess = np.maximum(
            self._sums[0][gpus] + first - self._room[0][gpus],
            self._sums[1][gpus] + second - self._room[1][gpus],
        )
        found: Floats = np.maximum(excess, 0.0)
        return found

    def _step(self, g: int) -> int:
        """Make the exchange that lowers the excess most; return the other GPU, -1 for none."""
        bundles = self._bundles
        at = np.flatnonzero(bundles.alive & (bundles.gpu != g))
        there, back = bundles.gpu[at], (bundles.first[at], bundles.second[at])
        here = np.full(len(at), g)
        best, step = -GAIN, None
        for out in self._of[g]:
            if not bundles.alive[out] or bundles.shards[out, 0] < 0:
                continue
            first, second = float(bundles.first[out]), float(bundles.second[out])
            change = (
                self._over(here, back[0] - first, back[1] - second)
                + self._over(there, first - back[0], second - back[1])
                - self.over[g] - self.over[there]
            )  # fmt: skip
            most = min(TRIES, len(change))
            for number in np.argpartition(change, most - 1)[:most].tolist():
                if change[number] < best and self._apart(g, out, int(at[number])):
                    best, step = float(change[number]), (out, int(at[number]))
        if step is None:
            return -1
        return self._exchange(g, *step)

    def _apart(self, g: int, out: int, back: int) -> bool:
        """Whether an exchange leaves at most one shard of each model on both GPUs."""
        h = int(self._bundles.gpu[back])
        there = self._models(back)
        return not any(
            (h in self._where[j] and j not in there) for j in self._models(out)
        ) and not any((g in self._where[j] and j not in self._models(out)) for j in there)

    def _models(self, bundle: int) -> list[int]:
        """Return the models of a bundle."""
        return [self.model[at] for at in self._bundles.shards[bundle].tolist() if at >= 0]

    def _exchange(self, g: int, out: int, back: int) -> int:
        """Exchange a bundle of a GPU for one of another; return the other."""
        bundles, h = self._bundles, int(self._bundles.gpu[back])
        moves = [(out, g, h), (back, h, g)]
        for bundle, source, _ in moves:
            for j in self._models(bundle):
                self._where[j].discard(source)
                self._moved.add(j)
        for bundle, source, target in moves:
            self._held[source] = [
                at for at in self._held[source] if at not in bundles.shards[bundle]
            ]
            self._held[target] += [at for at in bundles.shards[bundle].tolist() if at >= 0]
            for j in self._models(bundle):
                self._where[j].add(target)
        first = bundles.first[out] - bundles.first[back]
        second = bundles.second[out] - bundles.second[back]
        for gpu, sign in ((g, -1), (h, 1)):
            self._sums[0][gpu] += sign * first
            self._sums[1][gpu] += sign * second
            self.over[gpu] = self._over(np.array([gpu]), 0.0, 0.0)[0]
            self._renew(gpu)
        return h

    def _of_gpu(self, g: int) -> list[tuple[int, int]]:
        """Return the bundles of a GPU as numbers of shards, -1 for none."""
        held = self._held[g]
        pairs = combinations(held, 2) if self._paired else ()
        return [(-1, -1), *((at, -1) for at in held), *pairs]

    def _all_bundles(self) -> tuple[_Bundles, list[list[int]]]:
        """Return the bundles of all GPUs, and which each GPU has."""
        rows: list[tuple[int, int]] = []
        gpus: list[int] = []
        of: list[list[int]] = []
        for g in range(len(self._held)):
            own = self._of_gpu(g)
            of.append(list(range(len(rows), len(rows) + len(own))))
            rows += own
            gpus += [g] * len(own)
        return self._made(rows, gpus), of

    def _made(self, rows: list[tuple[int, int]], gpus: list[int]) -> _Bundles:
        """Return bundles of some shards on some GPUs."""
        shards = np.array(rows, dtype=np.int64).reshape(-1, 2)
        first, second = (sizes[shards].sum(axis=1) for sizes in self._sizes)
        return _Bundles(np.array(gpus), first, second, shards, np.ones(len(rows), dtype=bool))

    def _renew(self, g: int) -> None:
        """Replace the bundles of a GPU."""
        bundles, rows = self._bundles, self._of_gpu(g)
        bundles.alive[self._of[g]] = False
        own = self._of[g][: len(rows)]
        if len(rows) > len(own):
            more = len(rows) - len(own)
            own += range(len(bundles.gpu), len(bundles.gpu) + more)
            spare = self._made([(-1, -1)] * more, [g] * more)
            self._bundles = bundles = _Bundles(*(
                np.concatenate([getattr(bundles, name), getattr(spare, name)])
                for name in ("gpu", "first", "second", "shards", "alive")
            ))  # fmt: skip
            self._of[g] = own
        new = self._made(rows, [g] * len(rows))
        bundles.first[own], bundles.second[own] = new.first, new.second
        bundles.shards[own], bundles.alive[own] = new.shards, True
