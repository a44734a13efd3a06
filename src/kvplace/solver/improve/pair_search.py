"""Kernels: which exchange between two GPUs is best under one pressure.

At the pressure K that two GPUs have together, a model's size is ``s + l / K``,
and the hotter GPU exceeds its memory by exactly what the colder one has left. So the best exchange
moves a difference of sizes as near as possible to that excess: of all subsets of up to three models
on either side, sorted by size, the nearest pair is found by two pointers, as Horowitz and Sahni do
for subset sums (J. ACM 21, 1974). A few hundred subsets stand for tens of thousands of exchanges.
"""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import kernel

__all__ = ["SizeScratch", "left_enough", "nearest", "size_scratch", "slots_of"]

MOST = 255
"""Models of one GPU that are looked at by size."""
CODE_BITS = 24
LARGEST = 1 << 38
"""Sizes are whole units below this: three of them and a code fit into 63 bits."""
NEVER = -1
"""Sorts before every subset."""

SizeScratch = tuple[Ints, Ints, Ints, Ints, Ints]

_fits = kernel(fits)


@kernel
def left_enough(packing: Packing, g: int, moved: int, more: int) -> bool:
    """Whether a GPU that gives so many bytes, and so much KV that must be left, has enough left.

    Only where an exchange takes memory must some be spared.
    """
    least = packing.spare[g] if moved < 0 else 1
    return bool(_fits(packing.free[g] + moved, max(least, packing.kept[g] - more)))


@kernel
def size_scratch(width: int) -> SizeScratch:
    """Return room for subsets by number of models, and for those of either side."""
    return (
        np.empty(MOST + 1, np.int64), np.empty(width, np.int64), np.empty(width, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
    )  # fmt: skip


@kernel
def nearest(
    packing: Packing,
    g: int,
    h: int,
    goal: float,
    turn: int,
    scratch: SizeScratch,
    out: Ints,
    back: Ints,
) -> bool:
    """Find the exchange that moves most nearly the excess of the hotter of two GPUs.

    Parameters
    ----------
    packing
        Under one pressure, on KV memory.
    g, h
        The hotter and the colder GPU.
    goal
        Pressure that both must end below.
    turn
        Where subsets start that do not all fit into the scratch.
    scratch
        Of `size_scratch`.
    out, back
        Filled in with the slots given and taken back, the last first; -1 for none.

    Returns
    -------
    bool
        Whether there is one.
    """
    free, load_g, load_h = packing.free, packing.loads[g, 0], packing.loads[h, 0]
    common = (load_g + load_h) / (free[g] + free[h])
    ones, twos, _, subsets_g, subsets_h = scratch
    at_g, at_h = packing.start[g], packing.start[h]
    # What both hold at most, in units of which any sum of three fits beside its code.
    unit = 2.0 * (packing.memory[g] + packing.memory[h]) / LARGEST
    m_g = _by_size(packing, g, common, unit, turn, ones, twos, subsets_g)
    m_h = _by_size(packing, h, common, unit, turn, ones, twos, subsets_h)
    excess = int((load_g / common - free[g]) / unit)
    best, best_g, best_h = excess, 0, 0
    i = j = 1
    while i <= m_g and j <= m_h:
        moved = (subsets_g[i] >> CODE_BITS) - (subsets_h[j] >> CODE_BITS)
        if abs(excess - moved) < best:
            bytes_g, keep_g = _held(packing, at_g, subsets_g[i])
            bytes_h, keep_h = _held(packing, at_h, subsets_h[j])
            less, more = bytes_g - bytes_h, keep_g - keep_h
            if left_enough(packing, g, less, more) and left_enough(packing, h, -less, -more):
                best, best_g, best_h = abs(excess - moved), i, j
        if moved < excess:
            i += 1
        else:
            j += 1
    if best_g == 0:
        return False
    slots_of(subsets_g[best_g], at_g, out)
    slots_of(subsets_h[best_h], at_h, back)
    moved, shifted = 0, 0.0
    for at in range(3):
        if out[at] >= 0:
            moved, shifted = moved + packing.size[out[at]], shifted + packing.load[out[at]]
        if back[at] >= 0:
            moved, shifted = moved - packing.size[back[at]], shifted - packing.load[back[at]]
    here, there = (load_g - shifted) / (free[g] + moved), (load_h + shifted) / (free[h] - moved)
    return bool(max(here, there) < goal)


@kernel
def _by_size(
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
def slots_of(subset: int, at: int, slots: Ints) -> None:
    """Fill in the slots of a subset, the last first, and -1 for those that it has not."""
    n = 0
    slots[:] = -1
    for shift in (0, 8, 16):
        position = (subset >> shift) & 0xFF
        if position:
            here = n
            while here > 0 and slots[here - 1] < at + position - 1:
                slots[here] = slots[here - 1]
                here -= 1
            slots[here] = at + position - 1
            n += 1
