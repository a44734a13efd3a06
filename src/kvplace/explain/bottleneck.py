"""What holds the worst GPU where it is."""

import math
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, kvpr_of
from kvplace.core.problem import Problem

__all__ = ["Bottleneck", "Cause", "alone", "bottleneck_of"]

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
        GPUs of the same KVPR, itself included.
    cause
        What holds it.
    """

    gpu: GPUEvaluation
    alike: int
    cause: Cause


def bottleneck_of(problem: Problem, evaluation: Evaluation) -> Bottleneck:
    """Return the worst GPU of a valid placement and what holds it."""
    worst = max(evaluation.gpus, key=lambda gpu: gpu.kvpr)
    alike = sum(gpu.kvpr >= worst.kvpr * (1 - NEAR) for gpu in evaluation.gpus)
    return Bottleneck(worst, alike, _cause(problem, worst.kvpr))


def alone(problem: Problem, index: int) -> float:
    """Return the least KVPR of a model's GPUs where nothing else runs on them.

    By the best of its options, on the largest GPU that it may use; ``inf`` where it fits none.
    """
    largest = max(map(problem.usable_bytes, problem.allowed(index)), default=0)
    least = math.inf
    for degree, copies in problem.options(index):
        need = problem.need(index, degree, copies)
        free = largest - need.weights_bytes
        if free >= max(1, need.min_kv_bytes):
            least = min(least, kvpr_of(need.load, free, problem.goal.memory_unit_bytes))
    return least


def _cause(problem: Problem, value: float) -> Cause:
    """Return which limit a value is held by."""
    numbers = range(len(problem.models))
    limits = [(alone(problem, index), problem.models[index].name) for index in numbers]
    single, model = max(limits, key=lambda limit: limit[0])
    fluid = _fluid(problem)
    if single >= value * (1 - NEAR):
        return Cause("single-model", model, single)
    if fluid >= value * (1 - NEAR):
        return Cause("fluid", "", fluid)
    return Cause("packing", "", max(single, fluid))


def _fluid(problem: Problem) -> float:
    """Return all load over all memory that weights leave, each at its least over the options."""
    load, weights = 0.0, 0
    for index in range(len(problem.models)):
        options = [(d, r, problem.need(index, d, r)) for d, r in problem.options(index)]
        load += min((d * r * need.load for d, r, need in options), default=0.0)
        weights += min((d * r * need.weights_bytes for d, r, need in options), default=0)
    free = sum(gpu.usable_bytes for gpu in problem.fleet.gpus) - weights
    return kvpr_of(load, free, problem.goal.memory_unit_bytes)
