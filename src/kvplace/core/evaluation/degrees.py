"""The tensor parallel degree that would let a model fit which is too large for one GPU."""

from collections.abc import Collection, Sequence

from kvplace.core.problem import Problem
from kvplace.units import format_bytes

__all__ = ["degree_that_fits"]


def degree_that_fits(problem: Problem, index: int, links: Collection[Sequence[int]]) -> str:
    """Name the least tensor parallel degree with which a model fits alone, or nothing.

    Parameters
    ----------
    problem
        What the model is part of.
    index
        Position of the model in `problem.models`.
    links
        Usable bytes of the GPUs that it may run on, by link domain, most first.

    Returns
    -------
    str
        Such as ``; with tensor_parallel: 2 a copy fits, 45.0 GiB on each GPU``; empty where no
        degree above those allowed does it.
    """
    model = problem.models[index]
    widest = max(map(len, links), default=0)
    known = max(model.tensor_parallel)
    for degree in (one for one in model.accepted_degrees(widest) if one > known):
        need = problem.need(index, degree)
        room = max(gpus[degree - 1] for gpus in links if len(gpus) >= degree)
        if need.weights_bytes + max(1, need.min_kv_bytes) <= room:
            each = format_bytes(need.weights_bytes)
            return f"; with tensor_parallel: {degree} a copy fits, {each} on each GPU"
    return ""
