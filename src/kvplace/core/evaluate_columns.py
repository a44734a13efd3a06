"""The evaluation of one undivided replica per model, GPU by GPU from arrays.

The arithmetic is that of `kvplace.core.evaluate`: bytes as integers, loads by `math.fsum`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TypeVar, overload

from kvplace.core.placement import Assigned
from kvplace.core.problem import Problem

__all__ = ["Rows", "Sums", "suits", "sum_up"]


@dataclass(frozen=True, slots=True)
class Sums:
    """What an assignment puts on each GPU, in the order of the fleet.

    Parameters
    ----------
    weights_bytes, min_kv_bytes
        (g,) whole bytes.
    loads
        (g,) loads, each rounded once.
    models
        (n,) positions of the models, GPU by GPU.
    ends
        (g + 1,) where the models of each GPU start, and the end.
    """

    weights_bytes: list[int]
    min_kv_bytes: list[int]
    loads: array[float]
    models: array[int]
    ends: array[int]

    def holds(self, gpu: int) -> bool:
        """Whether a GPU holds any model."""
        return self.ends[gpu] < self.ends[gpu + 1]

    def held(self, gpu: int) -> Sequence[int]:
        """Return the positions of the models on a GPU."""
        return self.models[self.ends[gpu] : self.ends[gpu + 1]]


def suits(problem: Problem, assigned: Assigned) -> bool:
    """Whether an assignment speaks of exactly the models and the GPUs of a plain problem."""
    return (
        problem.plain
        and (assigned.names is problem.names or list(assigned.names) == list(problem.names))
        and len(assigned.gpu_of) == len(problem.names)
        and list(assigned.gpu_ids) == [gpu.id for gpu in problem.fleet.gpus]
        and min(assigned.gpu_of) >= 0
        and max(assigned.gpu_of) < len(assigned.gpu_ids)
    )


def sum_up(problem: Problem, gpu_of: array[int]) -> Sums:
    """Return what an assignment puts on each GPU."""
    g = len(problem.fleet.gpus)
    weights, count = [0] * g, [0] * g
    for gpu, taken in zip(gpu_of, problem.undivided_bytes, strict=True):
        weights[gpu] += taken
        count[gpu] += 1
    least = [0] * g
    if any(problem.min_kv_bytes):
        for gpu, kept in zip(gpu_of, problem.min_kv_bytes, strict=True):
            least[gpu] += kept
    models = array("q", sorted(range(len(gpu_of)), key=gpu_of.tolist().__getitem__))
    ends = list(accumulate(count, initial=0))
    loads = list(map(problem.loads.__getitem__, models))
    sums = array("d", [math.fsum(loads[first:end]) for first, end in pairwise(ends)])
    return Sums(weights, least, sums, models, array("q", ends))


T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Sequence[T]):
    """A sequence whose entries are made when they are looked at.

    Parameters
    ----------
    length
        How many there are.
    make
        Returns the entry at a position.
    """

    length: int
    make: Callable[[int], T] = field(repr=False)

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        positions = range(self.length)[index]
        return (
            self.make(positions) if isinstance(positions, int) else tuple(map(self.make, positions))
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))
