"""Iterated local search of shards by compiled pair exchanges, under any number of pressures.

The hottest GPU is relieved until no exchange with another helps; then it exchanges random shards
with a random GPU, twice, and so on from there (Lourenco, Martin and Stutzle, Handbook of
Metaheuristics, 2003). All is counted and seeded.
"""

import math

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import Bits, drawn, seeded
from kvplace.solver.clock import Watch
from kvplace.solver.improve.pair_kernel import (
    Scratch,
    carry_out,
    exchange,
    pressure_of,
    scratch_of,
)
from kvplace.solver.kernels import halting, kernel

KICKS, LOOKED = 256, 1 << 12
"""Kicks between two looks at the clock at most; and GPUs that about so many look at."""
PAIRS = 1 << 15
"""Pairs looked at between two kicks at most."""
RETURN = 8
"""Kicks after which the search goes back to the best."""
WORSE = 1.05
"""Part of the best pressure above which it goes back at once."""
TRIES = 8
"""Random exchanges tried for one that fits."""


def iterate_pairs(
    packing: Packing,
    goal: float,
    kicks: int,
    seed: int,
    gain: float,
    watch: Watch,
    limit: float = math.inf,
) -> int:
    """Search from a packing; leave the best one found, and return the kicks made.

    Parameters
    ----------
    packing
        Changed in place.
    goal
        Pressure of the worst GPU at which to stop.
    kicks
        Kicks without a gain after which to stop.
    seed
        Of the kicks.
    gain
        Relative gain that an exchange must exceed.
    watch
        Ends the search.
    limit
        Kicks at most.
    """
    best, chance = packing.copy(), seeded(seed)
    found, made, stale = float(packing.pressure().max()), 0, 0
    most = min(KICKS, max(2 * RETURN, LOOKED // len(packing.models)))
    with halting(watch.left) as halted:
        while stale < kicks and made < limit and found > goal and not watch.stop:
            some = int(min(most, limit - made))
            value = _search(packing, best, found, some, chance, goal, gain, halted)
            stale = 0 if value < found * (1 - gain) else stale + some
            found, made = value, made + some
    packing.take(best)
    return made


@kernel
def _search(
    packing: Packing,
    best: Packing,
    found: float,
    kicks: int,
    chance: Bits,
    goal: float,
    gain: float,
    halted: Ints,
) -> float:
    """Settle, so many times with kicks between; return the best pressure of the worst GPU.

    It ends soon once it is halted.
    """
    scratch = scratch_of(packing)
    pressures, order = np.empty(len(packing.models)), np.arange(len(packing.models))
    _measure(packing, pressures)
    since, worst = 0, found
    for kick in range(kicks):
        if kick:
            if since >= RETURN or worst > found * WORSE:
                since = 0
                _copy(best, packing)
                _measure(packing, pressures)
            for _ in range(2):
                _kick(packing, pressures, chance)
        _settle(packing, pressures, order, kick, gain, halted, scratch)
        worst = pressures.max()
        if worst < found * (1 - gain):
            found, since = worst, 0
            _copy(packing, best)
            if found <= goal:
                break
        else:
            since += 1
        if halted[0]:
            break
    return found


@kernel
def _measure(packing: Packing, pressures: Floats) -> None:
    """Fill in the pressure of every GPU."""
    for g in range(len(pressures)):
        pressures[g] = pressure_of(packing, g)


@kernel
def _settle(
    packing: Packing,
    pressures: Floats,
    order: Ints,
    turn: int,
    gain: float,
    halted: Ints,
    scratch: Scratch,
) -> None:
    """Relieve the hottest GPU, with the coldest partners first, until nothing helps.

    The order of the GPUs is kept from one time to the next, as few change in between.
    """
    g_count, pairs, helped = len(pressures), PAIRS, True
    while helped:
        helped = False
        _rank(pressures, order)
        g = int(order[g_count - 1])
        for at in range(g_count):
            h = int(order[at])
            if pressures[h] >= pressures[g] * (1 - gain) or pairs <= 0 or halted[0]:
                break
            pairs -= 1
            if exchange(packing, g, h, turn, gain, scratch):
                pressures[g], pressures[h] = pressure_of(packing, g), pressure_of(packing, h)
                helped = True
                break


@kernel
def _rank(keys: Floats, order: Ints) -> None:
    """Bring an order of some keys up to date: ascending, equal ones by their number."""
    for i in range(1, len(order)):
        own, at = order[i], i
        while at > 0 and (
            keys[order[at - 1]] > keys[own]
            or (keys[order[at - 1]] == keys[own] and order[at - 1] > own)
        ):
            order[at] = order[at - 1]
            at -= 1
        order[at] = own


@kernel
def _kick(packing: Packing, pressures: Floats, chance: Bits) -> None:
    """Exchange up to two random shards each of the hottest GPU and a random other, if they fit."""
    g = int(pressures.argmax())
    for _ in range(TRIES):
        h = drawn(chance, len(pressures))
        if h == g:
            continue
        given, back = _some(packing, g, chance), _some(packing, h, chance)
        if given[0] + back[0] > -2 and carry_out(packing, g, h, given, back):
            pressures[g], pressures[h] = pressure_of(packing, g), pressure_of(packing, h)
            return


@kernel
def _some(packing: Packing, g: int, chance: Bits) -> Ints:
    """Return the slots of up to two random shards of a GPU, the last first, -1 for none."""
    slots = np.full(2, -1)
    k = packing.models[g]
    if k == 0:
        return slots
    count = drawn(chance, 3)
    first, second = drawn(chance, k), drawn(chance, k)
    if count > 0:
        slots[0] = packing.start[g] + max(first, second)
    if count > 1 and first != second:
        slots[1] = packing.start[g] + min(first, second)
    return slots


@kernel
def _copy(source: Packing, target: Packing) -> None:
    """Bring what changes of a packing into another."""
    for g in range(len(source.models)):
        target.models[g], target.free[g] = source.models[g], source.free[g]
        target.kept[g] = source.kept[g]
        for d in range(source.loads.shape[1]):
            target.loads[g, d] = source.loads[g, d]
    for slot in range(len(source.item)):
        target.item[slot], target.size[slot] = source.item[slot], source.size[slot]
        target.keep[slot], target.load[slot] = source.keep[slot], source.load[slot]


COMPILED = (_search,)
"""The kernel that a search calls; all others are part of it."""
