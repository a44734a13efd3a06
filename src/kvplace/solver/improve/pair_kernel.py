"""Kernels: the best exchange within a pair of GPUs, for many disjoint pairs."""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import MIX, Bits
from kvplace.solver.improve.pair_ways import (
    MOVABLE,
    Ways,
    add_up,
    change_of,
    draw_ways,
    room_for_ways,
)
from kvplace.solver.instance.pressure import fits, pressure
from kvplace.solver.kernels import kernel

DRAWS = 4
"""Times that models are drawn of a pair that holds too many for all ways."""

Scratch = tuple[Ways, Bits]
"""Room for all ways to share out models, and what draws these."""

_fits, _pressure = kernel(fits), kernel(pressure)


@kernel
def pressure_of(packing: Packing, g: int) -> float:
    """Return the pressure of a GPU; 0 where it holds nothing."""
    loads = packing.loads[g]
    if packing.models[g] == 0:
        for load in loads:
            if load != 0:
                break
        else:
            return 0.0
    return float(_pressure(packing.free[g], packing.kept[g], loads, packing.kv))


@kernel
def scratch_of(packing: Packing) -> Scratch:
    """Return room for exchanges between GPUs of a packing."""
    return room_for_ways(packing, np.empty(0)), np.empty(1, np.uint64)


@kernel
def relieve(
    packing: Packing,
    hot: Ints,
    pool: Ints,
    tries: int,
    target: float,
    turn: int,
    gain: float,
    first: int,
    end: int,
) -> int:
    """Bring each hot GPU to a target with partners of its own; return the exchanges made.

    Of each pair the best exchange is made.

    Parameters
    ----------
    packing
        Changed in place.
    hot
        GPUs above the target.
    pool
        Partners, `tries` for each hot GPU in turn, none of which is another's or hot itself.
    tries
        Partners of each.
    target
        Pressure at which a GPU is left alone.
    turn
        Seed of the models drawn of pairs that hold too many for all ways.
    gain
        Relative gain that an exchange must exceed.
    first, end
        Part of the hot GPUs to do.
    """
    scratch = scratch_of(packing)
    done = 0
    for p in range(first, end):
        for t in range(p * tries, p * tries + tries):
            if pressure_of(packing, hot[p]) <= target:
                break
            done += exchange(packing, hot[p], pool[t], turn, gain, scratch)
    return done


@kernel
def exchange(packing: Packing, g: int, h: int, turn: int, gain: float, scratch: Scratch) -> int:
    """Make the best exchange between two GPUs; return 1 where one was made, else 0."""
    here, there = pressure_of(packing, g), pressure_of(packing, h)
    if there > here:
        g, h, here = h, g, there
    if not 0 < here < np.inf:
        return 0
    ways, chance = scratch
    goal = here * (1 - gain)
    pair = (turn * len(packing.models) + g) * len(packing.models) + h
    chance[0] = 2 * pair + 1
    chance *= np.uint64(MIX)
    for _ in range(DRAWS if packing.models[g] + packing.models[h] > MOVABLE + 1 else 1):
        if _share_out(packing, g, h, goal, chance, ways):
            return 1
    return 0


@kernel
def _share_out(packing: Packing, g: int, h: int, goal: float, chance: Bits, ways: Ways) -> int:
    """Share out models of two GPUs in the best way below a pressure; return 1 where some moved."""
    mine, movable = draw_ways(packing, g, h, goal, chance, ways)
    found = add_up(mine, movable, 0.0, 0.0, 0.0, ways)
    excess = ways.excess[: 1 << movable]
    while found:
        way = int(excess.argmin())
        found = excess[way] < 0
        if found:
            out, back = change_of(way, mine, movable, ways)
            if carry_out(packing, g, h, out, back):
                return 1
            excess[way] = np.inf  # memory has no room for it, or models of a group would meet
    return 0


@kernel
def left_enough(packing: Packing, g: int, moved: int, more: int) -> bool:
    """Whether a GPU that gives so many bytes, and so much KV that must be left, has enough left.

    Only where an exchange takes memory must some be spared.
    """
    least = packing.spare[g] if moved < 0 else 1
    return bool(_fits(packing.free[g] + moved, max(least, packing.kept[g] - more)))


@kernel
def carry_out(packing: Packing, g: int, h: int, given: Ints, back: Ints) -> int:
    """Exchange models of some slots of two GPUs, the last slots first; return 1 if that was done.

    It is not where memory or the rows have no room, or models of one group would meet.
    """
    x_g, x_h = _filled(given), _filled(back)
    out, into = given[:x_g], back[:x_h]
    start, count = packing.start, packing.models
    moved, more = 0, 0
    for slot in out:
        moved, more = moved + packing.size[slot], more + packing.keep[slot]
    for slot in into:
        moved, more = moved - packing.size[slot], more - packing.keep[slot]
    if (
        count[g] - x_g + x_h > start[g + 1] - start[g]
        or count[h] - x_h + x_g > start[h + 1] - start[h]
        or not left_enough(packing, g, moved, more)
        or not left_enough(packing, h, -moved, -more)
        or _meets(packing, h, out)
        or _meets(packing, g, into)
    ):
        return 0
    both = min(x_g, x_h)
    for i in range(both):
        _swap(packing, out[i], into[i])
    move(packing, g, h, out[both:])
    move(packing, h, g, into[both:])
    packing.free[g] += moved
    packing.free[h] -= moved
    packing.kept[g] -= more
    packing.kept[h] += more
    sum_up(packing, g)  # anew, so that nothing drifts
    sum_up(packing, h)
    return 1


@kernel
def _filled(slots: Ints) -> int:
    """Return how many slots are filled in; the others, -1, come last."""
    n = 0
    while n < len(slots) and slots[n] >= 0:
        n += 1
    return n


@kernel
def _meets(packing: Packing, g: int, slots: Ints) -> bool:
    """Return whether a model of some slots would meet one of its group on a GPU."""
    group, item = packing.group, packing.item
    for slot in slots:
        own = group[item[slot]]
        for other in range(packing.start[g], packing.start[g] + packing.models[g]):
            if group[item[other]] == own:
                return True
    return False


@kernel
def _swap(packing: Packing, a: int, b: int) -> None:
    """Exchange the models of two slots."""
    item, size, keep, load = packing.item, packing.size, packing.keep, packing.load
    item[a], item[b] = item[b], item[a]
    size[a], size[b] = size[b], size[a]
    keep[a], keep[b] = keep[b], keep[a]
    load[a], load[b] = load[b], load[a]


@kernel
def move(packing: Packing, g: int, h: int, slots: Ints) -> None:
    """Move the models of some slots, the last first, from the row of g to the end of that of h."""
    count = packing.models
    for slot in slots:
        _swap(packing, slot, packing.start[h] + count[h])
        _swap(packing, slot, packing.start[g] + count[g] - 1)
        count[g] -= 1
        count[h] += 1


@kernel
def sum_up(packing: Packing, g: int) -> None:
    """Add up the loads of a GPU, and note the first of each shard."""
    table, type_ = packing.table, packing.type_of[g]
    for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
        if table.shape[1] > 1:
            packing.load[slot] = table[packing.item[slot], type_, 0]
    for d in range(packing.loads.shape[1]):
        total = float(packing.base[g, d])
        for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
            total += table[packing.item[slot], type_, d] if d else packing.load[slot]
        packing.loads[g, d] = total
