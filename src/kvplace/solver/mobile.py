"""Mobile: the models of a cluster that may go anywhere, improved by the compiled pair exchanges.

What is split, copied or ruled stays where it is meanwhile, as memory taken and load carried.
"""

import numpy as np

from kvplace.solver.board import Board, Change
from kvplace.solver.compiled import Crew
from kvplace.solver.scale.improve import Improver
from kvplace.solver.scale.numbers import Numbers
from kvplace.solver.scale.packing import pack_rows
from kvplace.solver.sets import Floats, Ints
from kvplace.solver.watch import Watch

__all__ = ["improve_mobile"]


def improve_mobile(board: Board, bound: float, effort: float, seed: int, watch: Watch) -> int:
    """Exchange mobile models between hot and cold GPUs; return the exchanges made.

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
    """
    cluster = board.cluster
    mobile = [j for j in range(cluster.n) if _mobile(board, j)]
    if not mobile or not board.valid:
        return 0
    gpu_of = np.array([board.where[j][0][0] for j in mobile])
    needs = [(o.size, o.keep, o.load) for o in (board.option[j] for j in mobile) if o is not None]
    size = np.array([need[0] for need in needs], dtype=np.int64)
    keep = np.array([need[1] for need in needs], dtype=np.int64)
    load = np.array([need[2] for need in needs])
    weights = np.zeros(cluster.g, dtype=np.int64)
    np.add.at(weights, gpu_of, size)
    free = board.free.astype(np.int64)
    kept: Ints = board.kept.astype(np.int64)
    np.subtract.at(kept, gpu_of, keep)
    base: Floats = np.zeros(cluster.g)
    fixed = set(range(cluster.n)).difference(mobile)
    for j in fixed:
        for copy in board.where[j]:
            for g in copy:
                base[g] += board.shard_load(j, g)
    numbers = Numbers(size, keep, load, free + weights, np.array(mobile), np.arange(cluster.g))
    packing = pack_rows(numbers, gpu_of, base, kept)
    crew = Crew()
    try:
        improver = Improver(packing, bound, seed, crew, watch)
        improver.relieve(bound, effort, effort)
    finally:
        crew.close()
    moved = packing.gpu_of(numbers.n)
    changes: list[Change] = [
        (j, board.option[j], ((int(g),),))
        for j, g, was in zip(mobile, moved.tolist(), gpu_of.tolist(), strict=True)
        if g != was
    ]
    before = board.worst()
    undo, _ = board.apply(changes)
    if board.worst() > before:
        board.apply(undo)
        return 0
    return improver.exchanges


def _mobile(board: Board, j: int) -> bool:
    """Whether a model is one shard that may go to any GPU."""
    option = board.option[j]
    if option is None or option.shards != 1 or not board.costs.free(j):
        return False
    return bool(board.cluster.everywhere[id(board.cluster.allowed[j])])
