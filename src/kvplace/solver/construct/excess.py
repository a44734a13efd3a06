"""Excess: what GPUs hold above a target, all of them together, brought down.

Where a start is filled by sizes on levels, or models go where they are least too much, many GPUs
end a little above what they hold and as many a little below: shards are handed out anew. Where KV
must be left, each counts with the larger of its two sizes then, unless kernels exchange shards of
two sizes.
"""

import math
import random
import sys
from collections.abc import Callable

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import RULED, best_seat, seats_by
from kvplace.solver.construct.rematch import WHOLE, Rematch, room_alone
from kvplace.solver.instance.instance import Copies, Option

Sharing = Callable[[Assignment, float, Watch], object]
"""Exchanges shards of two sizes between many GPUs at a target."""

VALID = sys.float_info.max
"""A target at which memory alone counts."""

MOST = 100_000
"""Models above which none are packed."""
PINNED = 100.0
"""What a byte of excess that no exchange can lower, beside split shards alone, counts to one of a
shard as large as the largest GPU."""
MOVED = 3
"""Times that models make room for others that were placed anew, before shards are shared out."""
BESIDE = 0.05
"""Part of a GPU by which a model may be too large for what split ones leave: shards are exchanged
for that."""
FEW = 100
"""GPUs up to which all that is too much there is placed anew once shards were shared out."""
STARTS, SHAKEN = 24, 0.7
"""Orders in which models are packed by default, and the least factor on a size that sorts them."""


def lower_excess(
    board: Assignment, target: float, watch: Watch, sharing: Sharing | None = None
) -> float:
    """Hand shards out anew as long as that lowers the excess at a target.

    Parameters
    ----------
    board
        Changed in place; of one pressure. GPUs may hold more than their memory.
    target
        In load per byte, above 0 and finite.
    watch
        Ends it early.
    sharing
        Lowers it instead where shards have two sizes; None for nothing.

    Returns
    -------
    float
        Bytes that GPUs still hold too much, all of them together; ``inf`` where nothing is done.
    """
    if watch.stop:
        return math.inf
    if sharing is None or target == VALID:
        rematch = Rematch.of(board, target)
        rematch.run(watch)
        board.apply(rematch.changes(board))
    elif _excess(board, target):
        sharing(board, target, watch)
    return _excess(board, target)


def relieved(
    board: Assignment, target: float, watch: Watch, sharing: Sharing | None = None
) -> Assignment | None:
    """Return an assignment as near to a target as was found, made from one above it, or None.

    A model that is too large for its GPU is placed anew, in any of its options. So is the smallest
    of split ones that are too large for one GPU together. Other shards make room.

    Parameters
    ----------
    board
        Not changed; all models are placed. GPUs may hold more than their memory.
    target
        In load per byte, above 0 and finite; of one pressure.
    watch, sharing
        As of `lower_excess`.

    Returns
    -------
    Assignment or None
        GPUs may hold too much there. None where a model finds no place, or time is up.
    """
    found, options = board.copy(), board.instance.options
    for turn in range(2 * MOVED):
        hot = stuck(found, target, shared=turn == MOVED)
        found.apply([(j, None, ()) for j in hot])
        room = {j: min(option.taken(target) * option.shards for option in options[j]) for j in hot}
        for j in sorted(hot, key=lambda j: (-room[j], j)):
            if watch.stop or not crowd(found, j, target):
                return None
        last = turn % MOVED == MOVED - 1
        if last and lower_excess(found, target, watch, sharing) <= 0:
            break
    return found


def stuck(board: Assignment, target: float, *, shared: bool) -> set[int]:
    """Return models without a place, and those that no exchange of shards brings to a target.

    They are too large for their GPU, or much too large for what split ones leave of it; or split
    ones that larger ones leave no room for. Once shards were shared out, all that is too much is,
    where few GPUs hold too much.
    """
    found = {j for j, option in enumerate(board.option) if option is None}
    alone, over = room_alone(board.instance.columns), _over(rooms(board, target))
    hot = np.flatnonzero(over > WHOLE).tolist()
    for g in hot:
        first = second = whole = float(alone[g])
        split = 0
        held = [(board.chosen(j), j) for j in board.members[g]]
        for option, j in sorted(held, key=lambda h: (h[0].degree == 1, -h[0].taken(target), h[1])):
            loaded, kept = option.taken(target), option.size + option.keep
            beyond = max(loaded - first, kept - second)
            split += option.degree > 1
            if beyond <= 0:
                first, second = first - loaded, second - kept
            elif (
                option.degree > 1
                or max(loaded, kept) > whole
                or (shared and len(hot) <= FEW)
                or (split and beyond > BESIDE * whole)
            ):
                found.add(j)
    return found


def _excess(board: Assignment, target: float) -> float:
    """Return the bytes that GPUs hold too much, all of them together."""
    over = _over(rooms(board, target))
    return float(over[over > WHOLE].sum())


