"""What holds the worst GPU where it is."""

import math
from dataclasses import dataclass
from itertools import pairwise
from operator import mul

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, kvpr_of
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

NEAR = 1e-6
"""Relative distance from a limit within which a value counts as held by it."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A limit that no placement passes, however the rest is placed.

    Parameters
    ----------
    kind
        ``single-model``: one model alone on the best GPUs that it may use; ``fluid``: all load
        over all memory that weights leave; ``packing``: neither; how the models divide over GPUs.
    model
        Name of the model of ``single-model``; empty otherwise.
    value
        The limit; for ``packing`` the higher of the other two, which is not reached.
    """

    kind: str
    model: str
    value: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The worst GPU, and why it is not better.

    Parameters
    ----------
    gpu
        It, with what it holds.
    alike
        GPUs of the same pressure, itself included.
    cause
        What holds it.
    """

    gpu: GPUEvaluation
    alike: int
    cause: Cause


def bottleneck_of(problem: Problem, evaluation: Evaluation) -> Bottleneck:
    """Return the worst GPU of a valid placement and what holds it."""
    pressures = evaluation.pressures
    value = max(pressures)
    alike = sum(pressure >= value * (1 - NEAR) for pressure in pressures)
    return Bottleneck(evaluation.gpus[pressures.index(value)], alike, _cause(problem, value))


def alone(problem: Problem, index: int) -> float:
    """Return the least pressure of a model's GPUs where nothing else runs on them.

    By the best of its options, on the best GPU that it may use; ``inf`` where it fits none.
    """
    if problem.goal is Objective.PRESSURE:
        return _alone_in_time(problem, index)
    largest, table = problem.largest_bytes(index), problem.option_table
    least = math.inf
    for row in range(table.starts[index], table.starts[index + 1]):
        free = largest - table.weights_bytes[row]
        if free >= max(1, table.min_kv_bytes[row]):
            least = min(least, kvpr_of(table.loads[row], free, problem.goal.memory_unit_bytes))
    return least


def _alone_in_time(problem: Problem, index: int) -> float:
    """Return the least pressure of a model alone, of its time as well as of its memory."""
    least = math.inf
    kinds = problem.wide(index, 1)
    for degree, copies in problem.options(index):
        need = problem.need(index, degree, copies)
        for gpu_type, memory in kinds:
            free = memory - need.weights_bytes
            if free >= max(1, need.min_kv_bytes):
                loads, shares = problem.pressures.shard(index, degree, 1 / copies, gpu_type)
                least = min(least, max(*shares, *(kvpr_of(load, free) for load in loads)))
    return least


def _cause(problem: Problem, value: float) -> Cause:
    """Return which limit a value is held by."""
    limits = [(alone(problem, index), name) for index, name in enumerate(problem.names)]
    single, model = max(limits, key=lambda limit: limit[0])
    fluid = _fluid(problem)
    if single >= value * (1 - NEAR):
        return Cause("single-model", model, single)
    if fluid >= value * (1 - NEAR):
        return Cause("fluid", "", fluid)
    return Cause("packing", "", max(single, fluid))


def _fluid(problem: Problem) -> float:
    """Return all load over all memory that weights leave, each at its least over the options.

    Under several pressures, the largest such sum of a window, or of shares of time over GPUs.
    """
    if problem.goal is Objective.PRESSURE:
        return _fluid_in_windows(problem)
    load, weights, table = 0.0, 0, problem.option_table
    shards = list(map(mul, table.degrees, table.copies))
    for first, end in pairwise(table.starts):
        rows = range(first, end)
        load += min((shards[row] * table.loads[row] for row in rows), default=0.0)
        weights += min((shards[row] * table.weights_bytes[row] for row in rows), default=0)
    free = sum(gpu.usable_bytes for gpu in problem.fleet.gpus) - weights
    return kvpr_of(load, free, problem.goal.memory_unit_bytes)


def _fluid_in_windows(problem: Problem) -> float:
    """Return the largest pressure of all models spread evenly over all GPUs, in any window."""
    table, options = problem.pressures.table, problem.option_table
    gpus = problem.fleet.gpus
    weights, windows = 0, range(table.windows)
    loads, times = [0.0] * table.windows, [0.0] * table.windows
    for index in range(len(problem.names)):
        rows = range(options.starts[index], options.starts[index + 1])
        shards = [options.degrees[row] * options.copies[row] for row in rows]
        pairs = list(zip(rows, shards, strict=True))
        weights += min((options.weights_bytes[row] * n for row, n in pairs), default=0)
        for window in windows:
            loads[window] += min((table.loads_of(row)[window] * n for row, n in pairs), default=0.0)
            times[window] += min(
                (
                    table.shares_of(row, at)[window] * n
                    for row, n in pairs
                    for at in range(len(table.gpu_types))
                ),
                default=0.0,
            )
    free = sum(gpu.usable_bytes for gpu in gpus) - weights
    return max(*(kvpr_of(load, free) for load in loads), *(time / len(gpus) for time in times))
