"""Kernel: pairs of GPUs share out what they hold anew, under several pressures.

Under several pressures two GPUs seldom both come below a target at once, and a search that asks for
it stands still while most GPUs are a little above. So what counts is the sum over both GPUs and all
pressures of the squared excess over a target, and of all ways to share out some models of a pair
the one that exceeds the least is taken.

Few pairs have a better way than the present one. So all ways are looked at by the scarcest
pressures alone, as sums over either half of the models. Hardly one way in a hundred is left, and
is added up under all pressures. Sums are of single precision: they choose, and no more.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import MIX, Bits, drawn
from kvplace.solver.improve.pair_kernel import carry_out, pressure_of
from kvplace.solver.improve.pair_ways import (
    MOVABLE,
    Ways,
    change_of,
    draw_ways,
    exceeds,
    room_for_ways,
    takes,
)
from kvplace.solver.kernels import kernel

__all__ = ["Aim", "lower_excess"]

SCARCE, HALF = 3, 1 << (MOVABLE + 1) // 2
"""Pressures by which all ways are looked at; and ways to share out half of the models, at most."""
LESS = 1 - 1e-5
"""Part of the excess of now that a better way must be below; rounding adds less."""

Floats32 = NDArray[np.float32]


class Aim(NamedTuple):
    """What pairs are to lower.

    Parameters
    ----------
    weights
        (g,) how much the excess of each GPU counts.
    target, above
        Pressure above which excess counts, and above which GPUs look for others, at least as much.
    by_room
        What a byte counts: memory counts in parts of the room of a mean GPU, time of the target.
    tries
        Others that each GPU above the target is paired with.
    seed
        Of what is drawn, with the number of the block.
    fresh
        Whether what models take is not filled in for this target.
    taken, over
        Room for (n, load types, pressures) what models take, and (g, pressures) what GPUs exceed
        the target by.
    """

    weights: Floats
    target: float
    above: float
    by_room: float
    tries: int
    seed: int
    fresh: bool
    taken: Floats32
    over: Floats32


@kernel
def lower_excess(packing: Packing, order: Ints, block: int, aim: Aim, first: int, end: int) -> int:
    """Let GPUs share out anew with others of their blocks; return how often models moved.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block
        GPUs of a block at most.
    aim
        What is lowered, and how.
    first, end
        Blocks to do.
    """
    g, done = len(order), 0
    blocks = -(-g // block)
    ways, chance = room_for_ways(packing, np.empty(0, np.float32)), np.empty(1, np.uint64)
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        chance[0] = np.uint64(2 * (aim.seed * blocks + at) + 1) * np.uint64(MIX)
        _measure(packing, gpus, aim)
        for one in gpus:
            for _ in range(aim.tries if len(gpus) > 1 else 0):
                if pressure_of(packing, one) <= aim.above:
                    break
                other = gpus[drawn(chance, len(gpus))]
                if other != one:
                    done += _share_out(packing, one, other, aim, chance, ways)
    return done


@kernel
def _measure(packing: Packing, gpus: Ints, aim: Aim) -> None:
    """Fill in what the models of some GPUs take, and what these exceed the target by."""
    by_time = 1 / aim.target
    for g in gpus:
        exceeds(packing, g, by_time, aim.by_room, aim.over[g])
        held = packing.models[g] if aim.fresh else 0
        for slot in range(packing.start[g], packing.start[g] + held):
            for kind in range(packing.table.shape[1]):
                taken = aim.taken[packing.item[slot], kind]
                takes(packing, slot, kind, by_time, aim.by_room, taken)


@kernel
def _share_out(packing: Packing, g: int, h: int, aim: Aim, chance: Bits, ways: Ways) -> int:
    """Share out some models of two GPUs in the best way; return 1 where models moved."""
    mine, movable = draw_ways(packing, g, h, chance, ways)
    for gpu, taken in ((g, ways.ours), (h, ways.theirs)):
        for i in range(movable):
            row = aim.taken[packing.item[ways.slots[i]], packing.type_of[gpu]]
            for d in range(len(row)):
                taken[i, d] = row[d]
        for d in range(taken.shape[1]):
            taken[MOVABLE, d] = aim.over[gpu, d]
    heavy, light = np.float32(aim.weights[g]), np.float32(aim.weights[h])
    best, way = np.float32(LESS) * _excess(aim.over[g], aim.over[h], heavy, light), -1
    for at in range(_likely(mine, movable, heavy, light, best, ways)):
        excess = _excess_of(ways.left[at], mine, movable, heavy, light, ways)
        if excess < best:
            best, way = excess, ways.left[at]
    if way < 0:
        return 0
    out, back = change_of(way, mine, movable, ways)
    done = carry_out(packing, g, h, out, back)
    for gpu in (g, h):
        exceeds(packing, gpu, 1 / aim.target, aim.by_room, aim.over[gpu])
    return done


@kernel
def _excess(here: Floats32, there: Floats32, heavy: np.float32, light: np.float32) -> np.float32:
    """Return the weighted squares of what two GPUs exceed, over all pressures."""
    total, zero = np.float32(0), np.float32(0)
    for d in range(len(here)):
        x, y = max(here[d], zero), max(there[d], zero)
        total += heavy * x * x + light * y * y
    return total


@kernel
def _excess_of(
    way: int, mine: int, movable: int, heavy: np.float32, light: np.float32, ways: Ways
) -> np.float32:
    """Return what a way exceeds under all pressures."""
    width = ways.ours.shape[1]
    here, there = ways.here[:width], ways.there[:width]
    here[:], there[:] = ways.ours[MOVABLE], ways.theirs[MOVABLE]
    for i in range(movable):
        more = np.float32((way >> i & 1) - (i < mine))  # what the one GPU gains of it
        for d in range(width if more else 0):
            here[d] += more * ways.ours[i, d]
            there[d] -= more * ways.theirs[i, d]
    return _excess(here, there, heavy, light)


@kernel
def _likely(
    mine: int, movable: int, heavy: np.float32, light: np.float32, most: np.float32, ways: Ways
) -> int:
    """Fill in the ways that exceed less by the scarcest pressures; return how many.

    The bits of a way are the models that the one GPU holds.
    """
    low, some, zero = movable - movable // 2, 0, np.float32(0)
    shared, sums = ways.shared, ways.excess
    # What the one GPU, then the other, exceeds with some of the first models, and takes of others.
    near = ways.here[: 2 * SCARCE * HALF].reshape((2 * SCARCE, HALF))
    far = ways.there[: 2 * SCARCE * HALF].reshape((2 * SCARCE, HALF))
    near[:], far[:] = -np.inf, 0
    for d in range(len(shared)):
        shared[d] = ways.ours[MOVABLE, d] + ways.theirs[MOVABLE, d]
    for k in range(min(SCARCE, len(shared))):
        d = int(shared.argmax())
        shared[d] = -np.inf
        near[k, 0], near[SCARCE + k, 0] = ways.ours[MOVABLE, d], ways.theirs[MOVABLE, d]
        for i in range(mine):
            near[k, 0] -= ways.ours[i, d]
            near[SCARCE + k, 0] += ways.theirs[i, d]
        for i in range(movable):
            half, table = (1 << i, near) if i < low else (1 << i - low, far)
            _double(table[k], half, ways.ours[i, d])
            _double(table[SCARCE + k], half, -ways.theirs[i, d])
    a, b, c, d, e, f = near[0], near[1], near[2], near[3], near[4], near[5]
    for at in range(1 << (movable - low)):
        u, v, w, x, y, z = far[0, at], far[1, at], far[2, at], far[3, at], far[4, at], far[5, at]
        found = np.int32(0)
        for i in range(1 << low):  # compiled to a few steps for all
            r, s, t = max(a[i] + u, zero), max(b[i] + v, zero), max(c[i] + w, zero)
            o, p, q = max(d[i] + x, zero), max(e[i] + y, zero), max(f[i] + z, zero)
            sums[i] = heavy * (r * r + s * s + t * t) + light * (o * o + p * p + q * q)
            found += np.int32(sums[i] < most)
        for i in range(1 << low if found else 0):
            ways.left[some] = (at << low) + i
            some += sums[i] < most
    return some


@kernel
def _double(sums: Floats32, half: int, more: float) -> None:
    """Fill in the sums with one model more behind those without."""
    for at in range(half):
        sums[half + at] = sums[at] + more
