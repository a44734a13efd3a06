"""Sizes of models at a threshold, in whole numbers."""

import math
from collections.abc import Iterable, Iterator, Sequence

from kvplace.core.certificates.offers import SCALE_BITS
from kvplace.core.models.model import Split
from kvplace.core.problem import Problem


def scaled_sizes(problem: Problem, threshold: float) -> list[int]:
    """Return w_j at a threshold, rounded down to multiples of 2**-64 bytes, as integers."""
    weights = [size << SCALE_BITS for size in resident_bytes(problem)]
    if math.isinf(threshold):
        return weights
    top, bottom = float(threshold).as_integer_ratio()
    unit = (problem.goal.memory_unit_bytes << SCALE_BITS) * bottom
    ratios = (load.as_integer_ratio() for load in problem.loads)
    pairs = zip(weights, ratios, strict=True)
    return [size + part * unit // (of * top) for size, (part, of) in pairs]


def resident_bytes(problem: Problem) -> Sequence[int]:
    """Return weights and overhead of each model on one GPU, of any size."""
    try:
        return problem.undivided_bytes
    except OverflowError:  # more than the column holds, and than any GPU
        return [problem.need(index).weights_bytes for index in range(len(problem.names))]


def possible_options(problem: Problem, index: int, threshold: float) -> list[tuple[int, int, int]]:
    """Return the options of a model of which a shard fits a GPU below a threshold.

    The GPU is in a link domain that is wide enough for a copy.

    Returns
    -------
    list of tuple
        Position in `Problem.options`, size of a shard at the threshold as in `scaled_sizes`, and
        bytes of weights and KV that it needs at least.
    """
    return next(every_possible(problem, threshold, (index,)))


def every_possible(
    problem: Problem, threshold: float, models: Iterable[int] | None = None
) -> Iterator[list[tuple[int, int, int]]]:
    """Yield what `possible_options` returns of some models, or of all in their order."""
    table, everyone = problem.option_table, problem.models
    unit = problem.goal.memory_unit_bytes << SCALE_BITS
    top, bottom = (1, 0) if math.isinf(threshold) else float(threshold).as_integer_ratio()
    unit *= bottom
    starts, degrees, copies, loads = table.starts, table.degrees, table.copies, table.loads
    weights, min_kv = table.weights_bytes, table.min_kv_bytes
    for index in range(len(everyone)) if models is None else models:
        first, end = starts[index], starts[index + 1]
        found = []
        for row in range(first, end):
            taken, load = weights[row], loads[row]
            size = least = taken << SCALE_BITS
            if load:
                part, of = load.as_integer_ratio()
                size += part * unit // (of * top)
            kept = taken + min_kv[row]
            largest = problem.widest_bytes(index, degrees[row])
            fits = size < largest << SCALE_BITS and kept <= largest
            if fits and (degrees[row] == 1 or problem.seated(index, row)):
                # Of copies that carry uneven parts one carries an even part or more; what the
                # others carry is not known.
                if copies[row] > 1 and everyone[index].replicas.split is not Split.EVEN:
                    size = least
                found.append((row - first, size, kept))
        yield found
