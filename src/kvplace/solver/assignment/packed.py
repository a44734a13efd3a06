"""Packing: who is where, in rows that kernels change in place.

Each GPU has a row of slots in a few long arrays, with room for a few models more than it holds;
so a kernel reads what a GPU holds from neighbouring memory, and kernels on different GPUs never
touch the same slot.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.pressure import pressures

CHANGING = ("models", "item", "size", "keep", "load", "free", "kept", "loads")
"""What of a packing kernels change."""
SLACK = 4
"""Free slots of a row besides half as many as it holds."""


class Items(NamedTuple):
    """What is packed, each thing on one GPU.

    Parameters
    ----------
    size, keep
        (n,) bytes resident, and bytes of KV that must be left.
    table
        (n, load types, pressures) loads.
    kv
        Number of pressures on KV memory; those on time follow.
    """

    size: Ints
    keep: Ints
    table: Floats
    kv: int


class Packing(NamedTuple):
    """An assignment under change; a tuple, because kernels take those.

    Parameters
    ----------
    start, models
        (g + 1,) first slot of each row, and (g,) models in it.
    item, size, keep, load
        (slots,) model, its bytes, its least KV bytes and its first load on KV memory.
    memory, free, kept
        (g,) usable and free bytes, and least KV bytes of each GPU.
    loads, base
        (g, pressures) loads on each GPU, and of what is not in the rows and stays where it is.
    group
        (n,) of each model; two of one group never share a GPU.
    spare
        (g,) bytes that a change which takes memory of a GPU must leave free there.
    type_of, table, kv
        (g,) load type of each GPU; the loads of each model, and how many are on KV memory.
    """

    start: Ints
    models: Ints
    item: Ints
    size: Ints
    keep: Ints
    load: Floats
    memory: Ints
    free: Ints
    kept: Ints
    loads: Floats
    base: Floats
    group: Ints
    spare: Ints
    type_of: Ints
    table: Floats
    kv: int

    def copy(self) -> "Packing":
        """Return an equal packing, which kernels change by itself."""
        return self._replace(**{name: getattr(self, name).copy() for name in CHANGING})

    def take(self, other: "Packing") -> None:
        """Become equal to a copy."""
        for name in CHANGING:
            getattr(self, name)[:] = getattr(other, name)

    def pressure(self) -> Floats:
        """Return the pressure per GPU; ``inf`` where the memory is exceeded."""
        found = pressures(self.free, self.kept, self.loads.T, self.kv)
        found[(self.models == 0) & (self.base == 0).all(axis=1)] = 0.0
        return found

    def gpu_of(self, n: int) -> Ints:
        """Return the GPU of each of the n models."""
        rows = len(self.models)
        owner = np.repeat(np.arange(rows), np.diff(self.start))
        held = np.arange(len(self.item)) - self.start[owner] < self.models[owner]
        gpu_of = np.full(n, -1, dtype=np.int64)
        gpu_of[self.item[held]] = owner[held]
        return gpu_of


def pack_rows(columns: Columns, gpu_of: Ints, spare: Ints | None = None) -> Packing:
    """Return the packing of undivided models of which each, (n,), is on a GPU.

    `spare` is as in `Packing`; None for nothing.
    """
    items = Items(columns.size, columns.keep, columns.loads, columns.kv)
    return pack_items(items, columns.memory, columns.type_of, gpu_of, spare=spare)


def pack_items(
    items: Items,
    memory: Ints,
    type_of: Ints,
    gpu_of: Ints,
    base: Floats | None = None,
    kept: Ints | None = None,
    group: Ints | None = None,
    spare: Ints | None = None,
) -> Packing:
    """Return the packing of an assignment.

    Parameters
    ----------
    items
        What is packed.
    memory, type_of
        (g,) bytes that they share with nothing else, and load type of each GPU.
    gpu_of
        (n,) GPU of each.
    base, kept
        Loads and least KV bytes of what else is on each GPU; None for nothing.
    group
        (n,) as in `Packing`; None where all may share a GPU.
    spare
        (g,) as in `Packing`; None for nothing.
    """
    g, width = len(memory), items.table.shape[2]
    base = np.zeros((g, width)) if base is None else base
    least = np.zeros(g, dtype=np.int64) if kept is None else kept
    count = np.bincount(gpu_of, minlength=g)
    start = np.concatenate([[0], np.cumsum(count + count // 2 + SLACK)])
    order = np.argsort(gpu_of, kind="stable")
    first = np.cumsum(count) - count
    slot = np.arange(len(order)) + np.repeat(start[:-1] - first, count)

    def filled(values: Ints | Floats) -> np.ndarray:
        row = np.zeros(start[-1], dtype=values.dtype)
        row[slot] = values[order]
        return row

    # Sums along the rows, in their order: bytes exact, loads as a kernel would sum them.
    held = np.concatenate([[0], np.cumsum(items.size[order])])
    keeps = np.concatenate([[0], np.cumsum(items.keep[order])])
    loads = np.empty((g, width))
    for at in range(width):
        one = items.table[:, 0, at]
        if items.table.shape[1] > 1:
            one = items.table[np.arange(len(gpu_of)), type_of[gpu_of], at]
        loads[:, at] = base[:, at] + np.bincount(gpu_of, weights=one, minlength=g)
    return Packing(
        start=start,
        models=count,
        item=filled(np.arange(len(gpu_of))),
        size=filled(items.size),
        keep=filled(items.keep),
        load=filled(np.ascontiguousarray(items.table[:, 0, 0])),
        memory=memory,
        free=memory - (held[first + count] - held[first]),
        kept=least + keeps[first + count] - keeps[first],
        loads=loads,
        base=base,
        group=np.arange(len(gpu_of)) if group is None else group,
        spare=np.zeros(g, dtype=np.int64) if spare is None else spare,
        type_of=type_of,
        table=items.table,
        kv=items.kv,
    )
