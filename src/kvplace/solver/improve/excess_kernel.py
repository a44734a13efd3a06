"""Kernel: exchanges that lower what GPUs exceed a target by, under several pressures.

Under several pressures two GPUs seldom both come below a target at once, and a search that asks for
it stands still while most GPUs are a little above. So what counts is the sum over both GPUs and all
pressures of the squared excess: an exchange is made where that falls, even if both stay above. What
a GPU exceeds can be given a weight, which grows while nothing lowers it, as in guided local search
(Voudouris and Tsang, European Journal of Operational Research 113, 1999).

The subsets of one GPU are columns, so that one subset of the other is compared with all of them at
once, pressure by pressure, and left as soon as none can do better.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_kernel import carry_out, pressure_of
from kvplace.solver.improve.pair_search import left_enough
from kvplace.solver.kernels import kernel

__all__ = ["Aim", "even_out"]

SUBSETS = 64
"""Subsets of one GPU that are looked at: all of up to two of ten models."""
ABREAST = 8
"""Pressures that are added up before subsets that are too much are left."""
WORTH = 0.1
"""Part of a GPU's excess that a pair could take away if it shared all, else it is not tried."""
GAIN = 0.02
"""Part of a GPU's excess that an exchange must take away."""


class Aim(NamedTuple):
    """What exchanges are to lower.

    Parameters
    ----------
    limits
        Pressures, in the order in which they are added up.
    weights
        (g,) how much the excess of each GPU counts.
    target
        Pressure above which excess counts.
    above
        Pressure above which GPUs look for others to exchange with, at least the target.
    turn
        Number of the call; the subsets looked at depend on it where not all are.
    tried
        (blocks,) filled in with how many pairs were looked at in each block.
    """

    limits: Ints
    weights: Floats
    target: float
    above: float
    turn: int
    tried: Ints


class Side(NamedTuple):
    """The subsets of one GPU of a pair, the empty one first.

    Parameters
    ----------
    slots
        (subsets, 2) of the models, the last first, -1 for none.
    taken
        (subsets, 2) their bytes, and the KV bytes that they must be left.
    bytes_
        (subsets,) their bytes, rounded.
    left, given
        (pressures, subsets) loads of their GPU without them, and their loads on the other.
    """

    slots: Ints
    taken: Ints
    bytes_: Floats
    left: Floats
    given: Floats


class Scratch(NamedTuple):
    """Room for the subsets of either side, and for what exchanges come to on either GPU."""

    ours: Side
    theirs: Side
    sums: Floats
    here: Floats
    there: Floats


