"""What a placement puts on each GPU, summed up in arrays.

Bytes are summed as integers and loads by `math.fsum`, which rounds once.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, compress, repeat
from typing import NamedTuple, TypeVar, overload

from kvplace.core.derived.option_table import OptionTable
from kvplace.core.placement import Assigned, Replica
from kvplace.core.problem import Problem

Columns = tuple[Sequence[float], Sequence[float]]
"""KV bytes in use, and shares of time, of rows."""


class ShardRows(NamedTuple):
    """What is placed, shard by shard.

    Parameters
    ----------
    gpu_of
        (rows,) position of the GPU.
    models, replicas, ranks
        (rows,) name of the model, number of the copy, and rank within the copy.
    weights_bytes, min_kv_bytes, loads
        (rows,) what it takes, as in `kvplace.core.derived.needs.ShardNeed`.
    windows
        Per window, what it presses on; empty where shares of time are not known.
    """

    gpu_of: Sequence[int]
    models: Sequence[str]
    replicas: Sequence[int]
    ranks: Sequence[int]
    weights_bytes: Sequence[int]
    min_kv_bytes: Sequence[int]
    loads: Sequence[float]
    windows: list[Columns]


@dataclass(frozen=True)
class Sums:
    """What a placement puts on each GPU, in the order of the fleet.

    Parameters
    ----------
    weights_bytes, min_kv_bytes
        (g,) whole bytes.
    loads
        (g,) loads, each rounded once.
    busy
        GPUs that hold something.
    window_loads, time_shares
        Per window, (g,) mean KV bytes in use and shares of the GPU's time, each rounded once;
        empty where shares of time are not known.
    rows
        What was summed.
    """

    weights_bytes: list[int]
    min_kv_bytes: list[int]
    loads: array[float]
    busy: array[int]
    window_loads: list[array[float]]
    time_shares: list[array[float]]
    rows: ShardRows

    def held(self, gpu: int) -> Sequence[int]:
        """Return the rows of a GPU, in the order of the placement."""
        order, ends = self._by_gpu
        return sorted(order[ends[gpu] : ends[gpu + 1]], key=self.rows.models.__getitem__)

    @property
    def every_held(self) -> tuple[list[int], Sequence[int]]:
        """Rows GPU by GPU, and where those of each GPU start and end."""
        named = sorted(range(len(self.rows.models)), key=self.rows.models.__getitem__)
        return sorted(named, key=self.rows.gpu_of.__getitem__), self._by_gpu[1]

    @cached_property
    def _by_gpu(self) -> tuple[array[int], array[int]]:
        """Rows by GPU, and where those of each start; not worked out where nobody looks."""
        gpu_of = self.rows.gpu_of
        count = Counter(gpu_of)
        ends = accumulate(map(count.get, range(len(self.loads)), repeat(0)), initial=0)
        order = sorted(range(len(gpu_of)), key=gpu_of.__getitem__)
        return array("q", order), array("q", ends)


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
    windows = _undivided(problem, gpu_of) if problem.pressed else []
    none = bytes(len(gpu_of))
    needs = problem.undivided_bytes, problem.min_kv_bytes, problem.loads
    rows = ShardRows(gpu_of, problem.names, none, none, *needs, windows)
    return _sums(rows, len(problem.fleet.gpus))


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


def sum_replicas(problem: Problem, copies: Mapping[str, list[Replica]]) -> tuple[Sums, bytearray]:
    """Return what the copies of each model put on each GPU, and (n,) which are plainly sound.

    A model is where it has one copy on one GPU of the fleet, no model asks for types of GPU, and
    options that are listed already, as after a search, allow that.
    """
    position, index_of, pressed = problem.fleet.position, problem.index_of, problem.pressed
    table: OptionTable | None = vars(problem).get("option_table")
    gpu_of, numbers, ranks, rows = array("q"), array("q"), array("q"), array("q")
    models: list[str] = []
    keys: list[tuple[int, int, float]] = []
    sizes, least, loads = list[int](), list[int](), list[float]()
    if table is not None:
        sizes, least, loads = table.weights_bytes[:], table.min_kv_bytes[:], table.loads.tolist()
    sound, untyped = bytearray(len(problem.names)), not any(problem.columns.gpu_types)
    for name, held in copies.items():
        index = index_of.get(name)
        if index is None:
            continue
        parts: Sequence[float] = (1.0,)
        if len(held) > 1:
            parts = problem.demand_parts(index, [replica.gpus for replica in held])
        degree, before, row = -1, -1.0, -1
        for replica, part in zip(held, parts, strict=True):
            gpus = replica.gpus
            if len(gpus) != degree or part != before:
                degree, before = len(gpus), part
                row = -1 if table is None else _listed(table, index, degree, part)
                if row < 0:
                    row, need = len(sizes), problem.shard(index, max(1, degree), part)
                    sizes.append(need.weights_bytes)
                    least.append(need.min_kv_bytes)
                    loads.append(need.load)
                elif untyped and len(held) == 1 == degree:
                    sound[index] = gpus[0] in position
            for rank, gpu in enumerate(gpus):
                at = position.get(gpu)
                if at is not None:
                    gpu_of.append(at)
                    models.append(name)
                    numbers.append(replica.index)
                    ranks.append(rank)
                    rows.append(row)
                    if pressed:
                        keys.append((index, max(1, degree), part))
    windows = _divided(problem, gpu_of, keys) if pressed else []
    taken = [sizes[row] for row in rows], [least[row] for row in rows], [loads[row] for row in rows]
    shards = ShardRows(gpu_of, models, numbers, ranks, *taken, windows)
    return _sums(shards, len(position)), sound


def _listed(table: OptionTable, index: int, degree: int, part: float) -> int:
    """Return the row of the option whose copies carry such a part each; -1 where none is listed."""
    for row in range(table.starts[index], table.starts[index + 1]):
        if table.degrees[row] == degree and 1 / table.copies[row] == part:
            return row
    return -1


def _divided(
    problem: Problem, gpu_of: Sequence[int], shards: Sequence[tuple[int, int, float]]
) -> list[Columns]:
    """Return per window what each shard presses on where it is: KV bytes and time."""
    gpus, windows = problem.fleet.gpus, range(len(problem.windows))
    found: list[tuple[array[float], array[float]]] = [(array("d"), array("d")) for _ in windows]
    known: dict[tuple[object, str], tuple[Sequence[float], Sequence[float]]] = {}
    for gpu, shard in zip(gpu_of, shards, strict=True):
        key = (shard, gpus[gpu].type)
        if key not in known:
            known[key] = problem.pressures.shard(*shard, key[1])
        for (loads, shares), load, share in zip(found, *known[key], strict=True):
            loads.append(load)
            shares.append(share)
    return list(found)


def _sums(rows: ShardRows, gpus: int) -> Sums:
    """Return the sums of rows."""
    gpu_of = rows.gpu_of

    def whole(column: Sequence[int]) -> list[int]:
        sums = [0] * gpus
        for gpu, number in zip(gpu_of, column, strict=True) if any(column) else ():
            sums[gpu] += number
        return sums

    def parted(column: Sequence[float]) -> list[list[float]]:
        held: list[list[float]] = [[] for _ in range(gpus)]
        for gpu, load in zip(gpu_of, column, strict=True):
            held[gpu].append(load)
        return held

    def summed(column: Sequence[float]) -> array[float]:
        if column == rows.loads:  # in the only window, or in each, what is in use on average
            return total
        return array("d", map(math.fsum, parted(column)))

    held = parted(rows.loads)
    busy, total = array("q", compress(range(gpus), held)), array("d", map(math.fsum, held))
    del held
    in_use = [summed(loads) for loads, _ in rows.windows]
    time = [summed(shares) for _, shares in rows.windows]
    taken = whole(rows.weights_bytes), whole(rows.min_kv_bytes)
    return Sums(*taken, total, busy, in_use, time, rows)


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
