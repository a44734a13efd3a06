"""Kernels: which exchange between two GPUs is best under several pressures.

What two GPUs have together is a vector then, and no order of the subsets leads to the best pair.
The subsets of up to three models of one GPU are columns, so that one subset of the other is
compared with all of them at once, pressure by pressure, and left as soon as none can do better.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_search import left_enough
from kvplace.solver.kernels import kernel

__all__ = [
    "TrialScratch",
    "least_pressure",
    "rank_shared",
    "trial_scratch",
]

SUBSETS = 64
"""Subsets of one GPU that are looked at: all of up to three of seven models, or two of ten."""
ABREAST = 2
"""Pressures that are looked at before subsets that are too much are left."""


class _Side(NamedTuple):
    """The subsets of one GPU of a pair, the empty one first.

    Parameters
    ----------
    slots
        (subsets, 3) of the models, the last first, -1 for none.
    taken
        (subsets, 2) their bytes, and the KV bytes that they must be left.
    one, rest
        (subsets,) those of several models: a subset of one, and that of the others.
    bytes_
        (subsets,) their bytes, rounded.
    left, given
        (pressures, subsets) loads of their GPU without them, and their loads on the other.
    """

    slots: Ints
    taken: Ints
    one: Ints
    rest: Ints
    bytes_: Floats
    left: Floats
    given: Floats


class TrialScratch(NamedTuple):
    """Room for the subsets of either side, and for what exchanges come to.

    Parameters
    ----------
    ours, theirs
        The subsets.
    sums, here, there
        (subsets,) what exchanges come to, and parts of the target that a unit of load makes.
    shared
        (pressures,) of each of two GPUs if they shared all that they hold.
    limits
        (pressures,) in the order in which they are looked at: the largest of `shared` first, so
        that what is too much shows after a few of them.
    """

    ours: _Side
    theirs: _Side
    sums: Floats
    here: Floats
    there: Floats
    shared: Floats
    limits: Ints


@kernel
def trial_scratch(pressures: int) -> TrialScratch:
    """Return room for subsets under so many pressures."""
    return TrialScratch(
        _side(pressures), _side(pressures),
        np.empty(SUBSETS), np.empty(SUBSETS), np.empty(SUBSETS),
        np.empty(pressures), np.arange(pressures),
    )  # fmt: skip


@kernel
def _side(pressures: int) -> _Side:
    """Return room for the subsets of a GPU."""
    return _Side(
        np.empty((SUBSETS, 3), np.int64),
        np.empty((SUBSETS, 2), np.int64),
        np.empty(SUBSETS, np.int64),
        np.empty(SUBSETS, np.int64),
        np.empty(SUBSETS),
        np.empty((pressures, SUBSETS)),
        np.empty((pressures, SUBSETS)),
    )


@kernel
def least_pressure(
    packing: Packing,
    g: int,
    h: int,
    goal: float,
    turn: int,
    scratch: TrialScratch,
    out: Ints,
    back: Ints,
) -> bool:
    """Find the exchange of two GPUs after which the larger pressure is least.

    Parameters are those of `nearest`, under any number of pressures, with the scratch of
    `trial_scratch`.
    """
    rank_shared(packing, g, h, scratch.shared, scratch.limits)
    common = scratch.shared[scratch.limits[0]]
    mine = _fill(packing, g, packing.type_of[h], turn, scratch.ours)
    many = _fill(packing, h, packing.type_of[g], turn, scratch.theirs)
    most = goal / common - 1
    one, two = _least(packing, g, h, mine, many, common, most, scratch)
    if one < 0:
        return False
    out[:], back[:] = scratch.ours.slots[one], scratch.theirs.slots[two]
    return True


@kernel
def rank_shared(packing: Packing, g: int, h: int, shared: Floats, limits: Ints) -> None:
    """Fill in the pressures of two GPUs that share all they hold, and the order of these."""
    free, loads, kv = packing.free, packing.loads, packing.kv
    for d in range(len(shared)):
        room = float(free[g] + free[h]) if d < kv else 2.0
        shared[d] = (loads[g, d] + loads[h, d]) / room
    for i in range(1, len(limits)):  # few change from one pair to the next
        own, at = limits[i], i
        while at > 0 and shared[limits[at - 1]] < shared[own]:
            limits[at] = limits[at - 1]
            at -= 1
        limits[at] = own


@kernel
def _fill(packing: Packing, g: int, kind: int, turn: int, side: _Side) -> int:
    """Fill in subsets of models of a GPU; return how many.

    Parameters
    ----------
    packing, g
        What the GPU holds.
    kind
        Load type of the other GPU.
    turn
        Where subsets start that do not all fit.
    side
        Filled in.
    """
    slots, taken, one, rest, bytes_, left, given = side
    held, own = packing.models[g], packing.type_of[g]
    some = min(held, SUBSETS - 1)
    deep = 1 + some + some * (some - 1) // 2 + some * (some - 1) * (some - 2) // 6 <= SUBSETS
    slots[: some + 1], taken[0] = -1, 0
    for i in range(1, some + 1):
        slot = packing.start[g] + (i - 1 + (0 if deep else turn)) % held
        slots[i, 0] = slot
        taken[i, 0], taken[i, 1] = packing.size[slot], packing.keep[slot]
    count: int = 1 + some
    for i in range(2, some + 1):
        for j in range(1, i):
            if count < SUBSETS:
                one[count], rest[count] = i, j
                count += 1
    for at in range(1 + some, count if deep else 0):
        for i in range(one[at] + 1, some + 1):
            one[count], rest[count] = i, at
            count += 1
    for c in range(1 + some, count):
        a, b = slots[one[c], 0], slots[rest[c], 0]
        slots[c, 0], slots[c, 1], slots[c, 2] = max(a, b), min(a, b), slots[rest[c], 1]
        taken[c] = taken[one[c]] + taken[rest[c]]
    for c in range(count):
        bytes_[c] = taken[c, 0]
    for d in range(packing.loads.shape[1]):
        gives, keeps = given[d], left[d]
        gives[0], keeps[0] = 0.0, packing.loads[g, d]
        for i in range(1, some + 1):
            loads = packing.table[packing.item[slots[i, 0]]]
            gives[i], keeps[i] = loads[kind, d], packing.loads[g, d] - loads[own, d]
        for c in range(1 + some, count):
            gives[c] = gives[one[c]] + gives[rest[c]]
            keeps[c] = keeps[one[c]] + keeps[rest[c]] - keeps[0]
    return count


@kernel
def _least(
    packing: Packing,
    g: int,
    h: int,
    mine: int,
    many: int,
    target: float,
    most: float,
    scratch: TrialScratch,
) -> tuple[int, int]:
    """Return the subsets whose exchange leaves the hotter of two GPUs least above a target, or -1.

    Parameters
    ----------
    packing, g, h
        The GPUs.
    mine, many
        Subsets of the one and the other, filled in.
    target
        Pressure; what is above is counted in parts of it.
    most
        It must be below this.
    scratch
        Holds the subsets.
    """
    ours, theirs, sums, here, there, _, limits = scratch
    best, one, two = most, -1, -1
    by_time, lowest = 1 / target, -1.0
    free_g, free_h = float(packing.free[g]), float(packing.free[h])
    width = len(limits)
    for a in range(mine):
        more_g, more_h = free_g + ours.bytes_[a], free_h - ours.bytes_[a]
        for b in range(many):  # what does not fit is found out below
            sums[b] = lowest
            here[b] = by_time / max(more_g - theirs.bytes_[b], 1.0)
            there[b] = by_time / max(more_h + theirs.bytes_[b], 1.0)
        at, below = 0, many
        while at < width and below > 0:
            until = min(at + ABREAST, width)
            for row in limits[at:until]:
                left, given = ours.left[row, a], ours.given[row, a]
                lefts, givens = theirs.left[row], theirs.given[row]
                in_memory = row < packing.kv
                for b in range(many):
                    x = (left + givens[b]) * (here[b] if in_memory else by_time) - 1.0
                    y = (lefts[b] + given) * (there[b] if in_memory else by_time) - 1.0
                    sums[b] = max(sums[b], x, y)
            at, below = until, 0
            for b in range(many):
                below += sums[b] < best
        for b in range(many if below > 0 else 0):
            if sums[b] < best:
                moved = ours.taken[a, 0] - theirs.taken[b, 0]
                more = ours.taken[a, 1] - theirs.taken[b, 1]
                fits = left_enough(packing, g, moved, more)
                if fits and left_enough(packing, h, -moved, -more):
                    best, one, two = sums[b], a, b
        if best <= lowest:
            break
    return one, two
