"""Starts in O(n log n): most room first, and first fit decreasing with bisection.

Most room first is Graham's longest processing time first (SIAM J. Appl. Math. 17, 1969) with
room for time; first fit decreasing under bisection of the target is MULTIFIT (Coffman, Garey
and Johnson, SIAM J. Comput. 7, 1978).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Items, Packing, pack_rows
from kvplace.solver.bisection import best_below, reach_above
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.pressure import fits
from kvplace.solver.kernels import compiled_in_time, kernel

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
        order, place = np.argsort(-keys, kind="stable"), _scan if scan else _heap
        fill = _Fill(
            Items(columns.size, columns.keep, columns.loads, columns.kv), columns.type_of,
            columns.memory, level, columns.memory.copy(), np.zeros_like(columns.memory),
            np.repeat(columns.memory[:, None].astype(np.float64), part.shape[1], axis=1),
            np.empty(columns.n, dtype=np.int64),
        )  # fmt: skip
        if not compiled_in_time(place, partial(place, order[:0], fill), ended):
            return found
        if place(order, fill) == columns.n:
            found.append(pack_rows(columns, fill.gpu_of))
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


class _Fill(NamedTuple):
    """What is placed along an order, and what GPUs have left.

    Parameters
    ----------
    items
        The models.
    type_of, memory
        (g,) load type and usable bytes of each GPU.
    level
        Pressure at which sizes are taken.
    free, kept, left
        (g,) free bytes and least KV bytes, and (g, pressures) room by each pressure.
    gpu_of
        (n,) filled in with the GPU of each model.
    """

    items: Items
    type_of: Ints
    memory: Ints
    level: float
    free: Ints
    kept: Ints
    left: Floats
    gpu_of: Ints


@kernel
def _heap(order: Ints, fill: _Fill) -> int:
    """Place along `order` on the GPU with most room; return how many were placed.

    `room` is a heap, the largest on top, and `gpus` what each of its places stands for: both
    children of a place are neighbours in memory. Under several pressures it is one of its first
    places, where the scarcest of them leaves most.
    """
    g, several = len(fill.memory), fill.left.shape[1] > 1
    # Memory descends, so this is a heap.
    room, gpus = fill.memory.astype(np.float64), np.arange(g)
    for at in range(len(order)):
        here = _roomiest(fill, order[at], gpus[:LOOKED]) if several else 0
        top = gpus[here]
        if here < 0 or not _holds(fill, order[at], top):
            return at
        _put(fill, order[at], top)
        value = fill.left[top].min()
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
def _scan(order: Ints, fill: _Fill) -> int:
    """Place along `order` where the least part of a GPU that is left is most; return how many."""
    gpus = np.arange(len(fill.memory))
    for at in range(len(order)):
        g = _roomiest(fill, order[at], gpus)
        if g < 0:
            return at
        _put(fill, order[at], g)
    return len(order)


@kernel
def _roomiest(fill: _Fill, j: int, gpus: Ints) -> int:
    """Return the place of the GPU of which a model leaves most, by the scarcest pressure, or -1."""
    items, type_of, memory, free, kept, left = (
        fill.items, fill.type_of, fill.memory, fill.free, fill.kept, fill.left
    )  # fmt: skip
    best, arg = -np.inf, -1
    for place in range(len(gpus)):
        g = gpus[place]
        if not _fits(free[g] - items.size[j], kept[g] + items.keep[j]):
            continue
        value = np.inf
        for d in range(left.shape[1]):
            taken = _taken(items, j, type_of[g], memory[g], fill.level, d)
            value = min(value, (left[g, d] - taken) / memory[g])
            if value <= best:
                break
        if value > best:
            best, arg = value, place
    return arg


@kernel
def _holds(fill: _Fill, j: int, g: int) -> bool:
    """Return whether the memory of a GPU holds a model."""
    return bool(_fits(fill.free[g] - fill.items.size[j], fill.kept[g] + fill.items.keep[j]))


@kernel
def _taken(items: Items, j: int, type_: int, memory: int, level: float, d: int) -> float:
    """Return what a model takes of a GPU's room by a pressure."""
    load = items.table[j, type_, d] / level
    return float(items.size[j] + load if d < items.kv else load * memory)


@kernel
def _put(fill: _Fill, j: int, g: int) -> None:
    """Put a model on a GPU."""
    fill.gpu_of[j] = g
    fill.free[g] -= fill.items.size[j]
    fill.kept[g] += fill.items.keep[j]
    for d in range(fill.left.shape[1]):
        fill.left[g, d] -= _taken(fill.items, j, fill.type_of[g], fill.memory[g], fill.level, d)


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
