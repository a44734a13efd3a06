"""Starts in O(n log n): most room first, and first fit decreasing with bisection.

Most room first is Graham's longest processing time first (SIAM J. Appl. Math. 17, 1969) with
room for time; first fit decreasing under bisection of the target is MULTIFIT (Coffman, Garey
and Johnson, SIAM J. Comput. 7, 1978).
"""

import math

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing, pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import kernel

__all__ = ["bisect_first_fit", "least_pressure_first", "most_room_first"]

SCANNED = 100_000_000
"""Models times GPUs up to which every GPU is looked at for every model."""
_fits = kernel(fits)

HALVINGS = 10
"""Steps of the bisection: to a thousandth of the interval."""


def most_room_first(numbers: Columns, level: float) -> Packing | None:
    """Give each model, the largest at the level first, to the GPU with the most room left.

    Parameters
    ----------
    numbers
        The problem.
    level
        KVPR at which a model's size is ``s + l / level``; ``inf`` for weights alone.

    Returns
    -------
    Packing or None
        None where a model finds too little memory on that GPU.
    """
    sizes = _sizes(numbers, level)
    gpu_of = np.empty(numbers.n, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    placed = _most_room(
        order, sizes, numbers.size, numbers.keep, numbers.memory.astype(np.float64),
        numbers.memory.copy(), np.zeros_like(numbers.memory), gpu_of,
    )  # fmt: skip
    return pack_rows(numbers, gpu_of) if placed == numbers.n else None


def least_pressure_first(columns: Columns, level: float) -> list[Packing]:
    """Give each model, the largest first, to the GPU that is then fullest by none of its pressures.

    At a level K a GPU is full by a pressure on memory where its ``sum(s + l / K)`` is its memory,
    and by one on time where its loads are K. Models are sorted by the largest part of a GPU that
    they take, and by the sum over all pressures.

    Parameters
    ----------
    columns
        The problem, under any number of pressures.
    level
        Pressure above 0.

    Returns
    -------
    list of Packing
        One for each order in which every model found memory.
    """
    largest = float(columns.memory[0])
    part = columns.loads.min(axis=1) / level
    part[:, : columns.kv] = (part[:, : columns.kv] + columns.size[:, None]) / largest
    found = []
    for keys in (part.max(axis=1), part.sum(axis=1)):
        gpu_of = np.empty(columns.n, dtype=np.int64)
        order = np.argsort(-keys, kind="stable")
        place = _least_full if columns.n * columns.g <= SCANNED else _emptiest
        placed = place(
            order, columns.size, columns.keep, columns.loads, columns.kv, level, columns.type_of,
            columns.memory, columns.memory.copy(), np.zeros_like(columns.memory), gpu_of,
        )  # fmt: skip
        if placed == columns.n:
            found.append(pack_rows(columns, gpu_of))
    return found


def bisect_first_fit(numbers: Columns, lower: float, watch: Watch) -> Packing | None:
    """Return the best packing that first fit decreasing finds by bisection of the target.

    Parameters
    ----------
    numbers
        The problem.
    lower
        A target below which nothing need be tried.
    watch
        Ends the bisection.
    """
    best, low, high = None, lower, math.inf
    step = 1.01
    for _ in range(64):  # up from the bound until a target is reached
        target = lower * step if lower > 0 else math.inf
        best = _first_fit_at(numbers, target if step < 1e6 else math.inf)
        if best is not None or step >= 1e6 or watch.stop:
            break
        low, step = target, 1 + (step - 1) * 2
    if best is None:
        return None
    high = float(best.pressure().max())
    for _ in range(HALVINGS):
        if high <= low * (1 + 1e-4) or watch.stop:
            break
        target = (low + high) / 2
        found = _first_fit_at(numbers, target)
        value = math.inf if found is None else float(found.pressure().max())
        if found is not None and value < high:
            best, high = found, value
        else:
            low = target
    return best


def _sizes(numbers: Columns, level: float) -> Floats:
    """Return (n,) sizes at a level; at infinity with the KV that must be left."""
    if math.isinf(level):
        return (numbers.size + numbers.keep).astype(np.float64)
    extra = numbers.load / level if level > 0 else np.zeros(numbers.n)
    return numbers.size.astype(np.float64) + extra


def _first_fit_at(numbers: Columns, target: float) -> Packing | None:
    """Pack at a target by first fit decreasing, large GPUs last; None where it does not work."""
    sizes = _sizes(numbers, target)
    order = np.argsort(-sizes, kind="stable")
    leaves = 1 << max(1, (numbers.g - 1).bit_length())
    tree = np.full(2 * leaves, -1.0)
    tree[leaves : leaves + numbers.g] = numbers.memory[::-1] - float(math.isinf(target))
    for first in (1 << level for level in range(leaves.bit_length() - 2, -1, -1)):
        both = tree[2 * first : 4 * first]
        tree[first : 2 * first] = np.maximum(both[::2], both[1::2])
    gpu_of = np.empty(numbers.n, dtype=np.int64)
    placed = _first_fit(
        order, sizes, numbers.size, numbers.keep, tree,
        numbers.memory[::-1].copy(), np.zeros_like(numbers.memory), gpu_of,
    )  # fmt: skip
    return pack_rows(numbers, numbers.g - 1 - gpu_of) if placed == numbers.n else None


@kernel
def _most_room(
    order: Ints,
    sizes: Floats,
    size: Ints,
    keep: Ints,
    room: Floats,
    free: Ints,
    kept: Ints,
    gpu_of: Ints,
) -> int:
    """Place along `order` with a heap of room, largest on top; return how many were placed.

    `room` is the heap, and `gpus` what each of its places stands for: both children of a place
    are neighbours in memory.
    """
    g = len(room)
    gpus = np.arange(g)  # memory descends, so this is a heap
    for at in range(len(order)):
        j = order[at]
        top = gpus[0]
        if not _fits(free[top] - size[j], kept[top] + keep[j]):
            return at
        gpu_of[j] = top
        free[top] -= size[j]
        kept[top] += keep[j]
        value = room[0] - sizes[j]
        here = 0
        while 2 * here + 1 < g:
            child = 2 * here + 1
            if child + 1 < g and room[child + 1] > room[child]:
                child += 1
            if room[child] <= value:
                break
            room[here], gpus[here] = room[child], gpus[child]
            here = child
        room[here], gpus[here] = value, top
    return len(order)


@kernel
def _first_fit(
    order: Ints,
    sizes: Floats,
    size: Ints,
    keep: Ints,
    tree: Floats,
    free: Ints,
    kept: Ints,
    gpu_of: Ints,
) -> int:
    """Place along `order` with a tournament tree of room; return how many were placed."""
    leaves = len(tree) // 2
    for at in range(len(order)):
        j = order[at]
        wanted = sizes[j]
        if tree[1] < wanted:
            return at
        node = 1
        while node < leaves:
            node *= 2
            if tree[node] < wanted:
                node += 1
        g = node - leaves
        if not _fits(free[g] - size[j], kept[g] + keep[j]):
            return at
        gpu_of[j] = g
        free[g] -= size[j]
        kept[g] += keep[j]
        tree[node] -= wanted
        node //= 2
        while node >= 1:
            largest = max(tree[2 * node], tree[2 * node + 1])
            if tree[node] == largest:
                break
            tree[node] = largest
            node //= 2
    return len(order)


@kernel
def _least_full(
    order: Ints,
    size: Ints,
    keep: Ints,
    table: Floats,
    kv: int,
    level: float,
    type_of: Ints,
    memory: Ints,
    free: Ints,
    kept: Ints,
    gpu_of: Ints,
) -> int:
    """Place along `order` where the fullest pressure is least; return how many were placed."""
    g, width = len(memory), table.shape[2]
    full = np.zeros((g, width))
    for at in range(len(order)):
        j = order[at]
        best, arg = np.inf, -1
        for h in range(g):
            if not _fits(free[h] - size[j], kept[h] + keep[j]):
                continue
            value = 0.0
            for d in range(width):
                more = table[j, type_of[h], d] / level
                if d < kv:
                    more = (more + size[j]) / memory[h]
                value = max(value, full[h, d] + more)
                if value >= best:
                    break
            if value < best:
                best, arg = value, h
        if arg < 0:
            return at
        _fill(j, arg, size, keep, table, kv, level, type_of, memory, free, kept, full)
        gpu_of[j] = arg
    return len(order)


@kernel
def _emptiest(
    order: Ints,
    size: Ints,
    keep: Ints,
    table: Floats,
    kv: int,
    level: float,
    type_of: Ints,
    memory: Ints,
    free: Ints,
    kept: Ints,
    gpu_of: Ints,
) -> int:
    """Place along `order` on the GPU that is least full before; return how many were placed.

    `gpus` is a heap of all GPUs, the least full on top.
    """
    g, width = len(memory), table.shape[2]
    full, most = np.zeros((g, width)), np.zeros(g)
    gpus = np.arange(g)
    for at in range(len(order)):
        j, top = order[at], gpus[0]
        if not _fits(free[top] - size[j], kept[top] + keep[j]):
            return at
        _fill(j, top, size, keep, table, kv, level, type_of, memory, free, kept, full)
        gpu_of[j] = top
        most[top] = full[top].max()
        here = 0
        while 2 * here + 1 < g:
            child = 2 * here + 1
            if child + 1 < g and most[gpus[child + 1]] < most[gpus[child]]:
                child += 1
            if most[gpus[child]] >= most[top]:
                break
            gpus[here] = gpus[child]
            here = child
        gpus[here] = top
    return len(order)


@kernel
def _fill(
    j: int,
    g: int,
    size: Ints,
    keep: Ints,
    table: Floats,
    kv: int,
    level: float,
    type_of: Ints,
    memory: Ints,
    free: Ints,
    kept: Ints,
    full: Floats,
) -> None:
    """Put a model on a GPU."""
    free[g] -= size[j]
    kept[g] += keep[j]
    for d in range(full.shape[1]):
        more = table[j, type_of[g], d] / level
        full[g, d] += (more + size[j]) / memory[g] if d < kv else more
