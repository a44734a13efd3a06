"""Partners for hot GPUs among all others at once, by sorted sizes.

At a target T a model's size is ``s + l / T``, and a GPU is at T or below if what it holds is no
larger than its memory. So a GPU that exceeds its memory by e needs a subset of another's models
that is smaller than one of its own by at least e, and by no more than the other has left. All
subsets of many colder GPUs are sorted by size; those that suit a subset are then neighbours, and
are found by bisection. Pairs of GPUs drawn at random seldom suit each other where few models share
a GPU.
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_kernel import carry_out
from kvplace.solver.kernels import kernel

MEMBERS = 3
"""Models in a subset at most."""
LOOKED_AT = 7
"""Models of a GPU that are looked at: they have 64 subsets of up to three."""
POSITION_BITS = 8
PARTNERS, LEAST_PARTNERS = 16, 4096
"""Colder GPUs whose subsets are sorted, for each hot one and in all, the coldest."""
SORTED = 1_000_000
"""Subsets sorted at once, at most."""
NEIGHBOURS = 64
"""Subsets looked at, at most, for each of a hot GPU's."""


def applies(packing: Packing) -> bool:
    """Whether sizes say what suits: under one pressure, on KV memory, alike on all GPUs."""
    return packing.loads.shape[1] == 1 and packing.kv == 1 and packing.table.shape[1] == 1


def colder(packing: Packing, pressure: Floats, target: float, hot: int) -> Ints:
    """Return the GPUs whose subsets are worth sorting: the coldest, all at a target or below.

    Parameters
    ----------
    packing
        The assignment.
    pressure
        (g,) of each GPU.
    target
        Pressure at which a GPU is not hot.
    hot
        How many are.
    """
    found = np.flatnonzero(pressure <= target)
    each = max(1.0, float(_counts(packing.models[found]).mean())) if len(found) else 1.0
    most = int(min(max(LEAST_PARTNERS, PARTNERS * hot), SORTED / each))
    if most < len(found):
        found = found[np.argpartition(pressure[found], most)[:most]]
    return found


def subsets_of(packing: Packing, gpus: Ints, target: float) -> tuple[Floats, Ints]:
    """Return the subsets of some GPUs in ascending order: sizes at a target, and codes.

    A code is the place in `gpus` and the positions of the models in the GPU's row, counted from 1,
    eight bits each, as `_slots_of` reads them.
    """
    count = int(_counts(packing.models[gpus]).sum())
    sizes, codes = np.empty(count), np.empty(count, dtype=np.int64)
    _fill(packing, gpus, target, sizes, codes)
    order = np.argsort(sizes, kind="stable")
    return sizes[order], codes[order]


def _counts(models: Ints) -> Ints:
    """Return how many subsets GPUs have that hold so many models, the empty one included."""
    k = np.minimum(models, LOOKED_AT)
    found: Ints = 1 + k + k * (k - 1) // 2 + k * (k - 1) * (k - 2) // 6
    return found


@kernel
def _fill(packing: Packing, gpus: Ints, target: float, sizes: Floats, codes: Ints) -> int:
    """Fill in the subsets of up to three models of some GPUs; return how many."""
    n = 0
    for place in range(len(gpus)):
        at = packing.start[gpus[place]]
        k = min(packing.models[gpus[place]], LOOKED_AT)
        code = place << (MEMBERS * POSITION_BITS)
        sizes[n], codes[n] = 0.0, code
        n += 1
        for a in range(k):
            one = _size(packing, at + a, target)
            sizes[n], codes[n] = one, code | (a + 1)
            n += 1
            for b in range(a):
                two = one + _size(packing, at + b, target)
                coded = code | (a + 1) | (b + 1) << POSITION_BITS
                sizes[n], codes[n] = two, coded
                n += 1
                for c in range(b):
                    sizes[n] = two + _size(packing, at + c, target)
                    codes[n] = coded | (c + 1) << (2 * POSITION_BITS)
                    n += 1
    return n


@kernel
def match(
    packing: Packing, hot: Ints, cold: Ints, target: float, sizes: Floats, codes: Ints
) -> int:
    """Bring hot GPUs to a target, each by an exchange with one other; return how many were made.

    Parameters
    ----------
    packing
        Changed in place.
    hot, cold
        GPUs above the target, in the order in which they are served, and others, none of them
        above it.
    target
        Pressure that both GPUs of an exchange have at most afterwards.
    sizes, codes
        Subsets of the others as of `subsets_of`.
    """
    own, own_codes = np.empty(1 << LOOKED_AT), np.empty(1 << LOOKED_AT, np.int64)
    out, back = np.empty(MEMBERS, np.int64), np.empty(MEMBERS, np.int64)
    room, one = np.empty(len(cold)), np.empty(1, np.int64)
    for place in range(len(cold)):
        room[place] = _room(packing, cold[place], target)
    most = room.max() if len(cold) else 0.0
    done = 0
    for g in hot:
        one[0] = g
        excess = -_room(packing, g, target)
        for a in range(1, _fill(packing, one, target, own, own_codes)):
            at = _suited(own[a] - excess, own[a], most, sizes, codes, room)
            if at < 0:
                continue
            place = codes[at] >> (MEMBERS * POSITION_BITS)
            _slots_of(own_codes[a], packing.start[g], out)
            _slots_of(codes[at], packing.start[cold[place]], back)
            if carry_out(packing, g, cold[place], out, back):
                room[place] = -1.0  # its subsets are no longer what was sorted
                done += 1
                break
    return done


@kernel
def _suited(
    largest: float, given: float, most: float, sizes: Floats, codes: Ints, room: Floats
) -> int:
    """Return the largest subset up to a size whose GPU has room for what is given, or -1."""
    at = int(np.searchsorted(sizes, largest, side="right")) - 1
    last = max(-1, at - NEIGHBOURS)
    while at > last and given - sizes[at] <= most:
        if given - sizes[at] <= room[codes[at] >> (MEMBERS * POSITION_BITS)]:
            return int(at)
        at -= 1
    return -1


@kernel
def _size(packing: Packing, slot: int, target: float) -> float:
    """Return the bytes that the model of a slot takes at a target."""
    return float(packing.size[slot] + packing.load[slot] / target)


@kernel
def _room(packing: Packing, g: int, target: float) -> float:
    """Return the bytes that a GPU has left at a target; what is missing, below 0."""
    return float(packing.free[g] - packing.loads[g, 0] / target)


@kernel
def _slots_of(code: int, at: int, slots: Ints) -> None:
    """Fill in the slots of a subset, the last first, and -1 for those that it has not."""
    for i in range(MEMBERS):
        position = (code >> (i * POSITION_BITS)) & ((1 << POSITION_BITS) - 1)
        slots[i] = at + position - 1 if position else -1
