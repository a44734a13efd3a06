"""Kernels: all ways in which two GPUs can share out some of their models.

They are looked at side by side, pressure by pressure, the scarcest first: what a GPU holds of so
many models is what it holds without the last, with and without that. Under several pressures most
pairs show after a few of them that no other way comes near.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import Bits, drawn
from kvplace.solver.kernels import kernel

MOVABLE = 9
"""Models of a pair that may change sides at once: all but one of ten."""
WAYS = 1 << MOVABLE
"""Ways to share them out."""
ABREAST = 4
"""Pressures that are added up between two looks at whether any way is left."""


class Ways(NamedTuple):
    """Room for all ways to share out some models of two GPUs.

    Parameters
    ----------
    shared, limits
        (pressures,) what both share, and the order in which pressures are looked at.
    here, there
        (ways,) what the one and the other GPU exceed the target by.
    excess
        (ways,) sum of the squares so far, or the most.
    slots
        (MOVABLE,) those that may change sides, of the one GPU first.
    ours, theirs
        (MOVABLE + 1, pressures) what each takes of either GPU; the last, what that exceeds now.
    out, back
        (MOVABLE + 1,) slots of the one and the other GPU that change sides, -1 for none.
    held
        (slots of a row,) those of a GPU, while some are drawn.
    """

    shared: Floats
    limits: Ints
    here: NDArray[np.floating]
    there: NDArray[np.floating]
    excess: NDArray[np.floating]
    slots: Ints
    ours: NDArray[np.floating]
    theirs: NDArray[np.floating]
    out: Ints
    back: Ints
    held: Ints


@kernel
def room_for_ways(packing: Packing, like: NDArray[np.floating]) -> Ways:
    """Return room for the ways of pairs of a packing, with sums of the type of an array."""
    width, kind = packing.loads.shape[1], like.dtype
    return Ways(
        np.empty(width), np.arange(width),
        np.empty(WAYS, kind), np.empty(WAYS, kind), np.empty(WAYS, kind),
        np.empty(MOVABLE, np.int64),
        np.empty((MOVABLE + 1, width), kind), np.empty((MOVABLE + 1, width), kind),
        np.empty(MOVABLE + 1, np.int64), np.empty(MOVABLE + 1, np.int64),
        np.empty(np.diff(packing.start).max(), np.int64),
    )  # fmt: skip


@kernel
def draw_ways(
    packing: Packing, g: int, h: int, target: float, chance: Bits, ways: Ways
) -> tuple[int, int]:
    """Draw models of two GPUs that may change sides, and measure what they take.

    Return how many are of the one GPU, and how many of both.

    Parameters
    ----------
    packing, g, h
        The GPUs.
    target
        Pressure above which excess counts.
    chance
        Draws.
    ways
        Filled in, but for the sums of the ways.
    """
    ours, theirs = packing.models[g], packing.models[h]
    alike = packing.type_of[g] == packing.type_of[h] and packing.memory[g] == packing.memory[h]
    stays = 1 if alike or ours + theirs > MOVABLE else 0  # to change all sides is no other way
    mine = min(max(ours - stays, 0), max(MOVABLE - theirs, (MOVABLE + 1) // 2))
    movable = mine + min(theirs, MOVABLE - mine)
    _draw(packing, g, mine, chance, ways.held, ways.slots[:mine])
    _draw(packing, h, movable - mine, chance, ways.held, ways.slots[mine:movable])
    _rank_shared(packing, g, h, ways.shared, ways.limits)
    by_room = 2 / max(float(packing.free[g] + packing.free[h]), 1.0)
    _measure(packing, g, movable, target, by_room, ways.slots, ways.ours)
    _measure(packing, h, movable, target, by_room, ways.slots, ways.theirs)
    return mine, movable


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
def _rank_shared(packing: Packing, g: int, h: int, shared: Floats, limits: Ints) -> None:
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
def _measure(
    packing: Packing,
    g: int,
    movable: int,
    target: float,
    by_room: float,
    slots: Ints,
    taken: NDArray[np.floating],
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


@kernel
def add_up(mine: int, movable: int, heavy: float, light: float, most: float, ways: Ways) -> bool:
    """Fill in what all ways exceed the target by; return whether another than the present may do.

    The bits of a way are the models that the one GPU holds.

    Parameters
    ----------
    mine, movable
        Models that may change sides: of the one GPU, and of both.
    heavy, light
        How much the squares of what the one and the other GPU exceed count, which are summed over
        all pressures. With 0 for both, the largest excess of all counts.
    most
        A way must come to less.
    ways
        Their sums are filled in.
    """
    here, there, excess = ways.here, ways.there, ways.excess
    ours, theirs, kind = ways.ours, ways.theirs, ways.excess.dtype.type
    summed, zero, below = heavy > 0 or light > 0, kind(0), kind(most)
    by_here, by_there = kind(heavy), kind(light)
    count, done = 1 << movable, 0
    excess[:count] = zero if summed else -np.inf
    for d in ways.limits:
        x, y = ours[MOVABLE, d], theirs[MOVABLE, d]
        for i in range(mine):
            x, y = x - ours[i, d], y + theirs[i, d]
        whole = x
        for i in range(movable):
            whole += ours[i, d]
        if whole <= 0 and y <= 0:
            continue  # one of them could hold all
        here[0], there[0] = x, y
        for i in range(movable):
            half, more, less = 1 << i, ours[i, d], theirs[i, d]
            for at in range(half):
                here[half + at] = here[at] + more
                there[half + at] = there[at] - less
        if summed:
            for at in range(count):
                a, b = max(here[at], zero), max(there[at], zero)
                excess[at] += by_here * a * a + by_there * b * b
        else:
            for at in range(count):
                excess[at] = max(excess[at], here[at], there[at])
        done += 1
        if done % ABREAST == 0:
            left = 0
            for at in range(count):
                left += excess[at] < below
            if left <= summed:  # the present way is one of them
                return False
    return True


@kernel
def change_of(way: int, mine: int, movable: int, ways: Ways) -> tuple[Ints, Ints]:
    """Return the slots of the one and the other GPU that change sides, the last first."""
    given = taken = 0
    for i in range(movable):
        stays = way >> i & 1
        if i < mine and not stays:
            ways.out[given] = ways.slots[i]
            given += 1
        elif i >= mine and stays:
            ways.back[taken] = ways.slots[i]
            taken += 1
    ways.out[given:], ways.back[taken:] = -1, -1
    return ways.out, ways.back
