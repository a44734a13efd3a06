"""Kernel: pairs of GPUs share out what they hold anew, under several pressures, as in annealing.

Under several pressures two GPUs seldom both come below a target at once, and a search that asks for
it stands still while most GPUs are a little above. So what counts is the sum over both GPUs and all
pressures of the squared excess over a target. Of all ways to share out some models of a pair, one
is drawn that exceeds the least, or little more where the temperature allows it (heat bath; Geman
and Geman, IEEE Transactions on Pattern Analysis and Machine Intelligence 6, 1984).

All ways are looked at side by side, pressure by pressure, the scarcest first: what a GPU holds of
so many models is what it holds without the last, with and without that. Most pairs show after a few
pressures that no other way comes near. Sums are of single precision: they choose, and no more.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import MIX, Bits, drawn
from kvplace.solver.improve.pair_kernel import carry_out, pressure_of
from kvplace.solver.improve.pair_trial import rank_shared
from kvplace.solver.kernels import kernel

__all__ = ["Heat", "anneal"]

MOVABLE = 9
"""Models of a pair that may change sides at once: all but one of ten."""
WAYS = 1 << MOVABLE
"""Ways to share them out."""
LUCKS = 1 << 12
"""Random numbers that chance picks among."""
ABREAST = 4
"""Pressures that are added up between two looks at whether any way is left."""
REACH, SLACK = 8.0, 1e-5
"""Excess above what it is now, in temperatures, that no way reaches; and what rounding may add."""


Floats32 = NDArray[np.float32]


class Heat(NamedTuple):
    """What pairs are to lower, and how far it may rise.

    Parameters
    ----------
    weights
        (g,) how much the excess of each GPU counts.
    target, above
        Pressure above which excess counts, and above which GPUs look for others, at least as much.
    temperature
        How much of excess, as a square of parts of the target, is given for chance.
    tries
        Others that each GPU above the target is paired with.
    seed
        Of what is drawn, with the number of the block.
    """

    weights: Floats
    target: float
    above: float
    temperature: float
    tries: int
    seed: int


class _Scratch(NamedTuple):
    """Room for all ways to share out some models of two GPUs.

    Parameters
    ----------
    shared, limits
        (pressures,) what both share, and the order in which pressures are looked at.
    here, there
        (ways,) what the one and the other GPU exceed the target by.
    excess
        (ways,) sum of the squares so far.
    slots
        (MOVABLE,) those that may change sides, of the one GPU first.
    ours, theirs
        (MOVABLE + 1, pressures) what each takes of either GPU; the last, what that exceeds now.
    held
        (slots of a row,) those of a GPU, while some are drawn.
    luck
        (LUCKS,) random numbers.
    """

    shared: Floats
    limits: Ints
    here: Floats32
    there: Floats32
    excess: Floats32
    slots: Ints
    ours: Floats32
    theirs: Floats32
    held: Ints
    luck: Floats32


@kernel
def anneal(packing: Packing, order: Ints, block: int, heat: Heat, first: int, end: int) -> int:
    """Let GPUs share out anew with others of their blocks; return how often models moved.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block
        GPUs of a block at most.
    heat
        What is lowered, and how.
    first, end
        Blocks to do.
    """
    g, width, done = len(order), packing.loads.shape[1], 0
    blocks = -(-g // block)
    scratch = _Scratch(
        np.empty(width), np.arange(width),
        np.empty(WAYS, np.float32), np.empty(WAYS, np.float32), np.empty(WAYS, np.float32),
        np.empty(MOVABLE, np.int64),
        np.empty((MOVABLE + 1, width), np.float32), np.empty((MOVABLE + 1, width), np.float32),
        np.empty(np.diff(packing.start).max(), np.int64),
        _luck(),
    )  # fmt: skip
    chance = np.empty(1, np.uint64)
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        chance[0] = np.uint64(2 * (heat.seed * blocks + at) + 1) * np.uint64(MIX)
        for one in gpus:
            for _ in range(heat.tries if len(gpus) > 1 else 0):
                if pressure_of(packing, one) <= heat.above:
                    break
                other = gpus[drawn(chance, len(gpus))]
                if other != one:
                    done += _share_out(packing, one, other, heat, chance, scratch)
    return done


@kernel
def _luck() -> Floats32:
    """Return numbers of the Gumbel distribution: the most of what they are added to is drawn."""
    luck = np.empty(LUCKS, np.float32)
    for at in range(LUCKS):
        luck[at] = -np.log(-np.log((at + 0.5) / LUCKS))
    return luck


@kernel
def _share_out(
    packing: Packing, g: int, h: int, heat: Heat, chance: Bits, scratch: _Scratch
) -> int:
    """Draw a way for two GPUs to share out some models; return 1 where models moved."""
    ours, theirs = packing.models[g], packing.models[h]
    alike = packing.type_of[g] == packing.type_of[h] and packing.memory[g] == packing.memory[h]
    stays = 1 if alike or ours + theirs > MOVABLE else 0  # to change all sides is no other way
    mine = min(max(ours - stays, 0), max(MOVABLE - theirs, (MOVABLE + 1) // 2))
    movable = mine + min(theirs, MOVABLE - mine)
    slots = scratch.slots
    _draw(packing, g, mine, chance, scratch.held, slots[:mine])
    _draw(packing, h, movable - mine, chance, scratch.held, slots[mine:movable])
    limit = _add_up(packing, g, h, mine, movable, heat, scratch)
    if limit < 0:
        return 0
    ways, excess, now = 1 << movable, scratch.excess, (1 << mine) - 1
    best, way = np.inf, now
    for at in range(ways):
        if excess[at] < limit:
            level = excess[at]
            if heat.temperature > 0:
                level -= heat.temperature * scratch.luck[drawn(chance, LUCKS)]
            if level < best:
                best, way = level, at
    if way == now:
        return 0
    out, back = np.full(MOVABLE + 1, -1), np.full(MOVABLE + 1, -1)
    given = taken = 0
    for i in range(movable):
        stays = way >> i & 1
        if i < mine and not stays:
            out[given] = slots[i]
            given += 1
        elif i >= mine and stays:
            back[taken] = slots[i]
            taken += 1
    return carry_out(packing, g, h, out, back)


@kernel
def _draw(packing: Packing, g: int, some: int, chance: Bits, held: Ints, slots: Ints) -> None:
    """Fill in so many random slots of a GPU, the last first."""
    count = packing.models[g]
    for i in range(count):
        held[i] = packing.start[g] + i
    for i in range(some if some < count else 0):
        other = i + drawn(chance, count - i)
        held[i], held[other] = held[other], held[i]
    for i in range(some):
        own, at = held[i], i
        while at > 0 and slots[at - 1] < own:
            slots[at] = slots[at - 1]
            at -= 1
        slots[at] = own


@kernel
def _add_up(
    packing: Packing, g: int, h: int, mine: int, movable: int, heat: Heat, scratch: _Scratch
) -> float:
    """Fill in what all ways exceed the target by; return below what they count, -1 if none does.

    The bits of a way are the models that the one GPU holds.
    """
    limits, here, there, excess = scratch.limits, scratch.here, scratch.there, scratch.excess
    ours, theirs = scratch.ours, scratch.theirs
    rank_shared(packing, g, h, scratch.shared, limits)
    by_room = 2 / max(float(packing.free[g] + packing.free[h]), 1.0)
    _measure(packing, g, movable, heat.target, by_room, scratch.slots, ours)
    _measure(packing, h, movable, heat.target, by_room, scratch.slots, theirs)
    heavy, light = np.float32(heat.weights[g]), np.float32(heat.weights[h])
    limit = 0.0
    for d in limits:
        x, y = max(ours[MOVABLE, d], 0.0), max(theirs[MOVABLE, d], 0.0)
        limit += heavy * x * x + light * y * y
    limit = limit * (1 + SLACK) + REACH * heat.temperature
    ways, done, zero, below = 1 << movable, 0, np.float32(0), np.float32(limit)
    excess[:ways] = zero
    for d in limits:
        x, y = ours[MOVABLE, d], theirs[MOVABLE, d]
        for i in range(mine):
            x, y = x - ours[i, d], y + theirs[i, d]
        most = x
        for i in range(movable):
            most += ours[i, d]
        if most <= 0 and y <= 0:
            continue  # one of them could hold all
        here[0], there[0] = x, y
        for i in range(movable):
            half, more, less = 1 << i, ours[i, d], theirs[i, d]
            for at in range(half):
                here[half + at] = here[at] + more
                there[half + at] = there[at] - less
        for at in range(ways):
            a, b = max(here[at], zero), max(there[at], zero)
            excess[at] += heavy * a * a + light * b * b
        done += 1
        if done % ABREAST == 0:
            left = 0
            for at in range(ways):
                left += excess[at] < below
            if left <= 1:
                return -1.0
    return limit


@kernel
def _measure(
    packing: Packing,
    g: int,
    movable: int,
    target: float,
    by_room: float,
    slots: Ints,
    taken: Floats32,
) -> None:
    """Fill in what each model takes of a GPU by pressure, and last what that exceeds now.

    Time counts in parts of the target, memory in parts of the room that two GPUs have.
    """
    kv, free, own, by_time = packing.kv, float(packing.free[g]), packing.type_of[g], 1 / target
    for i in range(movable):
        loads, size = packing.table[packing.item[slots[i]], own], float(packing.size[slots[i]])
        for d in range(len(loads)):
            taken[i, d] = loads[d] * by_time
        for d in range(kv):
            taken[i, d] = (loads[d] * by_time + size) * by_room
    loads = packing.loads[g]
    for d in range(len(loads)):
        taken[MOVABLE, d] = loads[d] * by_time - 1
    for d in range(kv):
        taken[MOVABLE, d] = (loads[d] * by_time - free) * by_room
