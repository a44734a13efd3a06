"""A bound on every placement that costs nothing to find: all loads on all memory, and one model.

Both are special cases of the certificate in `kvplace.core.certificates`: with any option of a
model, its copies take at least the least that any of its options takes.
"""

from __future__ import annotations

import numpy as np

from kvplace.core.model import Split
from kvplace.core.problem import Problem

__all__ = ["floor_of"]

_SLACK = 1 - 1e-12


def floor_of(problem: Problem) -> float:
    """Return a pressure below which no placement is; ``inf`` where nothing can be valid."""
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
    total_weights = float(np.minimum.reduceat(weights * shards, first).sum())
    total_loads = float(np.minimum.reduceat(loads * shards, first).sum())
    memory = float(sum(gpu.usable_bytes for gpu in problem.fleet.gpus))
    largest = float(max(gpu.usable_bytes for gpu in problem.fleet.gpus))
    unit = float(problem.goal.memory_unit_bytes)
    if total_weights >= memory:
        return float("inf")
    fluid = total_loads * unit / (memory - total_weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = largest - weights
        alone = np.where(left > 0, loads * unit / left, np.inf)
    # Capacity splits let a copy carry less than an even part; no more than its least is claimed.
    capacity = [m for m in range(len(first)) if _uneven(problem, m)]
    single = np.minimum.reduceat(alone, first)
    single[capacity] = 0.0
    return max(fluid, float(single.max())) * _SLACK


def _uneven(problem: Problem, model: int) -> bool:
    """Whether copies of a model may carry other than even parts."""
    replicas = problem.models[model].replicas
    return replicas.max > 1 and replicas.split is not Split.EVEN
