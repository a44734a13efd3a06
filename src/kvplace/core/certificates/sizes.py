"""Sizes of models at a threshold, in whole numbers."""

import math

from kvplace.core.certificates.knapsack import SCALE_BITS
from kvplace.core.problem import Problem

__all__ = ["scaled_sizes"]


def scaled_sizes(problem: Problem, threshold: float) -> list[int]:
    """Return w_j at a threshold, rounded down to multiples of 2**-64 bytes, as integers."""
    unit = problem.goal.memory_unit_bytes
    sizes = []
    for index, load in enumerate(problem.loads):
        weights = problem.need(index).weights_bytes << SCALE_BITS
        if load and threshold < math.inf:
            part, of = load.as_integer_ratio()
            top, bottom = float(threshold).as_integer_ratio()
            weights += part * (unit << SCALE_BITS) * bottom // (of * top)
        sizes.append(weights)
    return sizes
