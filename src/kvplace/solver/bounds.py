"""Simple lower bounds on the max KVPR: fluid and single-model, each with its prices.

Both are special cases of the certificate in `kvplace.core.certificate`: the fluid bound prices
every model at its size w_j(K) and every GPU at its memory, the single-model bound prices one
model alone.
"""

import math
from collections.abc import Callable

from kvplace.core.certificate import SCALE_BITS, Bound, Certificate, check_certificate, scaled_sizes
from kvplace.core.problem import Problem
from kvplace.solver.arrays import Arrays

__all__ = ["certified", "fluid_bound", "simple_bound", "single_model_bound"]


def fluid_bound(arrays: Arrays) -> float:
    """Return ``sum l / (sum M - sum s)``: all GPUs as one; ``inf`` where the weights exceed it."""
    free = sum(arrays.memory) - sum(arrays.size)
    if free <= 0 or free < sum(arrays.keep):
        return math.inf
    return math.fsum(arrays.load) / free


def single_model_bound(arrays: Arrays) -> tuple[float, int]:
    """Return ``max_j l_j / (max M - s_j)`` and the model that attains it.

    The value is ``inf`` where a model fits no GPU even alone.
    """
    largest = arrays.memory[0]
    best, arg = -1.0, 0
    for j, (size, keep, load) in enumerate(zip(arrays.size, arrays.keep, arrays.load, strict=True)):
        ratio = load / (largest - size) if size + max(1, keep) <= largest else math.inf
        if ratio > best:
            best, arg = ratio, j
    return best, arg


def simple_bound(arrays: Arrays) -> Bound:
    """Return the better of the fluid and the single-model bound, not yet certified."""
    fluid = fluid_bound(arrays)
    single, _ = single_model_bound(arrays)
    if max(fluid, single) <= 0:
        return Bound(0.0, "trivial")
    return Bound(single, "single-model") if single >= fluid else Bound(fluid, "fluid")


def certified(problem: Problem, bound: Bound, hottest: int) -> Bound:
    """Return a simple bound with a certificate that checks, at most a part in 1e8 lower.

    `hottest` is the position in the problem of the model that attains the single-model bound.
    Other bounds come back as they are; one that cannot be certified is dropped to 0.
    """
    if bound.method == "single-model":
        price = _alone(hottest)
    elif bound.method == "fluid":
        price = _fluid
    else:
        return bound
    slack = 0.0
    while slack < 1e-8:
        threshold = bound.value if math.isinf(bound.value) else bound.value * (1 - slack)
        certificate = price(problem, threshold)
        if not check_certificate(problem, certificate):
            return Bound(threshold, bound.method, certificate)
        if math.isinf(bound.value):
            break
        slack = slack * 8 if slack else 2.0**-50
    return Bound(0.0, "trivial")


def _alone(model: int) -> Callable[[Problem, float], Certificate]:
    """Price one model at 1, all else at 0: it fits no GPU below the threshold."""

    def price(problem: Problem, threshold: float) -> Certificate:
        prices = tuple(int(i == model) for i in range(len(problem.models)))
        memories = {gpu.usable_bytes for gpu in problem.fleet.gpus}
        return Certificate(threshold, prices, tuple((memory, 0) for memory in sorted(memories)))

    return price


def _fluid(problem: Problem, threshold: float) -> Certificate:
    """Price every model at its size and every GPU at its memory.

    Where memory alone is at stake the size includes the KV that must be left.
    """
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    if math.isinf(threshold) and any(model.min_kv_bytes for model in problem.models):
        needs = [problem.need(i) for i in range(len(problem.models))]
        prices = [need.weights_bytes + need.min_kv_bytes for need in needs]
        return Certificate(threshold, tuple(prices), tuple((m, m) for m in memories))
    worths = tuple((memory, (memory << SCALE_BITS) - 1) for memory in memories)
    return Certificate(threshold, tuple(scaled_sizes(problem, threshold)), worths)
