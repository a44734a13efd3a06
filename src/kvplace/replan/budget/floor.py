"""A bound on every placement that costs nothing to find: all loads on all memory, and one model.

Both are special cases of the certificate in `kvplace.core.certificates`: with any option of a
model, its copies take at least the least that any of its options takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK = 1 - 1e-12


def floor_of(problem: Problem) -> float:
    """Return a pressure below which no placement is; ``inf`` where nothing can be valid."""
    memory = float(sum(gpu.usable_bytes for gpu in problem.fleet.gpus))
    largest = float(max(gpu.usable_bytes for gpu in problem.fleet.gpus))
    unit = float(problem.goal.memory_unit_bytes)
    if problem.plain and problem.goal is not Objective.PRESSURE:
        sizes = np.frombuffer(problem.undivided_bytes, dtype=np.int64).astype(float)
        pressing = np.array(problem.loads, dtype=float)
        return _larger(sizes, pressing, pressing, sizes, memory, largest, unit)
    if problem.goal is Objective.PRESSURE:
        return _timed(problem, memory, largest)
    table = problem.option_table
    starts = np.frombuffer(table.starts, dtype=np.int64)
    if (np.diff(starts) == 0).any():
        return float("inf")
    shards = np.frombuffer(table.degrees, dtype=np.int64) * np.frombuffer(
        table.copies, dtype=np.int64
    )
    weights = np.array(table.weights_bytes, dtype=float)
    loads = np.frombuffer(table.loads, dtype=float)
    first = starts[:-1]
    # Capacity splits let a copy carry less than an even part; no more than its least is claimed.
    alone = loads.copy()
    for model in range(len(first)):
        if _uneven(problem, model):
            alone[starts[model] : starts[model + 1]] = 0.0
    return _larger(
        np.minimum.reduceat(weights * shards, first),
        np.minimum.reduceat(loads * shards, first),
        alone,
        weights,
        memory,
        largest,
        unit,
        first,
    )


def _larger(
    total_weights: NDArray[np.float64],
    total_loads: NDArray[np.float64],
    loads: NDArray[np.float64],
    weights: NDArray[np.float64],
    memory: float,
    largest: float,
    unit: float,
    first: NDArray[np.int64] | None = None,
) -> float:
    """Return the larger of the two bounds: of everything together, and of each shard alone."""
    left = memory - float(total_weights.sum())
    if left <= 0:
        return float("inf")
    fluid = float(total_loads.sum()) * unit / left
    room = largest - weights
    alone = np.divide(loads * unit, room, out=np.full(len(loads), np.inf), where=room > 0)
    least = alone if first is None else np.minimum.reduceat(alone, first)
    return max(fluid, float(least.max())) * _SLACK


def _timed(problem: Problem, memory: float, largest: float) -> float:
    """Return the larger of the two bounds, for KV and for time, in each window."""
    options, table = problem.option_table, problem.pressures.table
    starts = np.frombuffer(options.starts, dtype=np.int64)
    if (np.diff(starts) == 0).any():
        return float("inf")
    first, windows = starts[:-1], table.windows
    shards = np.array(options.degrees) * np.array(options.copies)
    weights = np.array(options.weights_bytes, dtype=float)
    left = memory - float(np.minimum.reduceat(weights * shards, first).sum())
    if left <= 0:
        return float("inf")
    loads = np.array(table.loads).reshape(len(shards), windows)
    shares = np.array(table.shares).reshape(len(shards), len(table.gpu_types), windows).min(axis=1)
    uneven = np.array([_uneven(problem, model) for model in range(len(first))])
    # Of copies that may carry uneven parts no more than the weights is claimed.
    even = ~np.repeat(uneven, np.diff(starts))
    room = np.maximum(largest - weights, 0.0)
    best = 0.0
    for window in range(windows):
        kv = np.minimum.reduceat(loads[:, window] * shards, first).sum() / left
        time = np.minimum.reduceat(shares[:, window] * shards, first).sum()
        alone = np.full(len(shards), np.inf)
        np.divide(loads[:, window], room, out=alone, where=room > 0)
        alone = np.where(even, np.maximum(alone, shares[:, window]), 0.0)
        alone = np.minimum.reduceat(alone, first)
        best = max(best, float(kv), float(alone.max()))
        best = best if uneven.any() else max(best, float(time) / len(problem.fleet.gpus))
    return best * _SLACK


def _uneven(problem: Problem, model: int) -> bool:
    """Whether copies of a model may carry other than even parts."""
    replicas = problem.models[model].replicas
    return replicas.max > 1 and replicas.split is not Split.EVEN
