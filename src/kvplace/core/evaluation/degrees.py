"""The tensor parallel degree that would let a model fit which is too large for one GPU."""

from collections.abc import Collection, Iterator, Sequence

from kvplace.core.models.model import Model
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
    for degree in _degrees(model, widest):
        need = problem.need(index, degree)
        room = max(gpus[degree - 1] for gpus in links if len(gpus) >= degree)
        if need.weights_bytes + max(1, need.min_kv_bytes) <= room:
            each = format_bytes(need.weights_bytes)
            return f"; with tensor_parallel: {degree} a copy fits, {each} on each GPU"
    return ""


def _degrees(model: Model, most: int) -> Iterator[int]:
    """Yield degrees above the allowed ones that engines take, the least first.

    Engines want query heads that divide evenly, and as many ranks for each KV head, or KV heads
    for each rank. Of a model whose heads are not known, powers of two are tried.
    """
    shape = model.architecture
    heads = shape.heads if shape is not None else 0
    kv_heads = model.kv_heads or 0
    for degree in range(max(model.tensor_parallel) + 1, most + 1):
        if heads or kv_heads:
            even = heads % degree == 0
            even &= not kv_heads or kv_heads % degree == 0 or degree % kv_heads == 0
        else:
            even = degree & (degree - 1) == 0
        if even:
            yield degree
