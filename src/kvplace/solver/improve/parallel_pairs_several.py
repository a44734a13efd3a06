"""Kernels: the best exchange within a pair of GPUs that several things press on.

Of all subsets of up to two models on either side, each pair is tried: what two GPUs have together
is a vector here, so that no order of the subsets leads to the best one. The pressures are looked
at one after the other, that which binds the hotter GPU first, and most pairs fail at the first.
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.parallel_pairs_kernel import meets, move, swap
from kvplace.solver.instance.pressure import fits, pressure
from kvplace.solver.kernels import kernel

__all__ = [
    "MOST",
    "Scratch",
    "carry_out",
    "exchange",
    "exchange_pairs_several",
    "pressure_of",
    "relieve_several",
    "scratch_of",
    "sort",
    "sum_up",
]

MOST = 64
"""Subsets of one GPU that are looked at: all of up to two of ten models."""

Scratch = tuple[Ints, Ints, Floats, Floats, Floats, Ints]

_fits = kernel(fits)
_pressure = kernel(pressure)


@kernel
def pressure_of(packing: Packing, g: int) -> float:
    """Return the pressure of a GPU; 0 where it holds nothing."""
    loads = packing.loads[g]
    if packing.models[g] == 0 and not loads.any():
        return 0.0
    return float(_pressure(packing.free[g], packing.kept[g], loads, packing.kv))


@kernel
def exchange_pairs_several(
    packing: Packing,
    hot: Ints,
    cold: Ints,
    width: int,
    turn: int,
    gain: float,
    first: int,
    end: int,
) -> int:
    """Make the best exchange of each pair ``hot[p], cold[p]``; return how many were made.

    Parameters are those of `kvplace.solver.improve.parallel_pairs_kernel.exchange_pairs`.
    """
    scratch = scratch_of(packing, width)
    done = 0
    for p in range(first, end):
        done += exchange(packing, hot[p], cold[p], turn, gain, scratch)
    return done


@kernel
def relieve_several(
    packing: Packing,
    hot: Ints,
    pool: Ints,
    tries: int,
    target: float,
    width: int,
    turn: int,
    gain: float,
    first: int,
    end: int,
) -> int:
    """Bring each hot GPU to a target with partners of its own; return the exchanges made.

    Parameters are those of `kvplace.solver.improve.parallel_pairs_kernel.relieve`.
    """
    scratch = scratch_of(packing, width)
    done = 0
    for p in range(first, end):
        g = hot[p]
        for t in range(p * tries, p * tries + tries):
            if _pressure(packing.free[g], packing.kept[g], packing.loads[g], packing.kv) <= target:
                break
            done += exchange(packing, g, pool[t], turn, gain, scratch)
    return done


@kernel
def scratch_of(packing: Packing, width: int) -> Scratch:
    """Return room for the subsets of either side: slots, bytes, and loads here and there."""
    most, loads = min(width, MOST), packing.loads.shape[1]
    return (
        np.empty((2, most, 2), np.int64),
        np.empty((2, most, 2), np.int64),
        np.empty((2, most, loads), np.float64),
        np.empty((2, most, loads), np.float64),
        np.empty(most, np.float64),
        np.empty(most, np.int64),
    )


@kernel
def _subsets(packing: Packing, g: int, h: int, side: int, turn: int, scratch: Scratch) -> int:
    """Fill in the subsets of a GPU's models with what they take there and on another GPU."""
    slots, taken, here, there, _, _ = scratch
    width, k = slots.shape[1], packing.models[g]
    some = min(k, width - 1)
    slots[side, 0, 0] = slots[side, 0, 1] = -1
    taken[side, 0, 0] = taken[side, 0, 1] = 0
    here[side, 0, :] = 0.0
    there[side, 0, :] = 0.0
    count = 1
    for i in range(some):
        slot = packing.start[g] + (i + turn) % k
        item = packing.item[slot]
        slots[side, count, 0], slots[side, count, 1] = slot, -1
        taken[side, count, 0], taken[side, count, 1] = packing.size[slot], packing.keep[slot]
        for d in range(here.shape[2]):
            here[side, count, d] = packing.table[item, packing.type_of[g], d]
            there[side, count, d] = packing.table[item, packing.type_of[h], d]
        count += 1
    for i in range(2, some + 1):
        for j in range(1, i):
            if count == width:
                return count
            a, b = slots[side, i, 0], slots[side, j, 0]
            slots[side, count, 0], slots[side, count, 1] = max(a, b), min(a, b)
            for x in range(2):
                taken[side, count, x] = taken[side, i, x] + taken[side, j, x]
            for d in range(here.shape[2]):
                here[side, count, d] = here[side, i, d] + here[side, j, d]
                there[side, count, d] = there[side, i, d] + there[side, j, d]
            count += 1
    return count


