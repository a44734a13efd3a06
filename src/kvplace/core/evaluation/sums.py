"""What a placement puts on each GPU, summed up in arrays.

Bytes are summed as integers and loads by `math.fsum`, which rounds once.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, TypeVar, overload

from kvplace.core.derived.needs import ShardNeed
from kvplace.core.placement import Assigned, Replica
from kvplace.core.problem import Problem

__all__ = ["Carried", "Rows", "Sums", "suits", "sum_replicas", "sum_up"]


@dataclass(frozen=True, slots=True)
class Sums:
    """What a placement puts on each GPU, in the order of the fleet.

    Parameters
    ----------
    weights_bytes, min_kv_bytes
        (g,) whole bytes.
    loads
        (g,) loads, each rounded once.
    members
        GPU by GPU, positions of the models on it, or of the copies with shards on it.
    ends
        (g + 1,) where the members of each GPU start, and the end.
    window_loads, time_shares
        Per window, (g,) mean KV bytes in use and shares of the GPU's time, each rounded once;
        empty where shares of time are not known.
    """

    weights_bytes: list[int]
    min_kv_bytes: list[int]
    loads: array[float]
    members: array[int]
    ends: array[int]
    window_loads: list[array[float]]
    time_shares: list[array[float]]

    def held(self, gpu: int) -> Sequence[int]:
        """Return the members of a GPU."""
        return self.members[self.ends[gpu] : self.ends[gpu + 1]]


Columns = tuple[Sequence[float], Sequence[float]]
"""KV bytes in use, and shares of time, of rows."""


class Carried(NamedTuple):
    """Copies, each with its part of the demand of its model and with what each shard takes."""

    replicas: list[Replica]
    parts: array[float]
    needs: list[ShardNeed]


def suits(problem: Problem, assigned: Assigned) -> bool:
    """Whether an assignment speaks of exactly the models and the GPUs of a plain problem."""
    return (
        problem.plain
        and (assigned.names is problem.names or list(assigned.names) == list(problem.names))
        and len(assigned.gpu_of) == len(problem.names)
        and list(assigned.gpu_ids) == list(problem.fleet.position)
        and min(assigned.gpu_of) >= 0
        and max(assigned.gpu_of) < len(assigned.gpu_ids)
    )


def sum_up(problem: Problem, gpu_of: array[int]) -> Sums:
    """Return what an assignment puts on each GPU."""
    g = len(problem.fleet.gpus)
    weights, least = [0] * g, [0] * g
    for gpu, taken in zip(gpu_of, problem.undivided_bytes, strict=True):
        weights[gpu] += taken
    if any(problem.min_kv_bytes):
        for gpu, kept in zip(gpu_of, problem.min_kv_bytes, strict=True):
            least[gpu] += kept
    windows: list[Columns] = []
    if problem.pressures.known:
        windows = _undivided(problem, gpu_of)
    return _sums(weights, least, gpu_of, problem.loads, range(len(gpu_of)), windows)


def _undivided(problem: Problem, gpu_of: array[int]) -> list[Columns]:
    """Return per window what each undivided model presses on where it is: KV bytes and time."""
    table, gpus = problem.pressures.table, problem.fleet.gpus
    at = {name: number for number, name in enumerate(table.gpu_types)}
    type_of = [at[gpu.type] for gpu in gpus]
    windows, types = table.windows, len(at)
    found: list[Columns] = []
    for window in range(windows):
        loads, shares = table.loads[window::windows], table.shares[window::windows]
        if types > 1:
            rows = enumerate(gpu_of)
            shares = array("d", [shares[row * types + type_of[gpu]] for row, gpu in rows])
        found.append((loads, shares))
    return found


def sum_replicas(problem: Problem, copies: Mapping[str, list[Replica]]) -> tuple[Sums, Carried]:
    """Return what the copies of each model put on each GPU, and which copies these are."""
    position = problem.fleet.position
    weights, least = [0] * len(position), [0] * len(position)
    carried = Carried([], array("d"), [])
    gpu_of: list[int] = []
    loads: list[float] = []
    numbers: list[int] = []
    for name, held in copies.items():
        index = problem.index_of.get(name)
        if index is None:
            continue
        parts = problem.demand_parts(index, [replica.gpus for replica in held])
        degree, before = -1, -1.0
        for replica, part in zip(held, parts, strict=True):
            gpus = replica.gpus
            if len(gpus) != degree or part != before:
                degree, before = len(gpus), part
                need = problem.shard(index, max(1, degree), part)
                size, kept, load = need.weights_bytes, need.min_kv_bytes, need.load
            for gpu_id in gpus:
                gpu = position.get(gpu_id)
                if gpu is not None:
                    weights[gpu] += size
                    least[gpu] += kept
                    gpu_of.append(gpu)
                    loads.append(load)
                    numbers.append(len(carried.needs))
            carried.replicas.append(replica)
            carried.parts.append(part)
            carried.needs.append(need)
    windows: list[Columns] = []
    if problem.pressures.known:
        windows = _divided(problem, carried, gpu_of, numbers)
    return _sums(weights, least, gpu_of, loads, numbers, windows), carried


def _divided(
    problem: Problem, carried: Carried, gpu_of: list[int], numbers: list[int]
) -> list[Columns]:
    """Return per window what each shard presses on where it is: KV bytes and time."""
    gpus, windows = problem.fleet.gpus, range(len(problem.windows))
    found: list[tuple[array[float], array[float]]] = [(array("d"), array("d")) for _ in windows]
    known: dict[tuple[int, str], tuple[Sequence[float], Sequence[float]]] = {}
    for gpu, number in zip(gpu_of, numbers, strict=True):
        key = (number, gpus[gpu].type)
        if key not in known:
            replica, part = carried.replicas[number], carried.parts[number]
            index, degree = problem.index_of[replica.model], max(1, len(replica.gpus))
            known[key] = problem.pressures.shard(index, degree, part, key[1])
        for (loads, shares), load, share in zip(found, *known[key], strict=True):
            loads.append(load)
            shares.append(share)
    return list(found)


def _sums(
    weights: list[int],
    least: list[int],
    gpu_of: Sequence[int],
    loads: Sequence[float],
    members: Sequence[int],
    windows: list[Columns],
) -> Sums:
    """Return the sums of rows that each state a GPU, a load, a member, and loads by window."""
    count = [0] * len(weights)
    for gpu in gpu_of:
        count[gpu] += 1
    ends = list(accumulate(count, initial=0))
    order, free = array("q", bytes(8 * len(gpu_of))), ends.copy()
    for row, gpu in enumerate(gpu_of):
        order[free[gpu]] = row
        free[gpu] += 1
    used = [gpu for gpu, rows in enumerate(count) if rows]  # some ten of a million GPUs, perhaps

    def summed(column: Sequence[float]) -> array[float]:
        if totals and column == loads:  # in the only window, or in each, what is in use on average
            return totals[0]
        held = array("d", map(column.__getitem__, order))
        sums = array("d", bytes(8 * len(weights)))
        for gpu in used:
            sums[gpu] = math.fsum(held[ends[gpu] : ends[gpu + 1]])
        return sums

    totals: list[array[float]] = []
    totals.append(summed(loads))
    every = isinstance(members, range) and members == range(len(order))
    ordered = order if every else array("q", map(members.__getitem__, order))
    of_windows = ([summed(in_use) for in_use, _ in windows], [summed(time) for _, time in windows])
    return Sums(weights, least, totals[0], ordered, array("q", ends), *of_windows)


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
