"""Share out: shards that take room in two ways, exchanged so that GPUs hold less too much."""

import numpy as np

from kvplace.collector import paused_collector
from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.chance import seeded
from kvplace.solver.clock import Watch
from kvplace.solver.construct.excess import rooms
from kvplace.solver.construct.rematch import WHOLE, room_alone
from kvplace.solver.construct.share_kernel import KEPT, Shared, share_some

COMPILED = (share_some,)
"""What is called."""
STEPS = 256
"""Exchanges between two looks at the clock, and at what GPUs hold too much."""
IDLE, LESS = 4, 0.02
"""Such times in a row, after which it ends where the excess is not less by that part."""
SPARE = 8
"""Shards that a GPU may hold beside those that the fullest one has."""


def share_out(
    board: Assignment, target: float, watch: Watch, seed: int, fixed: frozenset[int] = frozenset()
) -> None:
    """Exchange shards so that GPUs hold less too much at a target, all of them together.

    A shard takes room of its GPU in two ways: with its load, and with the KV that must be left to
    it. Shards of models that are split, or that rules speak of, stay where they are.

    Parameters
    ----------
    board
        Changed in place; of one pressure. GPUs may hold more than their memory.
    target
        In load per byte, above 0 and finite.
    watch
        Ends it.
    seed
        Of what is drawn.
    fixed
        Other models that stay where they are.
    """
    row, shared = _shared(board, target, seed, fixed)
    if not len(row):
        return
    chance, idle, least, before = seeded(seed), 0, np.inf, np.inf
    best = shared.held.copy(), shared.many.copy()
    while True:
        over = shared.beyond + np.maximum(-(shared.room.T * (1.0, KEPT)).min(axis=1), 0.0)
        excess = float(over[over > WHOLE].sum())
        if excess < least:
            least, best = excess, (shared.held.copy(), shared.many.copy())
        idle += 1
        if excess < before * (1 - LESS):
            before, idle = excess, 0
        if excess <= 0 or idle > IDLE or watch.stop:
            break
        share_some(shared, STEPS, chance)
    _carry_out(board, row, *best)


@paused_collector()
def _shared(
    board: Assignment, target: float, seed: int, fixed: frozenset[int]
) -> tuple[Ints, Shared]:
    """Return (shards, 3) model, copy and GPU of the shards that may move, and where they are."""
    instance, columns = board.instance, board.instance.columns
    rows = [
        (j, at, option.row, g)
        for j in np.flatnonzero(instance.regions.free).tolist()
        if (option := board.option[j]) is not None and option.degree == 1 and j not in fixed
        if option.copies == 1 or not instance.is_uneven(j)
        for at, (g,) in enumerate(board.where[j])
    ]
    model, copy, row, gpu = np.array(rows, dtype=np.int64).reshape(len(rows), 4).T.copy()
    size = columns.size[row].astype(np.float64)
    taken = np.array([size + columns.loads[row, 0, 0] / target, size + columns.keep[row]])
    count = np.bincount(gpu, minlength=instance.g)
    held = np.full((instance.g, int(count.max(initial=0)) + SPARE), -1, dtype=np.int64)
    order = np.argsort(gpu, kind="stable")
    held[gpu[order], np.arange(len(order)) - (np.cumsum(count) - count)[gpu[order]]] = order
    alone, largest = room_alone(columns), taken.max(axis=0)
    larger = np.where(largest > alone[gpu], largest, 0.0)
    beyond = np.bincount(gpu, larger, instance.g).astype(np.float64)
    looked_at = np.random.default_rng(seed).permutation(instance.g)
    weight = np.ones(instance.g)
    room = rooms(board, target)
    shared = Shared(taken, model, alone, held, count, room, beyond, weight, looked_at)
    return np.column_stack([model, copy, gpu]), shared


@paused_collector()
def _carry_out(board: Assignment, row: Ints, held: Ints, count: Ints) -> None:
    """Move the shards that are on other GPUs now."""
    gpu, filled = np.empty(len(row), dtype=np.int64), np.arange(held.shape[1]) < count[:, None]
    gpu[held[filled]] = np.nonzero(filled)[0]
    changes: dict[int, list[tuple[int, ...]]] = {}
    for at in np.flatnonzero(gpu != row[:, 2]).tolist():
        j, copy = row[at, :2].tolist()
        changes.setdefault(j, list(board.where[j]))[copy] = (int(gpu[at]),)
    board.apply([(j, board.option[j], tuple(copies)) for j, copies in changes.items()])
