"""Packing: who is where, in rows that kernels change in place.

Each GPU has a row of slots in a few long arrays, with room for a few models more than it holds;
so a kernel reads what a GPU holds from neighbouring memory, and kernels on different GPUs never
touch the same slot.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.instance.columns import Columns

__all__ = ["Packing", "pack_rows"]

SLACK = 4
"""Free slots of a row besides half as many as it holds."""


class Packing(NamedTuple):
    """An assignment under change; a tuple, because kernels take those.

    Parameters
    ----------
    start, models
        (g + 1,) first slot of each row, and (g,) models in it.
    item, size, keep, load
        (slots,) model, its bytes, its least KV bytes and its load.
    memory, free, kept, loads
        (g,) usable and free bytes, least KV bytes and load of each GPU.
    base
        (g,) load on each GPU of what is not in the rows and stays where it is.
    group
        (n,) of each model; two of one group never share a GPU.
    spare
        (g,) bytes that a change which takes memory of a GPU must leave free there.
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

    def kvpr(self) -> Floats:
        """Return the KVPR per GPU; ``inf`` where the memory is exceeded."""
        short = self.free < np.maximum(1, self.kept)
        kvpr: Floats = np.where(short, np.inf, self.loads / np.where(short, 1, self.free))
        kvpr[(self.models == 0) & (self.base == 0)] = 0.0
        return kvpr

    def gpu_of(self, n: int) -> Ints:
        """Return the GPU of each of the n models."""
        rows = len(self.models)
        owner = np.repeat(np.arange(rows), np.diff(self.start))
        held = np.arange(len(self.item)) - self.start[owner] < self.models[owner]
        gpu_of = np.full(n, -1, dtype=np.int64)
        gpu_of[self.item[held]] = owner[held]
        return gpu_of


def pack_rows(
    numbers: Columns,
    gpu_of: Ints,
    base: Floats | None = None,
    kept: Ints | None = None,
    group: Ints | None = None,
    spare: Ints | None = None,
) -> Packing:
    """Return the packing of an assignment.

    Parameters
    ----------
    numbers
        The models, and the memory that is left to them.
    gpu_of
        (n,) GPU per model.
    base, kept
        (g,) load and least KV bytes of what else is on each GPU; None for nothing.
    group
        (n,) as in `Packing`; None where all may share a GPU.
    spare
        (g,) as in `Packing`; None for nothing.
    """
    g = numbers.g
    base = np.zeros(g) if base is None else base
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
    held = np.concatenate([[0], np.cumsum(numbers.size[order])])
    keeps = np.concatenate([[0], np.cumsum(numbers.keep[order])])
    return Packing(
        start=start,
        models=count,
        item=filled(np.arange(numbers.n)),
        size=filled(numbers.size),
        keep=filled(numbers.keep),
        load=filled(numbers.load),
        memory=numbers.memory,
        free=numbers.memory - (held[first + count] - held[first]),
        kept=least + keeps[first + count] - keeps[first],
        loads=base + np.bincount(gpu_of, weights=numbers.load, minlength=g),
        base=base,
        group=np.arange(numbers.n) if group is None else group,
        spare=np.zeros(g, dtype=np.int64) if spare is None else spare,
    )
