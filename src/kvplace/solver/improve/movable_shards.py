"""Mobile: shards of a cluster that move by themselves, improved by the compiled pair exchanges.

A shard of a model that is not split may go anywhere in its region, and anywhere at all where no
rule speaks of its model. What else there is stays where it is meanwhile, as memory taken and load
carried.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kvplace.collector import paused_collector
from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.assignment.packed import Items, Packing, pack_items
from kvplace.solver.clock import Watch
from kvplace.solver.improve.iterated_pairs import iterate_pairs
from kvplace.solver.improve.parallel_pairs import GAIN, Improver
from kvplace.solver.instance.columns import Columns
from kvplace.solver.kernels import Crew


@dataclass(frozen=True, slots=True)
class _Shards:
    """Shards of models that are not split, and what else is on each GPU.

    Parameters
    ----------
    model, copy, row, gpu
        (m,) whose they are, which copy, the row of the option, and where; `gpu` changes.
    columns
        Of the instance, with what each row takes.
    memory, kept, spare
        (g,) bytes that they share with nobody else, least KV bytes of the others, and bytes to be
        left free, as in `Packing`.
    base
        (g, pressures) loads of the others.
    """

    model: Ints
    copy: Ints
    row: Ints
    gpu: Ints
    columns: Columns
    memory: Ints
    kept: Ints
    spare: Ints
    base: Floats

    def loads(self, which: Ints) -> Floats:
        """Return (shards, pressures) the loads of some on the GPUs where they are."""
        found: Floats = self.columns.loads[self.row[which], self.columns.type_of[self.gpu[which]]]
        return found


def improve_mobile(
    board: Assignment,
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
    shards, single, started = _shards(board)
    if not len(started) or not board.valid:
        return 0
    crew, made, regions = Crew(), 0, board.instance.regions

    def relieve(turn: int, packing: Packing) -> int:
        left = None if limit is None else limit - made
        improver = Improver(packing, bound, seed + turn, crew, watch, limit=left, gain=gain)
        improver.relieve(bound, effort, effort)
        return improver.exchanges

    try:
        for turn in range(turns):
            before = made
            made += _with_packing(shards, single, partial(relieve, turn))
            for region in range(0 if single.all() else regions.count):
                inside = regions.of[shards.gpu] == region
                made += _with_packing(shards, inside, partial(relieve, turn), regions.of == region)
            if made == before or watch.stop:
                break
    finally:
        crew.close()
    return made if _carry_out(board, shards, started) else 0


def iterate_mobile(
    board: Assignment, goal: float, kicks: int, seed: int, watch: Watch, limit: float = math.inf
) -> int:
    """Search among the mobile shards with kicks; return the kicks made.

    Those that may go anywhere are exchanged between all GPUs; then all in the region of the hottest
    GPU.

    Parameters
    ----------
    board, seed, watch
        As of `improve_mobile`.
    goal
        Pressure at which to stop.
    kicks, limit
        Kicks without a gain after which to stop, and in all at most.
    """
    shards, single, started = _shards(board)
    if not len(started) or not board.valid:
        return 0
    made, regions = 0, board.instance.regions

    def search(packing: Packing) -> int:
        return iterate_pairs(packing, goal, kicks, seed, GAIN, watch, limit - made)

    made = _with_packing(shards, single, search)
    if not single.all():
        region = regions.of[int(board.arrays.pressure.argmax())]
        inside = regions.of[shards.gpu] == region
        made += _with_packing(shards, inside, search, regions.of == region)
    _carry_out(board, shards, started)
    return made


@paused_collector()
def _shards(board: Assignment) -> tuple[_Shards, Bools, Ints]:
    """Return the mobile shards of a board, which may go anywhere by themselves, and their GPUs."""
    instance, columns, regions = board.instance, board.instance.columns, board.instance.regions
    rows = []
    for j in np.flatnonzero(regions.bound).tolist():
        option = board.option[j]
        if option is None or option.degree > 1 or (instance.is_uneven(j) and option.copies > 1):
            continue
        rows += [(j, at, option.row, g) for at, (g,) in enumerate(board.where[j])]
    model, copy, row, gpu = np.array(rows, dtype=np.int64).reshape(len(rows), 4).T.copy()
    memory, kept = board.arrays.free.astype(np.int64), board.arrays.kept.astype(np.int64)
    np.add.at(memory, gpu, columns.size[row])
    np.subtract.at(kept, gpu, columns.keep[row])
    base: Floats = board.arrays.load.T.copy()
    spare = np.ceil(board.arrays.spare).astype(np.int64)
    shards = _Shards(model, copy, row, gpu, columns, memory, kept, spare, base)
    np.subtract.at(base, gpu, shards.loads(np.arange(len(rows))))
    alone = np.bincount(gpu, minlength=instance.g) == [len(held) for held in board.members]
    base[alone] = 0.0
    np.maximum(base, 0.0, out=base)
    single = regions.free[model] & (np.bincount(model)[model] == 1)
    return shards, single, gpu.copy()


def _with_packing(
    shards: _Shards, mobile: Bools, work: Callable[[Packing], int], gpus: Bools | None = None
) -> int:
    """Work on a packing of some shards between some GPUs; return what the work returns.

    All others stay where they are.
    """
    g, columns = len(shards.memory), shards.columns
    at = np.arange(g) if gpus is None else np.flatnonzero(gpus)
    which, fixed = np.flatnonzero(mobile), np.flatnonzero(~mobile)
    if len(at) < 2 or not len(which):
        return 0
    memory, kept, base = shards.memory.copy(), shards.kept.copy(), shards.base.copy()
    np.subtract.at(memory, shards.gpu[fixed], columns.size[shards.row[fixed]])
    np.add.at(kept, shards.gpu[fixed], columns.keep[shards.row[fixed]])
    np.add.at(base, shards.gpu[fixed], shards.loads(fixed))
    position = np.zeros(g, dtype=np.int64)
    position[at] = np.arange(len(at))
    rows = shards.row[which]
    items = Items(columns.size[rows], columns.keep[rows], columns.loads[rows], columns.kv)
    packing = pack_items(
        items, memory[at], columns.type_of[at], position[shards.gpu[which]],
        base[at], kept[at], shards.model[which], shards.spare[at],
    )  # fmt: skip
    made = work(packing)
    shards.gpu[which] = at[packing.gpu_of(len(which))]
    return made


@paused_collector()
def _carry_out(board: Assignment, shards: _Shards, started: Ints) -> bool:
    """Move what moved on the board, unless that breaks or worsens anything."""
    before, flaws = board.worst(), board.flaws
    undo, _ = board.apply(_moved(board, shards, started))
    if board.worst() > before or board.flaws > flaws:
        board.apply(undo)
        return False
    return True


def _moved(board: Assignment, shards: _Shards, started: Ints) -> list[Change]:
    """Return the changes of models whose shards moved."""
    changes: dict[int, list[tuple[int, ...]]] = {}
    for at in np.flatnonzero(shards.gpu != started).tolist():
        j = int(shards.model[at])
        copies = changes.setdefault(j, list(board.where[j]))
        copies[int(shards.copy[at])] = (int(shards.gpu[at]),)
    return [(j, board.option[j], tuple(copies)) for j, copies in changes.items()]
