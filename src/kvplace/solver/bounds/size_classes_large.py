"""Bounds of sparse fleets: the configuration program on levels of size, with its certificate.

Where few models share a GPU, memory that no set of models fills lies waste, which fluid does not
see. The program grows with the levels, and so does not with the fleet.
"""

import numpy as np

from kvplace.core.certificates.certificate import (
    GRID,
    SCALE_BITS,
    Bound,
    Certificate,
    check_certificate,
    scaled_sizes,
)
from kvplace.core.problem import Problem
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.bounds.size_classes import LevelTargets, Prices
from kvplace.solver.clock import Watch
from kvplace.solver.instance.columns import Columns

__all__ = ["certified_levels", "raise_bound"]

SETS = 2_000
"""GPUs of which the models are given to the program to start from."""
TIME_SHARE = 0.5
"""Share of the time left that the program may take."""


def raise_bound(numbers: Columns, packing: Packing, low: float, watch: Watch) -> Prices | None:
    """Look for a bound between one that is known and the value of a packing.

    Parameters
    ----------
    numbers, packing
        The problem, and an assignment.
    low
        The bound known.
    watch
        Ends it early.
    """
    memory, type_, count = np.unique(numbers.memory, return_inverse=True, return_counts=True)
    one = (numbers.n, 1)
    program = LevelTargets(
        memory, count,
        numbers.size.astype(np.float64).reshape(one), numbers.load.reshape(one), np.ones(one),
    )  # fmt: skip
    some = range(0, numbers.g, max(1, numbers.g // SETS))
    rows = [(int(type_[g]), slice(packing.start[g], packing.start[g] + packing.models[g]))
            for g in some]  # fmt: skip
    left = watch.left
    return program.rise(
        low,
        float(packing.kvpr().max()),
        lambda target: (
            (kind, packing.size[row] + packing.load[row] / target) for kind, row in rows
        ),
        watch,
        least_left=left * (1 - TIME_SHARE) if left < np.inf else 0.0,
    )


def certified_levels(problem: Problem, prices: Prices) -> Bound | None:
    """Return the bound of some prices with its certificate, None where that does not check."""
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    largest, by_level = memories[-1] << SCALE_BITS, prices.prices.tolist()
    certificate = Certificate(
        prices.target,
        tuple(
            by_level[min(GRID, size * GRID // largest)]
            for size in scaled_sizes(problem, prices.target)
        ),
        tuple(zip(memories, prices.worths.tolist(), strict=True)),
    )
    if check_certificate(problem, certificate):
        return None
    return Bound(prices.target, "configuration", certificate)
