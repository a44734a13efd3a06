"""Fills GPUs one after the other under several pressures, each near a target and none above it.

What all models take is less than what all GPUs have at a target. A GPU may leave a part of the
difference unused, at first little, as many models are left to choose from, and later more. Filling
begins with the model whose loads change most from window to window. Of random company for it that
is taken which evens them out most. Then a pair of models is looked for among all that are left: the
two fit, and the GPU is as full as it is to be. Pressures of which more than elsewhere is left go
first. What is left at the end goes on the last GPUs, which have most room.

Sums are of single precision: what is found is measured again.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.chance import Bits, drawn, drawn_part, seeded
from kvplace.solver.instance.columns import Columns
from kvplace.solver.kernels import kernel

BINDING = 0.9
"""Part of the scarcest pressure above which one counts as scarce."""
COMPANIES, PAIRS = 400, 30
"""Random companies that one is taken from, and pairs."""
SPARED = 0.7
"""Part of the room left in the mean that a GPU leaves: the others may leave more."""
WIDTH = 0.005
"""How far a GPU may be from as full as it is to be."""
AHEAD = 2.0
"""How much more than their part a company takes of pressures of which more is left."""
MISSES, RAISED, HIGHEST = 500, 0.002, 0.03
"""Models in turn without a pair after which GPUs may be fuller by a part, and by what at most."""
FIRST = 6
"""Pressures, the scarcest, in which pairs are compared side by side."""
MOST = 40
"""Models on a GPU."""
EXACT = 1 - 1e-6
"""Part of a GPU that single precision may fill."""

Floats32 = NDArray[np.float32]


class _Pool(NamedTuple):
    """Models that have no GPU yet, in ascending order of what they take.

    Parameters
    ----------
    parts
        (limits, n) part of a GPU that each takes by each limit, the scarce ones first.
    whole, urgency
        (n,) what each takes in the mean of the scarce limits; and how soon it is placed.
    item
        (n,) their numbers.
    """

    parts: Floats32
    whole: Floats32
    urgency: Floats32
    item: Ints


class _Fit(NamedTuple):
    """Room to look for pairs among the models that still fit.

    Parameters
    ----------
    excess
        (n,) by how much each is too large.
    parts, whole, item
        As of `_Pool`, of those that fit, by the limits that leave least.
    """

    excess: Floats32
    parts: Floats32
    whole: Floats32
    item: Ints


def fill_by_pairs(columns: Columns, target: float, seed: int, halted: Ints) -> Ints:
    """Return (n,) the GPU of each undivided model, -1 of those that are left over.

    GPUs are all alike. Those that are filled come first.

    Parameters
    ----------
    columns
        The problem, under several pressures.
    target
        Pressure that no GPU exceeds.
    seed
        Of the companies.
    halted
        Ends it early, as of `halting`.
    """
    kv, memory = columns.kv, float(columns.memory[0])
    parts = np.vstack([columns.loads[:, 0].T / target, columns.size + columns.keep])
    parts[:kv] += columns.size
    parts[:kv] /= memory
    parts[-1] /= max(memory - 1, 1.0)
    total = parts.sum(axis=1)
    order = np.argsort(-total, kind="stable")
    bytes_ = int(order.argmax())
    parts, total = parts[order], total[order] / columns.g
    scarce = max(int((total >= BINDING * total[0]).sum()), 1)
    whole = parts[:scarce].sum(axis=0) * (total[0] / total[:scarce].sum())
    uneven = parts[:scarce] - whole * (total[:scarce, None] / total[0])
    order = np.argsort(whole, kind="stable")
    pool = _Pool(
        np.ascontiguousarray(parts[:, order], dtype=np.float32),
        whole[order].astype(np.float32),
        np.square(uneven).sum(axis=0)[order].astype(np.float32),
        order,
    )
    gpu_of = np.full(columns.n, -1, dtype=np.int64)
    shape = total[:scarce] / total[0]
    fill(pool, columns.g, shape, bytes_, seeded(seed), halted, gpu_of)
    return gpu_of


@kernel
def fill(
    pool: _Pool, gpus: int, shape: Floats, bytes_: int, chance: Bits, halted: Ints, gpu_of: Ints
) -> int:
    """Fill so many GPUs as long as pairs are found, a little fuller in the end; return how many.

    Parameters
    ----------
    pool
        Changed in place.
    gpus
        How many.
    shape
        (scarce limits,) what all models take by each, as a part of the most.
    bytes_
        Which limit is of memory, and not a pressure: it is never exceeded.
    chance, halted
        As of `fill_by_pairs`.
    gpu_of
        Filled in.
    """
    parts, whole, urgency, item = pool
    limits, n = parts.shape
    fit = _Fit(
        np.empty(n, np.float32), np.empty((min(FIRST, limits), n), np.float32),
        np.empty(n, np.float32), np.empty(n, np.int64),
    )  # fmt: skip
    held, room, ahead = np.empty(MOST, np.int64), np.empty(limits, np.float32), np.empty(len(shape))
    left = np.zeros(limits)
    for d in range(limits):
        for j in range(n):
            left[d] += parts[d, j]
    done, misses, most = 0, 0, EXACT
    while done < gpus and most < EXACT + HIGHEST and n > 2 and not halted[0]:
        mean = left[: len(shape)].sum() / shape.sum() / (gpus - done)
        full = 1 - SPARED * (1 - mean)
        for d in range(len(shape)):
            ahead[d] = left[d] / (shape[d] * mean * (gpus - done)) - 1
        first = int(urgency[:n].argmax())
        count = int(n / (gpus - done) + drawn_part(chance))
        some = held[: max(min(count, MOST) - 2, 1)]
        some[0], a, b = first, -1, -1
        if _company(pool, n, full, shape, ahead, chance, some):
            rest = full
            for j in some:
                rest -= whole[j]
            for d in range(limits):
                room[d] = EXACT if d == bytes_ else most
                if d < len(shape) and ahead[d] < 0:
                    room[d] += ahead[d]
                for j in some:
                    room[d] -= parts[d, j]
            a, b = _pair(pool, n, room, rest, ahead, some, chance, fit)
        if a < 0:
            urgency[first] *= -1  # it waits until a GPU is filled
            misses += 1
            if misses == MISSES:
                misses, most = 0, most + RAISED
            continue
        misses, taken = 0, len(some) + 2
        held[taken - 2], held[taken - 1] = a, b
        for j in held[:taken]:
            gpu_of[item[j]] = done
            item[j] = -1
            for d in range(limits):
                left[d] -= parts[d, j]
        n, done = _closed_up(pool, n), done + 1
        urgency[:n] = np.abs(urgency[:n])
    return done


@kernel
def _closed_up(pool: _Pool, n: int) -> int:
    """Leave out those that have a GPU; return how many are left."""
    parts, whole, urgency, item = pool
    at = 0
    for j in range(n):
        if item[j] >= 0:
            if at < j:
                whole[at], urgency[at], item[at] = whole[j], urgency[j], item[j]
                for d in range(len(parts)):
                    parts[d, at] = parts[d, j]
            at += 1
    return at


@kernel
def _company(
    pool: _Pool, n: int, full: float, shape: Floats, ahead: Floats, chance: Bits, held: Ints
) -> bool:
    """Fill in all but the first of some models on a GPU, the most even company of random ones.

    Return whether any leaves room for two more.
    """
    parts, whole = pool.parts, pool.whole
    some, best = held.copy(), np.inf
    largest = 2.0 * whole[n // 2] + 0.1
    for _ in range(COMPANIES):
        mean, alike = float(whole[some[0]]), False
        for i in range(1, len(some)):
            some[i] = drawn(chance, n)
            mean += whole[some[i]]
            for other in some[:i]:
                alike |= other == some[i]
        if alike or not 2 * whole[0] <= full - mean <= largest:
            continue
        uneven = 0.0
        for d in range(len(shape)):
            load = np.float32(0)
            for j in some:
                load += parts[d, j]
            uneven += (load - mean * shape[d] * (1 + AHEAD * ahead[d])) ** 2
        if uneven < best:
            best = uneven
            held[:] = some
    return best < np.inf


@kernel
def _pair(
    pool: _Pool,
    n: int,
    room: Floats32,
    rest: float,
    ahead: Floats,
    held: Ints,
    chance: Bits,
    fit: _Fit,
) -> tuple[int, int]:
    """Return the pair that takes most of what is left over most, of some that fill a GPU; or -1."""
    order = np.argsort(room)
    c = _fitting(pool, n, room, order, held, fit)
    parts, whole, excess = fit.parts, fit.whole, fit.excess
    left, found, most, best = room[order[:FIRST]], 0, -np.inf, (-1, -1)
    begin = drawn(chance, c) if c else 0
    for turn in range(c):
        a = (begin + turn) % c
        low = int(np.searchsorted(whole[:a], np.float32(rest - WIDTH - whole[a])))
        high = int(np.searchsorted(whole[:a], np.float32(rest + WIDTH - whole[a])))
        if high <= low:
            continue
        _exceed(parts, left, a, low, high, excess)
        for b in range(low, high):
            if excess[b] <= 0 and _holds(pool, room, order, fit.item[a], fit.item[b]):
                value = 0.0
                for d in range(len(ahead)):
                    one, two = pool.parts[d, fit.item[a]], pool.parts[d, fit.item[b]]
                    value += (one + two) * ahead[d]
                if value > most:
                    most, best = value, (fit.item[a], fit.item[b])
                found += 1
                if found >= PAIRS:
                    return best
    return best


@kernel
def _fitting(pool: _Pool, n: int, room: Floats32, order: Ints, held: Ints, fit: _Fit) -> int:
    """Fill in the models that fit, by the limits that leave least; return how many."""
    excess = fit.excess
    excess[:n] = -np.inf
    for d in range(len(room)):
        part, most = pool.parts[d], room[d]
        for j in range(n):
            excess[j] = max(excess[j], part[j] - most)
    for j in held:
        excess[j] = np.inf
    c = 0
    for j in range(n):
        if excess[j] <= 0:
            fit.item[c], fit.whole[c] = j, pool.whole[j]
            c += 1
    for i in range(len(fit.parts)):
        part = pool.parts[order[i]]
        for at in range(c):
            fit.parts[i, at] = part[fit.item[at]]
    return c


@kernel
def _exceed(parts: Floats32, left: Floats32, a: int, low: int, high: int, excess: Floats32) -> None:
    """Fill in by how much one model with each of some others is too large in the first limits."""
    excess[low:high] = -np.inf
    for i in range(len(left)):
        part, most = parts[i], left[i] - parts[i, a]
        for b in range(low, high):
            excess[b] = max(excess[b], part[b] - most)


@kernel
def _holds(pool: _Pool, room: Floats32, order: Ints, one: int, two: int) -> bool:
    """Return whether two models fit by the other limits, too."""
    fits = True
    for d in order[FIRST:]:
        fits &= pool.parts[d, one] + pool.parts[d, two] <= room[d]
    return fits


COMPILED = (fill,)
"""The kernel that filling calls; all others are part of it."""
