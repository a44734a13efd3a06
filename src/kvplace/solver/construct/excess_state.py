"""What GPUs hold above a target, and the sets of one or two shards that may leave each of them."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.instance.regions import Regions

__all__ = ["Excess", "Move"]

MOST = 100_000
"""Sets above which there are none of two shards: each step looks at all of them."""


@dataclass(slots=True)
class Bundles:
    """Sets of one or two shards of one GPU, and for every GPU the empty set.

    Parameters
    ----------
    gpu, first, second
        (b,) where each is, and what it takes of both sums.
    shards
        (b, 2) its shards, -1 for none.
    tied
        (b,) whether they may not leave their region.
    alive
        (b,) whether it still is.
    """

    gpu: Ints
    first: Floats
    second: Floats
    shards: Ints
    tied: Bools
    alive: Bools


Move = tuple[int, int, int]
"""A bundle, the GPU that it leaves, and the one to which it goes."""


class Excess:
    """Sums and shards of a board at a target.

    Parameters
    ----------
    board
        It is read, and left as it is.
    target
        In load per byte, above 0 and finite; so large that only memory counts where pressures are
        several.

    Attributes
    ----------
    model
        The model of each shard that may move.
    over
        (g,) bytes that each GPU holds too much.
    """

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
        regions = Regions(instance)
        self._region = regions.of
        model, gpu, size, least = [], [], [], []
        for j, option in enumerate(board.option):
            if option is None or option.degree > 1 or not regions.bound[j]:
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
        self._tied = np.append(~regions.free[model], False) if model else np.zeros(1, dtype=bool)
        self._held: list[list[int]] = [[] for _ in range(instance.g)]
        for at, g in enumerate(gpu):
            self._held[g].append(at)
        self._paired = sum(len(held) * (len(held) + 1) // 2 for held in self._held) <= MOST
        self.over = self._over(np.arange(instance.g), 0.0, 0.0)
        self._bundles, self._of = self._all_bundles()

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

    def apart(self, moves: list[Move]) -> bool:
        """Whether moves leave at most one shard of each model on a GPU."""
        leaving = {source: self._models(bundle) for bundle, source, _ in moves}
        return not any(
            to in self._where[j] and j not in leaving.get(to, ())
            for bundle, _, to in moves
            for j in self._models(bundle)
        )

    def _models(self, bundle: int) -> list[int]:
        """Return the models of a bundle."""
        return [self.model[at] for at in self._bundles.shards[bundle].tolist() if at >= 0]

    def carry(self, moves: list[Move]) -> None:
        """Move bundles from GPU to GPU, all at once."""
        bundles = self._bundles
        for bundle, source, _ in moves:
            for j in self._models(bundle):
                self._where[j].discard(source)
                self._moved.add(j)
            self._held[source] = [
                at for at in self._held[source] if at not in bundles.shards[bundle]
            ]
        for bundle, source, to in moves:
            self._held[to] += [at for at in bundles.shards[bundle].tolist() if at >= 0]
            for j in self._models(bundle):
                self._where[j].add(to)
            for sums, size in zip(self._sums, (bundles.first, bundles.second), strict=True):
                sums[source] -= size[bundle]
                sums[to] += size[bundle]
        for gpu in {to for _, _, to in moves}:
            self.over[gpu] = self._over(np.array([gpu]), 0.0, 0.0)[0]
            self._renew(gpu)

    def _of_gpu(self, g: int) -> list[tuple[int, int]]:
        """Return the bundles of a GPU as numbers of shards, -1 for none."""
        held = self._held[g]
        pairs = combinations(held, 2) if self._paired else ()
        return [(-1, -1), *((at, -1) for at in held), *pairs]

    def _all_bundles(self) -> tuple[Bundles, list[list[int]]]:
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

    def _made(self, rows: list[tuple[int, int]], gpus: list[int]) -> Bundles:
        """Return bundles of some shards on some GPUs."""
        shards = np.array(rows, dtype=np.int64).reshape(-1, 2)
        first, second = (sizes[shards].sum(axis=1) for sizes in self._sizes)
        tied = np.asarray(self._tied[shards].any(axis=1))
        return Bundles(np.array(gpus), first, second, shards, tied, np.ones(len(rows), dtype=bool))

    def _renew(self, g: int) -> None:
        """Replace the bundles of a GPU."""
        bundles, rows = self._bundles, self._of_gpu(g)
        bundles.alive[self._of[g]] = False
        own = self._of[g][: len(rows)]
        if len(rows) > len(own):
            more = len(rows) - len(own)
            own += range(len(bundles.gpu), len(bundles.gpu) + more)
            spare = self._made([(-1, -1)] * more, [g] * more)
            self._bundles = bundles = Bundles(*(
                np.concatenate([getattr(bundles, name), getattr(spare, name)])
                for name in ("gpu", "first", "second", "shards", "tied", "alive")
            ))  # fmt: skip
            self._of[g] = own
        new = self._made(rows, [g] * len(rows))
        bundles.first[own], bundles.second[own] = new.first, new.second
        bundles.shards[own], bundles.tied[own] = new.shards, new.tied
        bundles.alive[own] = True
