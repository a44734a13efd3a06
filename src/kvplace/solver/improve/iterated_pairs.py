"""Iterated local search of shards by compiled pair exchanges, under any number of pressures.

The hottest GPU is relieved until no exchange with another helps; then it exchanges random shards
with a random GPU, twice, and so on from there (Lourenco, Martin and Stutzle, Handbook of
Metaheuristics, 2003). All is counted and seeded.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.clock import Watch
from kvplace.solver.improve.parallel_pairs_several import (
    MOST,
    Scratch,
    carry_out,
    exchange,
    pressure_of,
    scratch_of,
    sort,
    sum_up,
)
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import kernel

__all__ = ["iterate_pairs"]

KICKS = 256
"""Kicks between two looks at the clock."""
RETURN = 8
"""Kicks after which the search goes back to the best."""
WORSE = 1.05
"""Part of the best pressure above which it goes back at once."""
TRIES = 8
"""Random exchanges tried for one that fits."""


MIX = 0x9E3779B97F4A7C15
"""Odd number that spreads seeds over 64 bits."""

Bits = NDArray[np.uint64]

_fits = kernel(fits)


class _Kept(NamedTuple):
    """What of a packing changes, as it was at the best."""

    models: Ints
    item: Ints
    size: Ints
    keep: Ints
    free: Ints
    kept: Ints


def iterate_pairs(
    packing: Packing, goal: float, kicks: int, seed: int, gain: float, watch: Watch
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
    """
    best = _Kept(*(getattr(packing, name).copy() for name in _Kept._fields))
    chance = np.array([(2 * seed + 1) * MIX % 2**64], dtype=np.uint64)
    found, made, stale = float(packing.pressure().max()), 0, 0
    while stale < kicks and found > goal and not watch.stop:
        value = _search(packing, best, found, KICKS, chance, goal, gain)
        stale = 0 if value < found * (1 - gain) else stale + KICKS
        found, made = value, made + KICKS
    _restore(packing, best)
    return made


@kernel
def _search(
    packing: Packing, best: _Kept, found: float, kicks: int, chance: Bits, goal: float, gain: float
) -> float:
    """Settle and kick so many times; return the best pressure of the worst GPU."""
    g = len(packing.models)
    scratch = scratch_of(packing, MOST)
    pressures = np.empty(g)
    for h in range(g):
        pressures[h] = pressure_of(packing, h)
    since = 0
    for kick in range(kicks):
        _settle(packing, pressures, kick, gain, scratch)
        worst = pressures.max()
        if worst < found * (1 - gain):
            found, since = worst, 0
            _save(packing, best)
            if found <= goal:
                break
        else:
            since += 1
        if since >= RETURN or worst > found * WORSE:
            _restore(packing, best)
            since = 0
            for h in range(g):
                pressures[h] = pressure_of(packing, h)
        for _ in range(2):
            _kick(packing, pressures, chance)
    return found


@kernel
def _settle(packing: Packing, pressures: Floats, turn: int, gain: float, scratch: Scratch) -> None:
    """Relieve the hottest GPU, with the coldest partners first, until nothing helps."""
    g_count = len(pressures)
    order = np.empty(g_count, np.int64)
    helped = True
    while helped:
        helped = False
        sort(pressures, order, g_count)
        g = int(order[g_count - 1])
        for at in range(g_count):
            h = int(order[at])
            if pressures[h] >= pressures[g] * (1 - gain):
                break
            if exchange(packing, g, h, turn, gain, scratch):
                pressures[g] = pressure_of(packing, g)
                pressures[h] = pressure_of(packing, h)
                helped = True
                break


@kernel
def _kick(packing: Packing, pressures: Floats, chance: Bits) -> None:
    """Exchange up to two random shards each of the hottest GPU and a random other, if they fit."""
    g = int(pressures.argmax())
    for _ in range(TRIES):
        h = _drawn(chance, len(pressures))
        if h == g:
            continue
        given, back = _some(packing, g, chance), _some(packing, h, chance)
        moved, more = 0, 0
        for slot in given:
            if slot >= 0:
                moved, more = moved + packing.size[slot], more + packing.keep[slot]
        for slot in back:
            if slot >= 0:
                moved, more = moved - packing.size[slot], more - packing.keep[slot]
        fits_g = _fits(packing.free[g] + moved, max(packing.spare[g], packing.kept[g] - more))
        fits_h = _fits(packing.free[h] - moved, max(packing.spare[h], packing.kept[h] + more))
        if given[0] + back[0] > -2 and fits_g and fits_h and carry_out(packing, g, h, given, back):
            pressures[g] = pressure_of(packing, g)
            pressures[h] = pressure_of(packing, h)
            return


@kernel
def _some(packing: Packing, g: int, chance: Bits) -> Ints:
    """Return the slots of up to two random shards of a GPU, the last first, -1 for none."""
    slots = np.full(2, -1)
    k = packing.models[g]
    if k == 0:
        return slots
    count = _drawn(chance, 3)
    first, second = _drawn(chance, k), _drawn(chance, k)
    if count > 0:
        slots[0] = packing.start[g] + max(first, second)
    if count > 1 and first != second:
        slots[1] = packing.start[g] + min(first, second)
    return slots


@kernel
def _drawn(chance: Bits, below: int) -> int:
    """Return a random whole number below another (xorshift; Marsaglia, J. Stat. Softw. 8, 2003)."""
    x = chance[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    chance[0] = x
    return int(x % np.uint64(below))


@kernel
def _copy(source: Ints, target: Ints) -> None:
    for at in range(len(source)):
        target[at] = source[at]


@kernel
def _save(packing: Packing, best: _Kept) -> None:
    _copy(packing.models, best.models)
    _copy(packing.item, best.item)
    _copy(packing.size, best.size)
    _copy(packing.keep, best.keep)
    _copy(packing.free, best.free)
    _copy(packing.kept, best.kept)


@kernel
def _restore(packing: Packing, best: _Kept) -> None:
    _copy(best.models, packing.models)
    _copy(best.item, packing.item)
    _copy(best.size, packing.size)
    _copy(best.keep, packing.keep)
    _copy(best.free, packing.free)
    _copy(best.kept, packing.kept)
    for g in range(len(packing.models)):
        sum_up(packing, g)
