"""Kernels: the best exchange within a pair of GPUs, for many disjoint pairs.

At the KVPR K that two GPUs have together, a model's size is ``s + l / K``, and the hotter GPU
exceeds its memory by exactly what the colder one has left. So the best exchange moves a
difference of sizes as near as possible to that excess: of all subsets of up to three models on
either side, sorted by size, the nearest pair is found by two pointers, as Horowitz and Sahni do
for subset sums (J. ACM 21, 1974). A few hundred subsets stand for tens of thousands of moves and
exchanges.
"""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import kernel

__all__ = ["exchange_pairs", "meets", "move", "relieve", "swap"]

MOST = 255
"""Models of one GPU that are looked at."""
CODE_BITS = 24
LARGEST = 1 << 38
"""Sizes are whole units below this: three of them and a code fit into 63 bits."""
NEVER = -1
"""Sorts before every subset."""


_fits = kernel(fits)


@kernel
def exchange_pairs(
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

    Parameters
    ----------
    packing
        Changed in place.
    hot, cold
        Disjoint pairs of GPUs.
    width
        Subsets looked at on either side.
    turn
        Where subsets start that do not all fit into `width`.
    gain
        Relative gain that an exchange must exceed.
    first, end
        Part of the pairs to do.
    """
    scratch = _scratch(width)
    done = 0
    for p in range(first, end):
        done += _exchange(packing, hot[p], cold[p], turn, gain, scratch)
    return done


@kernel
def relieve(
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

    Parameters
    ----------
    packing
        Changed in place.
    hot
        GPUs above the target.
    pool
        Partners, `tries` for each hot GPU in turn.
    tries
        Partners of each.
    target
        KVPR at which a GPU is left alone.
    width, turn, gain, first, end
        As of `exchange_pairs`.
    """
    scratch = _scratch(width)
    done = 0
    for p in range(first, end):
        g = hot[p]
        for t in range(p * tries, p * tries + tries):
            if packing.loads[g, 0] <= target * packing.free[g]:
                break
            done += _exchange(packing, g, pool[t], turn, gain, scratch)
    return done


@kernel
def _scratch(width: int) -> tuple[Ints, ...]:
    """Return the subsets of either side by number of models, and slots to move."""
    return (
        np.empty(MOST + 1, np.int64), np.empty(width, np.int64), np.empty(width, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
        np.empty(3, np.int64), np.empty(3, np.int64),
    )  # fmt: skip


@kernel
def _exchange(
    packing: Packing, g: int, h: int, turn: int, gain: float, scratch: tuple[Ints, ...]
) -> int:
    """Make the best exchange between two GPUs; return 1 where one was made, else 0."""
    start, count, free, kept, loads = (
        packing.start, packing.models, packing.free, packing.kept, packing.loads[:, 0],
    )  # fmt: skip
    if free[g] <= 0 or free[h] <= 0:
        return 0
    if loads[g] * free[h] < loads[h] * free[g]:
        g, h = h, g
    common = (loads[g] + loads[h]) / (free[g] + free[h])
    if not common > 0:
        return 0
    ones, twos, _, subsets_g, subsets_h, out, back = scratch
    at_g, at_h = start[g], start[h]
    # What both hold at most, in units of which any sum of three fits beside its code.
    unit = 2.0 * (packing.memory[g] + packing.memory[h]) / LARGEST
    m_g = _subsets(packing, g, common, unit, turn, ones, twos, subsets_g)
    m_h = _subsets(packing, h, common, unit, turn, ones, twos, subsets_h)
    excess = int((loads[g] / common - free[g]) / unit)
    best, best_g, best_h = excess, 0, 0
    i = j = 1
    while i <= m_g and j <= m_h:
        moved = (subsets_g[i] >> CODE_BITS) - (subsets_h[j] >> CODE_BITS)
        if abs(excess - moved) < best:
            bytes_g, keep_g = _held(packing, at_g, subsets_g[i])
            bytes_h, keep_h = _held(packing, at_h, subsets_h[j])
            free_g, free_h = free[g] + bytes_g - bytes_h, free[h] - bytes_g + bytes_h
            # Only where an exchange takes memory must some be spared.
            least_g = packing.spare[g] if bytes_h > bytes_g else 1
            least_h = packing.spare[h] if bytes_g > bytes_h else 1
            moved_keep = keep_g - keep_h
            if _fits(free_g, max(least_g, kept[g] - moved_keep)) and _fits(
                free_h, max(least_h, kept[h] + moved_keep)
            ):
                best, best_g, best_h = abs(excess - moved), i, j
        if moved < excess:
            i += 1
        else:
            j += 1
    if best_g == 0:
        return 0
    x_g, x_h = _slots(subsets_g[best_g], at_g, out), _slots(subsets_h[best_h], at_h, back)
    if (
        count[g] - x_g + x_h > start[g + 1] - at_g
        or count[h] - x_h + x_g > start[h + 1] - at_h
        or meets(packing, h, out[:x_g])
        or meets(packing, g, back[:x_h])
        or not _gains(packing, g, h, out[:x_g], back[:x_h], gain)
    ):
        return 0
    both = min(x_g, x_h)
    for i in range(both):
        swap(packing, out[i], back[i])
    move(packing, g, h, out[both:x_g])
    move(packing, h, g, back[both:x_h])
    loads[g], loads[h] = _load(packing, g), _load(packing, h)  # anew, so that nothing drifts
    return 1


@kernel
def meets(packing: Packing, g: int, slots: Ints) -> bool:
    """Return whether a model of some slots would meet one of its group on a GPU."""
    group, item = packing.group, packing.item
    for slot in slots:
        own = group[item[slot]]
        for other in range(packing.start[g], packing.start[g] + packing.models[g]):
            if group[item[other]] == own:
                return True
    return False


@kernel
def _gains(packing: Packing, g: int, h: int, out: Ints, back: Ints, gain: float) -> bool:
    """Update the bytes of both GPUs for an exchange, if it lowers the larger KVPR."""
    free, kept, loads = packing.free, packing.kept, packing.loads[:, 0]
    load_g, load_h, moved_bytes, moved_keep = loads[g], loads[h], 0, 0
    for slot in out:
        load_g, load_h = load_g - packing.load[slot], load_h + packing.load[slot]
        moved_bytes += packing.size[slot]
        moved_keep += packing.keep[slot]
    for slot in back:
        load_g, load_h = load_g + packing.load[slot], load_h - packing.load[slot]
        moved_bytes -= packing.size[slot]
        moved_keep -= packing.keep[slot]
    free_g, free_h = free[g] + moved_bytes, free[h] - moved_bytes
    if max(load_g / free_g, load_h / free_h) >= loads[g] / free[g] * (1 - gain):
        return False
    free[g], free[h] = free_g, free_h
    kept[g], kept[h] = kept[g] - moved_keep, kept[h] + moved_keep
    return True


@kernel
def _subsets(
    packing: Packing,
    g: int,
    common: float,
    unit: float,
    turn: int,
    ones: Ints,
    twos: Ints,
    threes: Ints,
) -> int:
    """Fill `threes` with subsets of up to three models of a GPU, ascending; return how many.

    A subset is one number: its size in units, then the positions of its models in the row,
    counted from 1, eight bits each. Where not all fit, subsets are of up to two models; where
    not all of those fit, of some models next to each other in the row, from `turn` on.
    """
    width = len(threes) - 1
    k = packing.models[g]
    deep = 1 + k + k * (k - 1) // 2 + k * (k - 1) * (k - 2) // 6 <= width
    taken = min(k, MOST)
    while not deep and 1 + taken + taken * (taken - 1) // 2 > width:
        taken -= 1
    offset = turn % k if taken < k else 0
    n_1 = n_2 = n_3 = 0
    ones[0] = twos[0] = threes[0] = NEVER
    for i in range(taken):
        position = (i + offset) % min(k, MOST)
        slot = packing.start[g] + position
        size = int((packing.size[slot] + packing.load[slot] / common) / unit) << CODE_BITS
        if deep:
            n_3 = _merge(threes, n_3, twos, n_2, size + ((position + 1) << 16))
        n_2 = _merge(twos, n_2, ones, n_1, size + ((position + 1) << 8))
        n_1 = _insert(ones, n_1, size + position + 1)
    n_3 = _merge(threes, n_3, twos, n_2, 0)
    n_3 = _merge(threes, n_3, ones, n_1, 0)
    return _insert(threes, n_3, 0)


@kernel
def _merge(into: Ints, n: int, other: Ints, m: int, more: int) -> int:
    """Merge a sorted list, each entry raised by `more`, into another; both start at 1."""
    i, j, at = n, m, n + m
    while j > 0:
        ours, theirs = into[i], other[j] + more
        later = ours > theirs
        into[at] = ours if later else theirs
        i -= later
        j -= not later
        at -= 1
    return n + m


@kernel
def _insert(into: Ints, n: int, value: int) -> int:
    """Insert a value into a sorted list that starts at 1."""
    at = n
    while into[at] > value:
        into[at + 1] = into[at]
        at -= 1
    into[at + 1] = value
    return n + 1


@kernel
def _held(packing: Packing, at: int, subset: int) -> tuple[int, int]:
    """Return bytes and least KV bytes of a subset of the row that starts at `at`."""
    held, kept = 0, 0
    for shift in (0, 8, 16):
        position = (subset >> shift) & 0xFF
        if position:
            held += packing.size[at + position - 1]
            kept += packing.keep[at + position - 1]
    return held, kept


@kernel
def _slots(subset: int, at: int, slots: Ints) -> int:
    """Fill in the slots of a subset, the last first; return how many."""
    n = 0
    for shift in (0, 8, 16):
        position = (subset >> shift) & 0xFF
        if position:
            here = n
            while here > 0 and slots[here - 1] < at + position - 1:
                slots[here] = slots[here - 1]
                here -= 1
            slots[here] = at + position - 1
            n += 1
    return n


@kernel
def swap(packing: Packing, a: int, b: int) -> None:
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
        swap(packing, slot, packing.start[h] + count[h])
        swap(packing, slot, packing.start[g] + count[g] - 1)
        count[g] -= 1
        count[h] += 1


@kernel
def _load(packing: Packing, g: int) -> float:
    """Return the load of a GPU."""
    total = float(packing.base[g, 0])
    for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
        total += packing.load[slot]
    return total
