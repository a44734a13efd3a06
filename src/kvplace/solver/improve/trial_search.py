"""Kernels: which exchange between two GPUs is best, under any number of pressures.

What two GPUs have together is a vector, and no order of the subsets leads to the best pair. Of all
subsets of up to three models on either side each pair is tried. Sorted by what they take of the
pressure that binds the hotter GPU, most pairs are left out at once, as one of the GPUs would have
too much of it. The other pressures are looked at in turn, the one that failed last first, and
summed up for the subsets only once one is looked at: of 48 pressures a few decide.
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_search import left_enough
from kvplace.solver.kernels import kernel

__all__ = ["TRIED", "TrialScratch", "least_pressure", "sort", "trial_scratch"]

TRIED = 64
"""Subsets of one GPU that are tried: all of up to three of seven models, or two of ten."""

TrialScratch = tuple[Ints, Ints, Ints, Floats, Ints, Ints, Floats, Ints]


@kernel
def trial_scratch(width: int, loads: int) -> TrialScratch:
    """Return room for the subsets of either side, and an order of the pressures.

    Slots, of which two subsets each consists, bytes; loads here and there, and which pressures
    have them; the order of the pressures; keys and their order.
    """
    most = min(width, TRIED)
    dims = np.arange(loads)
    return (
        np.empty((2, most, 3), np.int64),
        np.zeros((2, most, 2), np.int64),
        np.empty((2, most, 2), np.int64),
        np.empty((loads, 2, 2, most), np.float64),
        np.zeros(loads, np.int64),
        dims,
        np.empty(most, np.float64),
        np.empty(most, np.int64),
    )


@kernel
def _cost(pressure: float, level: float) -> float:
    """Return the fourth power of what a pressure exceeds a level by; the pressure without one."""
    if level < 0.0:
        return pressure
    over = max(pressure - level, 0.0)
    return over * over * over * over


@kernel
def _most_of(best: float, level: float) -> float:
    """Return the pressure of which the cost is so much."""
    return best if level < 0.0 else level + np.sqrt(np.sqrt(best))


@kernel
def _both(one: float, other: float, level: float) -> float:
    """Return the cost of two GPUs: the larger, or the sum where it is by a level."""
    if level < 0.0:
        return max(one, other)
    return _cost(one, level) + _cost(other, level)


@kernel
def _binding(packing: Packing, g: int) -> tuple[int, float]:
    """Return which pressure of a GPU is highest, and how high."""
    free, loads, kv = packing.free, packing.loads, packing.kv
    binding, most = 0, -1.0
    for d in range(loads.shape[1]):
        value = loads[g, d] / free[g] if d < kv else loads[g, d]
        if value > most:
            binding, most = d, value
    return binding, most


@kernel
def least_pressure(
    packing: Packing,
    g: int,
    h: int,
    goal: float,
    level: float,
    turn: int,
    scratch: TrialScratch,
    out: Ints,
    back: Ints,
) -> bool:
    """Find the exchange of two GPUs after which the larger pressure, or the cost of both, is least.

    Parameters
    ----------
    packing
        Under any number of pressures.
    g, h
        The hotter and the colder GPU.
    goal
        Pressure that both must end below; by a level, the cost of this pressure and the colder one.
    level
        Pressure above which a GPU costs the fourth power of the rest. A pair may then be taken
        although the larger pressure rises, which lets many GPUs come near a level together.
        Negative for none: the larger pressure counts.
    turn
        Where subsets start that do not all fit into the scratch.
    scratch
        Of `trial_scratch`.
    out, back
        Filled in with the slots given and taken back, the last first; -1 for none.

    Returns
    -------
    bool
        Whether there is one.
    """
    free, loads, kv = packing.free, packing.loads, packing.kv
    far = int(packing.type_of[g] != packing.type_of[h])
    slots, _, taken, columns, built, _, keys, order = scratch
    sizes = _subsets(packing, g, 0, turn, scratch), _subsets(packing, h, 1, turn, scratch)
    m_g, m_h = sizes
    for d in range(loads.shape[1]):
        built[d] = 0
    best = goal if level < 0.0 else _both(goal, _binding(packing, h)[1], level)
    limit, best_g, best_h = _most_of(best, level), -1, -1
    # What a subset takes of what binds: sizes at the limit as in packing, or time.
    binding, _ = _binding(packing, g)
    _column(packing, g, h, binding, sizes, scratch)
    price = limit if binding < kv else 0.0
    for b in range(m_h):
        keys[b] = columns[binding, 1, far, b] + price * taken[1, b, 0]
    sort(keys, order, m_h)
    most = limit * (free[g] if binding < kv else 1.0) - loads[g, binding]
    least = loads[h, binding] - limit * (free[h] if binding < kv else 1.0)
    for a in range(m_g):
        left = most + columns[binding, 0, 0, a] + price * taken[0, a, 0]
        first = 0 if far else _above(keys, order, m_h, least + left - most)
        for at in range(first, m_h):
            b = order[at]
            if keys[b] >= left:
                break
            moved, more = taken[0, a, 0] - taken[1, b, 0], taken[0, a, 1] - taken[1, b, 1]
            if not (
                left_enough(packing, g, moved, more) and left_enough(packing, h, -moved, -more)
            ):
                continue
            value = _outcome(packing, g, h, a, b, sizes, best, limit, level, scratch)
            if value < best:
                best, best_g, best_h = value, a, b
                limit = _most_of(best, level)
    if best_g < 0:
        return False
    for x in range(3):
        out[x], back[x] = slots[0, best_g, x], slots[1, best_h, x]
    return True


@kernel
def _outcome(
    packing: Packing,
    g: int,
    h: int,
    a: int,
    b: int,
    sizes: tuple[int, int],
    best: float,
    limit: float,
    level: float,
    scratch: TrialScratch,
) -> float:
    """Return the cost of two GPUs after they exchange two subsets; ``inf`` if that is not better.

    Parameters
    ----------
    packing, g, h, level, scratch
        As of `least_pressure`.
    a, b
        Subsets of either side, of which there are so many as `sizes` says.
    best, limit
        Cost that it must be below, and the pressure of either GPU.
    """
    _, _, taken, columns, built, dims, _, _ = scratch
    free, loads, kv = packing.free, packing.loads, packing.kv
    far, moved = int(packing.type_of[g] != packing.type_of[h]), taken[0, a, 0] - taken[1, b, 0]
    one, other, value = 0.0, 0.0, 0.0
    for i in range(loads.shape[1]):
        d = dims[i]
        if not built[d]:
            _column(packing, g, h, d, sizes, scratch)
        load_g = loads[g, d] - columns[d, 0, 0, a] + columns[d, 1, far, b]
        load_h = loads[h, d] + columns[d, 0, far, a] - columns[d, 1, 0, b]
        if d < kv:
            load_g, load_h = load_g / (free[g] + moved), load_h / (free[h] - moved)
        if load_g <= one and load_h <= other:
            continue
        one, other = max(one, load_g), max(other, load_h)
        value = np.inf if max(one, other) >= limit else _both(one, other, level)
        if value >= best:
            dims[i], dims[max(i - 1, 0)] = dims[max(i - 1, 0)], d
            return np.inf
    return value


@kernel
def _above(keys: Floats, order: Ints, count: int, least: float) -> int:
    """Return the first place in the order at which a key exceeds a value."""
    first, end = 0, count
    while first < end:
        middle = (first + end) // 2
        if keys[order[middle]] <= least:
            first = middle + 1
        else:
            end = middle
    return first


@kernel
def _column(
    packing: Packing, g: int, h: int, d: int, sizes: tuple[int, int], scratch: TrialScratch
) -> None:
    """Sum up one load of all subsets of either side, here and on the other GPU."""
    slots, parents, _, columns, built, _, _, _ = scratch
    table, item = packing.table, packing.item
    here, there = packing.type_of[g], packing.type_of[h]
    built[d] = 1
    for side in range(2):
        for where in range(2 if here != there else 1):
            type_ = here if side == where else there
            columns[d, side, where, 0] = 0.0
            for at in range(1, sizes[side]):
                one, rest = parents[side, at, 0], parents[side, at, 1]
                columns[d, side, where, at] = (
                    table[item[slots[side, at, 0]], type_, d]
                    if one == 0
                    else columns[d, side, where, one] + columns[d, side, where, rest]
                )


@kernel
def _subsets(packing: Packing, g: int, side: int, turn: int, scratch: TrialScratch) -> int:
    """Fill in the subsets of a GPU's models, and the bytes that they take."""
    slots, parents, taken, _, _, _, _, _ = scratch
    width, k = slots.shape[1], packing.models[g]
    some = min(k, width - 1)
    _fill(scratch, side, 0, -1)
    taken[side, 0, 0] = taken[side, 0, 1] = 0
    for i in range(some):
        slot = packing.start[g] + (i + turn) % k
        _fill(scratch, side, i + 1, slot)
        parents[side, i + 1, 0] = parents[side, i + 1, 1] = 0
        taken[side, i + 1, 0], taken[side, i + 1, 1] = packing.size[slot], packing.keep[slot]
    count: int = 1 + some
    for i in range(2, some + 1):
        for j in range(1, i):
            if count == width:
                return count
            _join(scratch, side, count, i, j)
            count += 1
    twos = count
    if twos + some * (some - 1) * (some - 2) // 6 > width:
        return count
    for at in range(1 + some, twos):
        for i in range(1, some + 1):
            if slots[side, i, 0] > slots[side, at, 0]:
                _join(scratch, side, count, i, at)
                count += 1
    return count


@kernel
def _fill(scratch: TrialScratch, side: int, at: int, slot: int) -> None:
    """Fill in a subset of one slot; none where that is -1."""
    slots = scratch[0]
    slots[side, at, 0], slots[side, at, 1], slots[side, at, 2] = slot, -1, -1


@kernel
def _join(scratch: TrialScratch, side: int, at: int, one: int, rest: int) -> None:
    """Fill in the subset of a model and the models of another subset, the last slot first."""
    slots, parents, taken, _, _, _, _, _ = scratch
    slot, after = slots[side, one, 0], 0
    _fill(scratch, side, at, -1)
    for x in range(2):
        other = slots[side, rest, x]
        after += other > slot
        slots[side, at, x + (other < slot)] = other
    slots[side, at, after] = slot
    parents[side, at, 0], parents[side, at, 1] = one, rest
    for x in range(2):
        taken[side, at, x] = taken[side, one, x] + taken[side, rest, x]


@kernel
def sort(keys: Floats, order: Ints, count: int) -> None:
    """Fill in the order of some keys, ascending; by insertion, as they are few."""
    for i in range(count):
        at = i
        while at > 0 and keys[order[at - 1]] > keys[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
