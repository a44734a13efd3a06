"""Starts in O(n log n): most room first, and first fit decreasing with bisection.

Most room first is Graham's longest processing time first (SIAM J. Appl. Math. 17, 1969) with
room for time; first fit decreasing under bisection of the target is MULTIFIT (Coffman, Garey
and Johnson, SIAM J. Comput. 7, 1978).
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Items, Packing, pack_rows
from kvplace.solver.bisection import best_below, reach_above
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import compiled_in_time, kernel

__all__ = ["bisect_first_fit", "most_room_first"]

SCANNED = 100_000_000
"""Models times GPUs up to which, of several pressures, each GPU is looked at for each model."""
LOOKED = 31
"""GPUs with most room that are looked at for each model above that."""
FIRST, LAST = 0.01, 1e6
"""Parts above the bound of the first and the last target."""
LATE = 0.25
"""Part above the bound of the first target where there is no time left for nearer ones."""
HALVINGS = 10
"""Steps of the bisection: to a thousandth of the interval."""

_fits = kernel(fits)


def most_room_first(
    columns: Columns, level: float, ended: Callable[[], object] = lambda: None
) -> list[Packing]:
    """Give each model, the largest at the level first, to the GPU with the most room left.

    At a level K a shard takes ``s + l / K`` bytes of a GPU by a pressure on KV memory, and a part
    ``u / K`` of it by one on time. The room of a GPU is what the scarcest of them leaves; under one
    pressure it is that before the model comes, under several that after, as a part of the GPU.

    Parameters
    ----------
    columns
        The problem.
    level
        Pressure at which sizes are taken.
    ended
        Whether the search is to end, which is heeded while the kernel is compiled.

    Returns
    -------
    list of Packing
        One for each order in which every model found memory: under several pressures the models
        are sorted by the largest part of a GPU that they take, and by the sum over all pressures;
        of very many models on very many GPUs, in the second order only where the first fails.
    """
    level = max(level, 1e-300)
    several = columns.loads.shape[2] > 1
    with np.errstate(over="ignore"):  # at a level near 0 every load is too much
        part = columns.loads.min(axis=1) / level
    part[:, : columns.kv] += columns.size[:, None]
    part[:, columns.kv :] *= float(columns.memory[0])
    scan = several and columns.n * columns.g <= SCANNED
    found: list[Packing] = []
    for keys in (part.max(axis=1), part.sum(axis=1)) if several else (part[:, 0],):
        gpu_of = np.empty(columns.n, dtype=np.int64)
        order = np.argsort(-keys, kind="stable")
        place = _scan if scan else _heap
        items = Items(columns.size, columns.keep, columns.loads, columns.kv)
        left = np.repeat(columns.memory[:, None].astype(np.float64), part.shape[1], axis=1)
        rest = (items, columns.type_of, columns.memory, level, left, gpu_of)
        if not compiled_in_time(place, partial(place, order[:0], *rest), ended):
            return found
        if place(order, *rest) == columns.n:
            found.append(pack_rows(columns, gpu_of))
            if not scan:  # another takes seconds, in which exchanges bring more
                break
    return found


def bisect_first_fit(
    columns: Columns, lower: float, watch: Watch, ended: Callable[[], object] = lambda: None
) -> Packing | None:
    """Return the best packing that first fit decreasing finds by bisection of the target.

    Under several pressures there is no bisection: models go by the memory that they must have.

    Parameters
    ----------
    columns
        The problem.
    lower
        A target below which nothing need be tried.
    watch
        Ends the bisection.
    ended
        As of `most_room_first`.
    """
    if not compiled_in_time(_first_fit, partial(_at, columns, math.inf, models=0), ended):
        return None
    if columns.loads.shape[2] > 1:
        return _at(columns, math.inf)
    best, low, _ = reach_above(partial(_at, columns), lower, FIRST, LAST, watch)
    if best is None and not ended():  # time is up before there is any start
        best, low, _ = reach_above(partial(_at, columns), lower, LATE, LAST)
    best = best or _at(columns, math.inf)
    if best is None:
        return None
    return best_below(
        partial(_at, columns), lambda found: float(found.pressure().max()), best, low,
        width=1e-4, most=HALVINGS, watch=watch,
    )  # fmt: skip


def _at(columns: Columns, target: float, models: int | None = None) -> Packing | None:
    """Pack at a target by first fit decreasing, large GPUs last; None where it does not work.

    Only so many models, the largest first, are placed if that is given.
    """
    finite = target < math.inf  # else a size includes the KV that must be left
    sizes = columns.size + (columns.load / target if finite else columns.keep.astype(np.float64))
    leaves = 1 << max(1, (columns.g - 1).bit_length())
    tree = np.full(2 * leaves, -1.0)
    tree[leaves : leaves + columns.g] = columns.memory[::-1] - float(not finite)
    for first in (1 << depth for depth in range(leaves.bit_length() - 2, -1, -1)):
        both = tree[2 * first : 4 * first]
        tree[first : 2 * first] = np.maximum(both[::2], both[1::2])
    gpu_of = np.empty(columns.n, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")[:models]
    memory = columns.memory[::-1].copy()
    placed = _first_fit(order, sizes, columns.size, columns.keep, tree, memory, gpu_of)
    return pack_rows(columns, columns.g - 1 - gpu_of) if placed == columns.n else None


@kernel
def _heap(
    order: Ints, items: Items, type_of: Ints, memory: Ints, level: float, left: Floats, gpu_of: Ints
) -> int:
    """Place along `order` on the GPU with most room; return how many were placed.

    `left` is (g, pressures) the room of each GPU, changed in place; `room` a heap, the largest on
    top, and `gpus` what each of its places stands for: both children of a place are neighbours in
    memory. Under several pressures it is one of its first places, where the scarcest of them leaves
    most.
    """
    g = len(memory)
    free, kept = memory.copy(), np.zeros_like(memory)
    room, gpus = memory.astype(np.float64), np.arange(g)  # memory descends, so this is a heap
    looked = 1 if items.table.shape[2] == 1 else min(g, LOOKED)
    for at in range(len(order)):
        j, here, best = order[at], -1, -np.inf
        for place in range(looked):
            h = gpus[place]
            if not _fits(free[h] - items.size[j], kept[h] + items.keep[j]):
                continue
            value = np.inf if looked > 1 else 0.0
            for d in range(items.table.shape[2] if looked > 1 else 0):
                rest = left[h, d] - _taken(items, j, type_of[h], memory[h], level, d)
                value = min(value, rest / memory[h])
            if value > best:
                best, here = value, place
        if here < 0:
            return at
        top = gpus[here]
        gpu_of[j] = top
        _put(items, j, top, type_of[top], memory[top], level, free, kept, left)
        value = left[top].min()
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
def _scan(
    order: Ints, items: Items, type_of: Ints, memory: Ints, level: float, left: Floats, gpu_of: Ints
) -> int:
    """Place along `order` where the least part of a GPU that is left is most; return how many."""
    g, width = len(memory), items.table.shape[2]
    free, kept = memory.copy(), np.zeros_like(memory)
    for at in range(len(order)):
        j = order[at]
        best, arg = -np.inf, -1
        for h in range(g):
            if not _fits(free[h] - items.size[j], kept[h] + items.keep[j]):
                continue
            value = np.inf
            for d in range(width):
                rest = left[h, d] - _taken(items, j, type_of[h], memory[h], level, d)
                value = min(value, rest / memory[h])
                if value <= best:
                    break
            if value > best:
                best, arg = value, h
        if arg < 0:
            return at
        gpu_of[j] = arg
        _put(items, j, arg, type_of[arg], memory[arg], level, free, kept, left)
    return len(order)


@kernel
def _taken(items: Items, j: int, type_: int, memory: int, level: float, d: int) -> float:
    """Return what a model takes of a GPU's room by a pressure."""
    load = items.table[j, type_, d] / level
    return float(items.size[j] + load if d < items.kv else load * memory)


@kernel
def _put(
    items: Items,
    j: int,
    g: int,
    type_: int,
    memory: int,
    level: float,
    free: Ints,
    kept: Ints,
    left: Floats,
) -> None:
    """Put a model on a GPU."""
    free[g] -= items.size[j]
    kept[g] += items.keep[j]
    for d in range(left.shape[1]):
        left[g, d] -= _taken(items, j, type_, memory, level, d)


@kernel
def _first_fit(
    order: Ints, sizes: Floats, size: Ints, keep: Ints, tree: Floats, free: Ints, gpu_of: Ints
) -> int:
    """Place along `order` with a tournament tree of room; return how many were placed."""
    leaves, kept = len(tree) // 2, np.zeros_like(free)
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
