"""Mobile: shards of a cluster that move by themselves, improved by the compiled pair exchanges.

GPUs between which no rule tells a difference are a region. A shard of a model that is not split
may go anywhere in its region, and anywhere at all where no rule speaks of its model. What else
there is stays where it is meanwhile, as memory taken and load carried.
"""

from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.cluster import Board, Change
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.improve.parallel_pairs import GAIN, Improver
from kvplace.solver.instance.instance import Instance
from kvplace.solver.kernels import Crew

__all__ = ["Regions", "improve_mobile"]

REGIONS = 16
"""Labels of one rule above which the models that it speaks of stay where they are."""


class Regions:
    """The regions of an instance.

    Attributes
    ----------
    of
        (g,) region of each GPU.
    count
        Number of regions.
    bound, free
        (n,) whether a model may go anywhere in its regions, and anywhere at all.
    """

    def __init__(self, instance: Instance) -> None:
        self.bound = np.ones(instance.n, dtype=bool)
        self.free = np.ones(instance.n, dtype=bool)
        of = np.zeros(instance.g, dtype=np.int64)
        masks = instance.columns.masks
        few = len(masks) <= REGIONS
        for mask in masks if few else ():
            of = _refined(of, mask.astype(np.int64))
        for j in range(instance.n):
            if not instance.anywhere(j):
                self.free[j] = False
                self.bound[j] = few
        for plan in instance.blueprints:
            labels = np.asarray(plan.labels, dtype=np.int64)
            self.free[plan.concerned] = False
            if len(np.unique(labels)) <= REGIONS:
                of = _refined(of, labels)
            else:
                self.bound[plan.concerned] = False
        self.of: Ints = of
        self.count = int(of.max(initial=0)) + 1


def _refined(of: Ints, labels: Ints) -> Ints:
    """Return regions within which the labels are the same too, numbered from 0."""
    both = of * (int(labels.max()) + 2) + labels + 1
    found: Ints = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return found


@dataclass(frozen=True, slots=True)
class _Shards:
    """Shards of models that are not split, and what else is on each GPU.

    Parameters
    ----------
    model, copy, gpu
        (m,) whose they are, which copy, and where; `gpu` changes.
    size, keep, load
        (m,) of each.
    memory, kept, base
        (g,) bytes that they share with nobody else, and least KV bytes and load of the others.
    spare
        (g,) bytes to be left free, as in `Packing`.
    """

    model: Ints
    copy: Ints
    gpu: Ints
    size: Ints
    keep: Ints
    load: Floats
    memory: Ints
    kept: Ints
    base: Floats
    spare: Ints


def improve_mobile(
    board: Board,
    regions: Regions,
    bound: float,
    effort: float,
    seed: int,
    watch: Watch,
    turns: int = 1,
    *,
    limit: int | None = None,
    gain: float = GAIN,
) -> int:
    """Exchange mobile shards between hot and cold GPUs; return the exchanges made.

    Parameters
    ----------
    board
        Changed in place, its worst GPU never to a worse one.
    regions
        Of its instance.
    bound
        A lower bound: the level aimed at.
    effort
        Pairs looked at, per GPU.
    seed
        Of the order in which partners come.
    watch
        Ends it.
    turns
        Times that all of them are gone through.
    limit
        Exchanges at most; None for no limit.
    gain
        Relative gain that an exchange must exceed.
    """
    shards = _shards(board, regions)
    if not len(shards.model) or not board.valid:
        return 0
    started = shards.gpu.copy()
    single = regions.free[shards.model] & (np.bincount(shards.model)[shards.model] == 1)
    crew, made = Crew(), 0

    def improve(mobile: Bools, turn: int, gpus: Bools | None = None) -> int:
        left = None if limit is None else limit - made
        return _improve(shards, mobile, bound, effort, turn, crew, watch, gpus, left, gain)

    try:
        for turn in range(seed, seed + turns):
            before = made
            made += improve(single, turn)
            for region in range(0 if single.all() else regions.count):
                made += improve(regions.of[shards.gpu] == region, turn, regions.of == region)
            if made == before or watch.stop:
                break
    finally:
        crew.close()
    return made if _carry_out(board, shards, started) else 0


def _shards(board: Board, regions: Regions) -> _Shards:
    """Return the mobile shards of a board."""
    instance = board.instance
    rows = []
    for j in np.flatnonzero(regions.bound).tolist():
        option = board.option[j]
        if option is None or option.degree > 1 or (instance.is_uneven(j) and option.copies > 1):
            continue
        need = (option.size, option.keep, option.load)
        rows += [(j, at, g, *need) for at, (g,) in enumerate(board.where[j])]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
    model, copy, gpu, size, keep = table[:, :5].astype(np.int64).T
    load = table[:, 5].copy()
    memory, kept = board.free.astype(np.int64), board.kept.astype(np.int64)
    np.add.at(memory, gpu, size)
    np.subtract.at(kept, gpu, keep)
    base = board.load[0] - np.bincount(gpu, load, minlength=instance.g)
    alone = np.bincount(gpu, minlength=instance.g) == [len(held) for held in board.members]
    base[alone] = 0.0
    spare = np.ceil(board.spare).astype(np.int64)
    base = np.maximum(base, 0.0)
    return _Shards(model, copy, gpu.copy(), size, keep, load, memory, kept, base, spare)


def _improve(
    shards: _Shards,
    mobile: Bools,
    bound: float,
    effort: float,
    seed: int,
    crew: Crew,
    watch: Watch,
    gpus: Bools | None,
    limit: int | None,
    gain: float,
) -> int:
    """Exchange some shards, between some GPUs, all others staying where they are."""
    g = len(shards.memory)
    fixed = ~mobile
    memory, kept = shards.memory.copy(), shards.kept.copy()
    np.subtract.at(memory, shards.gpu[fixed], shards.size[fixed])
    np.add.at(kept, shards.gpu[fixed], shards.keep[fixed])
    base = shards.base + np.bincount(shards.gpu[fixed], shards.load[fixed], minlength=g)
    at = np.arange(g) if gpus is None else np.flatnonzero(gpus)
    position = np.zeros(g, dtype=np.int64)
    position[at] = np.arange(len(at))
    which = np.flatnonzero(mobile)
    if len(at) < 2 or not len(which):
        return 0
    numbers = Instance.undivided(
        shards.size[which], shards.keep[which], shards.load[which], memory[at], which, at
    ).columns
    packing = pack_rows(
        numbers, position[shards.gpu[which]], base[at], kept[at], shards.model[which],
        shards.spare[at],
    )  # fmt: skip
    improver = Improver(packing, bound, seed, crew, watch, limit=limit, gain=gain)
    improver.relieve(bound, effort, effort)
    shards.gpu[which] = at[packing.gpu_of(numbers.n)]
    return improver.exchanges


def _carry_out(board: Board, shards: _Shards, started: Ints) -> bool:
    """Move what moved on the board, unless that breaks or worsens anything."""
    changes: dict[int, list[tuple[int, ...]]] = {}
    for at in np.flatnonzero(shards.gpu != started).tolist():
        j = int(shards.model[at])
        copies = changes.setdefault(j, list(board.where[j]))
        copies[int(shards.copy[at])] = (int(shards.gpu[at]),)
    before, flaws = board.worst(), board.flaws
    moved: list[Change] = [(j, board.option[j], tuple(c)) for j, c in changes.items()]
    undo, _ = board.apply(moved)
    if board.worst() > before or board.flaws > flaws:
        board.apply(undo)
        return False
    return True