def packed(board: Assignment, seed: int, watch: Watch, orders: int = STARTS) -> Assignment | None:
    """Place the models that an assignment lacks, as far as memory alone is asked.

    They go where they are least too much, the largest first, and shards are handed out anew where
    GPUs hold more than their memory. Further orders are tried, with sizes changed at random.

    Parameters
    ----------
    board
        Not changed.
    seed
        Of the orders.
    watch
        Ends it early.
    orders
        How many orders are tried at most, of which the first is by size.

    Returns
    -------
    Assignment or None
        A valid one; None where none is found.
    """
    chance, options = random.Random(seed), board.instance.options  # noqa: S311 - a search, not a secret
    if board.instance.n > MOST:
        return None
    lacking = [j for j, copies in enumerate(board.where) if not copies]
    least = [min(option.size + option.keep for option in options[j]) for j in lacking]
    for start in range(orders):
        found = board.copy()
        sizes = [size * (chance.uniform(SHAKEN, 1) if start else 1) for size in least]
        order = sorted(range(len(lacking)), key=sizes.__getitem__, reverse=True)
        placed = all(not watch.stop and crowd(found, lacking[at], VALID) for at in order)
        if not placed:
            return None
        lower_excess(found, VALID, watch)
        if found.valid:
            return found
    return None


def crowd(board: Assignment, j: int, target: float) -> bool:
    """Place a model that has no place where its copies displace least, and the smallest shards.

    Exchanges move undivided shards only, so split ones go where other split ones leave room. As far
    as memory alone is asked, an undivided one goes where it adds least excess.

    Returns
    -------
    bool
        Whether it was placed; not where rules forbid it, or GPUs are too few.
    """
    instance = board.instance
    if instance.pressures > 1 and target < VALID:
        return False
    left = rooms(board, target)
    before = _over(left)
    split = any(o.degree > 1 for o in instance.options[j])
    movable = _Movable(board, target) if split or target < VALID else None
    alone = room_alone(board.instance.columns)
    best: tuple[float, Option, Copies] | None = None
    for option in instance.options[j]:
        size = np.array([[option.size + option.load / target], [option.size + option.keep]])
        added = _over(left - size)
        added = added - before if movable is None else movable.displaced(added)
        added[~instance.columns.allowed[j] | (size.max() > alone)] = math.inf
        # What fits anywhere leaves more room elsewhere the fewer copies there are.
        cost = 0.0
        while len(board.where[j]) < option.copies:
            seat = best_seat(board, j, seats_by(board, option, added, RULED))
            if seat is None:
                cost = math.inf
                break
            board.apply([(j, option, (*board.where[j], seat))])
            cost += float(added[list(seat)].sum())
            added[list(seat)] = math.inf
        if cost < math.inf and (best is None or cost < best[0]):
            best = cost, option, board.where[j]
        board.apply([(j, None, ())])
    if best is None:
        return False
    board.apply([(j, best[1], best[2])])
    return True


class _Movable:
    """The undivided shards of each GPU, the smallest first.

    Parameters
    ----------
    board
        The assignment.
    target
        In load per byte, above 0.
    """

    def __init__(self, board: Assignment, target: float) -> None:
        rows = [
            (g, option.taken(target))
            for copies, option in zip(board.where, board.option, strict=True)
            if option is not None and option.degree == 1
            for (g,) in copies
        ]  # fmt: skip
        table = np.array(rows, dtype=np.float64).reshape(-1, 2)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        self._gpu: Ints = table[:, 0].astype(np.int64)
        self._size = table[:, 1]
        self._all = np.bincount(self._gpu, self._size, board.instance.g)
        first = np.searchsorted(self._gpu, np.arange(board.instance.g))
        taken = np.append(0.0, np.cumsum(self._size))
        self._before: Floats = taken[:-1] - taken[first[self._gpu]]
        # What few GPUs hold counts the more, as it finds no place elsewhere.
        memory = np.sort(board.instance.columns.memory)
        hold = len(memory) - np.searchsorted(memory, self._size)
        self._dear: Floats = self._size / memory[-1] * len(memory) / np.maximum(hold, 1)

    def displaced(self, excess: Floats) -> Floats:
        """Return (g,) what excess counts: each byte as much as the shard that it displaces."""
        part = np.clip(excess[self._gpu] - self._before, 0.0, self._size)
        count = np.bincount(self._gpu, part * self._dear, len(excess))
        found: Floats = count + PINNED * np.maximum(excess - self._all, 0.0)
        return found


def rooms(board: Assignment, target: float) -> Floats:
    """Return (2, g) bytes that GPUs have left: at a target, and beside the KV that must be left."""
    arrays, memory = board.arrays, board.instance.columns.memory
    beside = arrays.load[0] / target
    return np.array([arrays.free - memory * 1e-12 - 1.0 - beside, arrays.free - arrays.kept])


def _over(rooms: Floats) -> Floats:
    """Return bytes that are too much, of some GPUs."""
    found: Floats = np.maximum(-np.minimum(rooms[0], rooms[1]), 0.0)
    return found
