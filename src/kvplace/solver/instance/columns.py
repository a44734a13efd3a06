"""The door between core's types and the arrays of the fleet-scale path.

The order inside is the canonical one of `kvplace.solver.instance.lists`: what models and GPUs are
decides it and, only between equals, their names.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvplace.core.placement import Assigned, Placement
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.instance.lists import load_placement

__all__ = [
    "Numbers",
    "fluid_level",
    "load_assignment",
    "load_numbers",
    "total",
    "unload_assignment",
]

EXACT_TOTAL = 2**62
"""Byte sums of 64-bit integers stay exact below this."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A problem of undivided single replicas as arrays; index = position in canonical order.

    Parameters
    ----------
    size, keep
        (n,) bytes resident per model, and bytes of KV that it must be left.
    load
        (n,) loads, times the objective's memory unit: KVPR = load / free bytes.
    memory
        (g,) usable bytes per GPU, descending.
    model_index, gpu_index
        Position of each in the problem and in the fleet.
    """

    size: Ints
    keep: Ints
    load: Floats
    memory: Ints
    model_index: Ints
    gpu_index: Ints

    @property
    def n(self) -> int:
        """Number of models."""
        return len(self.size)

    @property
    def hottest(self) -> int:
        """Position in the problem of the model with the highest KVPR alone on the largest GPU."""
        room = int(self.memory[0]) - self.size
        fits = room >= np.maximum(1, self.keep)
        alone = np.where(fits, self.load / np.where(fits, room, 1), np.inf)
        return int(self.model_index[alone.argmax()])

    @property
    def g(self) -> int:
        """Number of GPUs."""
        return len(self.memory)


def load_numbers(problem: Problem) -> Numbers:
    """Turn a problem into arrays."""
    gpus = problem.fleet.gpus
    size = np.frombuffer(problem.undivided_bytes, np.int64)
    keep = np.frombuffer(problem.min_kv_bytes, np.int64)
    load = np.array(problem.loads) * float(problem.goal.memory_unit_bytes)
    memory = np.fromiter((gpu.usable_bytes for gpu in gpus), np.int64, len(gpus))
    order = _canonical((-load, -size, -keep), problem.names.__getitem__)
    gpu_order = _canonical((-memory,), lambda g: gpus[g].id)
    return Numbers(size[order], keep[order], load[order], memory[gpu_order], order, gpu_order)


def load_assignment(problem: Problem, numbers: Numbers, placement: Placement) -> Ints:
    """Turn a placement of undivided single replicas into the GPU of each model."""
    return np.array(load_placement(problem, numbers, placement))


def unload_assignment(problem: Problem, numbers: Numbers, gpu_of: Ints) -> Placement:
    """Turn the GPU of each model into a placement."""
    real = np.empty(numbers.n, dtype=np.int64)
    real[numbers.model_index] = numbers.gpu_index[gpu_of]
    ids = [gpu.id for gpu in problem.fleet.gpus]
    return Placement(Assigned(problem.names, ids, array("q", real.tobytes())))


def _canonical(keys: tuple[NDArray[np.generic], ...], name: Callable[[int], str]) -> Ints:
    """Return the order by the keys, the first one first, and by name between equals."""
    order = np.argsort(keys[0])  # most often enough: what ties is put in order next
    tied = _ties(keys[:1], order)
    among = np.flatnonzero(np.concatenate([[False], tied]) | np.concatenate([tied, [False]]))
    held = order[among]
    order[among] = held[np.lexsort([key[held] for key in keys[::-1]])]
    same = _ties(keys, order)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        order[first : last + 1] = sorted(order[first : last + 1].tolist(), key=name)
    return order.astype(np.int64)


def _ties(keys: Sequence[NDArray[np.generic]], order: Ints) -> NDArray[np.bool_]:
    """Return for each but the first in an order whether it equals the one before."""
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        ranked = key[order]
        same &= ranked[1:] == ranked[:-1]
    return same


def _largest(values: Floats, count: int) -> Ints:
    """Return the positions of the largest values, the largest first, equals as they come."""
    if count < 1:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > least)
    found = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
    found.sort()
    order: Ints = found[np.argsort(-values[found], kind="stable")]
    return order


def total(whole: Ints) -> int:
    """Return the exact sum of whole numbers."""
    exact = int(np.abs(whole).max(initial=0)) * len(whole) < EXACT_TOTAL
    return int(whole.sum() if exact else whole.sum(dtype=object))


def fluid_level(numbers: Numbers) -> float:
    """Return the KVPR that all GPUs would have together, the hottest models apart.

    Models whose KVPR alone on a GPU is above the level of what remains take a GPU each, the
    largest first; the level is what the others come to, were they fluid. A start and a
    target, not a bound.
    """
    alone = numbers.load / np.maximum(float(numbers.memory[0]) - numbers.size, 1.0)
    hottest = _largest(alone, min(numbers.g - 1, numbers.n))
    taken_load = np.concatenate([[0.0], np.cumsum(numbers.load[hottest])])
    room = numbers.memory[: len(hottest)] - numbers.size[hottest]
    taken_room = np.concatenate([[0.0], np.cumsum(room.astype(np.float64))])
    free = float(numbers.memory.sum(dtype=np.float64) - numbers.size.sum(dtype=np.float64))
    left = np.maximum(free - taken_room, 1.0)
    level = np.maximum(math.fsum(numbers.load) - taken_load, 0.0) / left
    next_alone = np.concatenate([alone[hottest], [0.0]])
    below = np.flatnonzero(next_alone <= level)
    return float(level[below[0]]) if len(below) else float(level.min())
