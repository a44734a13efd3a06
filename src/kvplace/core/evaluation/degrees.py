"""The tensor parallel degree that would let a model fit which is too large for one GPU."""

from collections.abc import Collection, Sequence

from kvplace.core.problem import Problem
from kvplace.units import format_bytes

_MOST = 64
"""Degree up to which wider nodes than there are may help."""


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
        Such as ``; with tensor_parallel: 2 a copy fits, 45.0 GiB on each GPU``; and that no node is
        so wide where none is. Empty where no degree does it that nodes of such GPUs may have.
    """
    model = problem.models[index]
    widest, largest = max(map(len, links), default=0), max((gpus[0] for gpus in links), default=0)
    for degree in model.accepted_degrees(max(widest, _MOST)):
        need = problem.need(index, degree)
        wide = [gpus[degree - 1] for gpus in links if len(gpus) >= degree]
        fits = need.weights_bytes + max(1, need.min_kv_bytes) <= max(wide, default=largest)
        if fits and degree not in model.tensor_parallel:
            each = format_bytes(need.weights_bytes)
            said = f"; with tensor_parallel: {degree} a copy fits, {each} on each GPU"
            less = f" of a node of {degree} or more; no node has more than {widest}"
            return said if wide else said + less
    return ""