@kernel
def exchange(packing: Packing, g: int, h: int, turn: int, gain: float, scratch: Scratch) -> int:
    """Make the best exchange between two GPUs; return 1 where one was made, else 0."""
    free, kept, loads, kv = packing.free, packing.kept, packing.loads, packing.kv
    hot = _pressure(free[g], kept[g], loads[g], kv)
    other = _pressure(free[h], kept[h], loads[h], kv)
    if other > hot:
        g, h, hot = h, g, other
    if not 0 < hot < np.inf:
        return 0
    width = loads.shape[1]
    binding, most = 0, -1.0
    for d in range(width):
        value = loads[g, d] / free[g] if d < kv else loads[g, d]
        if value > most:
            binding, most = d, value
    m_g = _subsets(packing, g, h, 0, turn, scratch)
    m_h = _subsets(packing, h, g, 1, turn, scratch)
    slots, taken, here, there, keys, order = scratch
    best, best_g, best_h = hot * (1 - gain), -1, -1
    # What a subset takes of what binds: sizes at the goal as in packing, or time.
    price = best if binding < kv else 0.0
    for b in range(m_h):
        keys[b] = there[1, b, binding] + price * taken[1, b, 0]
    sort(keys, order, m_h)
    most = best * (free[g] if binding < kv else 1.0) - loads[g, binding]
    for a in range(m_g):
        left = most + here[0, a, binding] + price * taken[0, a, 0]
        for at in range(m_h):
            b = order[at]
            if keys[b] >= left:
                break
            moved = taken[0, a, 0] - taken[1, b, 0]
            free_g, free_h = free[g] + moved, free[h] - moved
            more = taken[0, a, 1] - taken[1, b, 1]
            least_g = packing.spare[g] if moved < 0 else 1
            least_h = packing.spare[h] if moved > 0 else 1
            if not (
                _fits(free_g, max(least_g, kept[g] - more))
                and _fits(free_h, max(least_h, kept[h] + more))
            ):
                continue
            value = 0.0
            for d in range(width):
                room_g = free_g if d < kv else 1.0
                room_h = free_h if d < kv else 1.0
                load_g = loads[g, d] - here[0, a, d] + there[1, b, d]
                load_h = loads[h, d] + there[0, a, d] - here[1, b, d]
                value = max(value, load_g / room_g, load_h / room_h)
                if value >= best:
                    break
            if value < best:
                best, best_g, best_h = value, a, b
    if best_g < 0:
        return 0
    return carry_out(packing, g, h, slots[0, best_g], slots[1, best_h])


@kernel
def sort(keys: Floats, order: Ints, count: int) -> None:
    """Fill in the order of some keys, ascending; by insertion, as they are few."""
    for i in range(count):
        at = i
        while at > 0 and keys[order[at - 1]] > keys[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i


@kernel
def carry_out(packing: Packing, g: int, h: int, given: Ints, back: Ints) -> int:
    """Make an exchange, unless models of one group would meet; return 1 where it was made."""
    out, into = given[given >= 0], back[back >= 0]
    start, count = packing.start, packing.models
    x_g, x_h = len(out), len(into)
    if (
        count[g] - x_g + x_h > start[g + 1] - start[g]
        or count[h] - x_h + x_g > start[h + 1] - start[h]
        or meets(packing, h, out)
        or meets(packing, g, into)
    ):
        return 0
    moved, more = 0, 0
    for slot in out:
        moved, more = moved + packing.size[slot], more + packing.keep[slot]
    for slot in into:
        moved, more = moved - packing.size[slot], more - packing.keep[slot]
    both = min(x_g, x_h)
    for i in range(both):
        swap(packing, out[i], into[i])
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
def sum_up(packing: Packing, g: int) -> None:
    """Add up the loads of a GPU, and note the first of each shard."""
    for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
        packing.load[slot] = packing.table[packing.item[slot], packing.type_of[g], 0]
    for d in range(packing.loads.shape[1]):
        total = float(packing.base[g, d])
        for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
            total += packing.table[packing.item[slot], packing.type_of[g], d]
        packing.loads[g, d] = total