@kernel
def even_out(packing: Packing, order: Ints, block: int, aim: Aim, first: int, end: int) -> int:
    """Exchange between GPUs within blocks while that lowers excess; return how often.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block
        GPUs of a block at most.
    aim
        What is lowered.
    first, end
        Blocks to do.
    """
    g, done = len(order), 0
    blocks = -(-g // block)
    width = len(aim.limits)
    scratch = Scratch(
        _side(width), _side(width),
        np.empty(SUBSETS, np.float32), np.empty(SUBSETS, np.float32), np.empty(SUBSETS, np.float32),
    )  # fmt: skip
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        excess = np.empty(len(gpus))
        aim.tried[at] = 0
        for b in range(len(gpus)):
            excess[b] = _excess(packing, gpus[b], aim)
        for b in np.argsort(-excess):
            done += _relieve(packing, gpus, b, at, aim, excess, scratch)
    return done


@kernel
def _side(width: int) -> Side:
    """Return room for the subsets of a GPU."""
    return Side(
        np.empty((SUBSETS, 2), np.int64),
        np.empty((SUBSETS, 2), np.int64),
        np.empty(SUBSETS, np.float32),
        np.empty((width, SUBSETS), np.float32),
        np.empty((width, SUBSETS), np.float32),
    )


@kernel
def _excess(packing: Packing, g: int, aim: Aim) -> float:
    """Return the weighted sum of squares by which a GPU exceeds the target."""
    total, in_memory = 0.0, 1 / (aim.target * packing.free[g])
    for d in range(packing.loads.shape[1]):
        part = in_memory if d < packing.kv else 1 / aim.target
        total += max(packing.loads[g, d] * part - 1, 0.0) ** 2
    return float(total * aim.weights[g])


@kernel
def _shared(packing: Packing, g: int, h: int, aim: Aim) -> float:
    """Return the weighted sum of squares of two GPUs that share what they hold as is best."""
    total, in_memory = 0.0, 2 / (aim.target * (packing.free[g] + packing.free[h]))
    for d in range(packing.loads.shape[1]):
        part = in_memory if d < packing.kv else 1 / aim.target
        total += max((packing.loads[g, d] + packing.loads[h, d]) * part - 2, 0.0) ** 2
    heavy, light = aim.weights[g], aim.weights[h]
    return float(total * heavy * light / (heavy + light))


@kernel
def _relieve(
    packing: Packing, gpus: Ints, b: int, at: int, aim: Aim, excess: Floats, scratch: Scratch
) -> int:
    """Exchange between one GPU of a block and the others until it is below; return how often."""
    g, done, filled, mine = gpus[b], 0, -1, 0
    ours, theirs = scratch.ours, scratch.theirs
    out, back = np.empty(2, np.int64), np.empty(2, np.int64)
    for step in range(1, len(gpus)):
        if excess[b] <= 0 or pressure_of(packing, g) <= aim.above:
            break
        other = (b + step) % len(gpus)
        h, most = gpus[other], excess[b] + excess[other]
        if most - _shared(packing, g, h, aim) < WORTH * excess[b]:
            continue
        aim.tried[at] += 1
        if filled != packing.type_of[h]:
            filled = packing.type_of[h]
            mine = _fill(packing, g, filled, aim, ours)
        many = _fill(packing, h, packing.type_of[g], aim, theirs)
        most -= GAIN * excess[b]
        one, two = _least(packing, g, h, mine, many, aim, most, scratch)
        if one < 0:
            continue
        out[:], back[:] = ours.slots[one], theirs.slots[two]
        if carry_out(packing, g, h, out, back) == 0:
            continue
        excess[b], excess[other] = _excess(packing, g, aim), _excess(packing, h, aim)
        done, filled = done + 1, -1
    return done


@kernel
def _fill(packing: Packing, g: int, kind: int, aim: Aim, side: Side) -> int:
    """Fill in subsets of up to two models of a GPU; return how many."""
    slots, taken, bytes_, left, given = side
    held, own = packing.models[g], packing.type_of[g]
    some = min(held, SUBSETS - 1)
    slots[0], taken[0] = -1, 0
    for i in range(some):
        slot = packing.start[g] + (i + aim.turn) % held
        slots[i + 1, 0], slots[i + 1, 1] = slot, -1
        taken[i + 1, 0], taken[i + 1, 1] = packing.size[slot], packing.keep[slot]
    count: int = 1 + some
    for i in range(2, some + 1):
        for j in range(1, i):
            if count < SUBSETS:
                slots[count, 0] = max(slots[i, 0], slots[j, 0])
                slots[count, 1] = min(slots[i, 0], slots[j, 0])
                taken[count] = taken[i] + taken[j]
                count += 1
    for c in range(count):
        bytes_[c] = taken[c, 0]
    for at in range(len(aim.limits)):
        d, gives, keeps = aim.limits[at], given[at], left[at]
        gives[0], keeps[0] = 0.0, packing.loads[g, d]
        for i in range(1, some + 1):
            loads = packing.table[packing.item[slots[i, 0]]]
            gives[i], keeps[i] = loads[kind, d], packing.loads[g, d] - loads[own, d]
        c = 1 + some
        for i in range(2, some + 1):
            for j in range(1, i):
                if c < count:
                    gives[c], keeps[c] = gives[i] + gives[j], keeps[i] + keeps[j] - keeps[0]
                    c += 1
    return count


@kernel
def _least(
    packing: Packing,
    g: int,
    h: int,
    mine: int,
    many: int,
    aim: Aim,
    most: float,
    scratch: Scratch,
) -> tuple[int, int]:
    """Return the subsets whose exchange leaves the least sum of squares below a limit, or -1."""
    ours, theirs, sums, here, there = scratch
    best, one, two = np.float32(most), -1, -1
    none, full, by_time = np.float32(0), np.float32(1), np.float32(1 / aim.target)
    heavy, light = np.float32(aim.weights[g]), np.float32(aim.weights[h])
    free_g, free_h = np.float32(packing.free[g]), np.float32(packing.free[h])
    width = len(aim.limits)
    for a in range(mine):
        more_g, more_h = free_g + ours.bytes_[a], free_h - ours.bytes_[a]
        for b in range(many):  # what does not fit is found out below
            sums[b] = none
            here[b] = by_time / max(more_g - theirs.bytes_[b], full)
            there[b] = by_time / max(more_h + theirs.bytes_[b], full)
        at, below = 0, many
        while at < width and below > 0:
            until = min(at + ABREAST, width)
            for row in range(at, until):
                left, given = ours.left[row, a], ours.given[row, a]
                lefts, givens = theirs.left[row], theirs.given[row]
                if aim.limits[row] < packing.kv:
                    for b in range(many):
                        x = max((left + givens[b]) * here[b] - full, none)
                        y = max((lefts[b] + given) * there[b] - full, none)
                        sums[b] += heavy * x * x + light * y * y
                else:
                    for b in range(many):
                        x = max((left + givens[b]) * by_time - full, none)
                        y = max((lefts[b] + given) * by_time - full, none)
                        sums[b] += heavy * x * x + light * y * y
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
        if best <= 0:
            break
    return one, two
