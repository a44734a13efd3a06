"""Order: the canonical order of models and GPUs, which their order in the input cannot change."""

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvplace.solver.array_types import Bools, Ints

MANY = 20_000
"""Rows from which numpy, whose import takes 0.2 s, sorts sooner than the standard library."""


def canonical(keys: Sequence[Sequence[float]], name: Callable[[int], str]) -> Sequence[int]:
    """Return positions by falling keys, the first key first, and by name between equals.

    Parameters
    ----------
    keys
        Columns of equal length.
    name
        Returns the name of a position.
    """
    count = len(keys[0])
    if count < MANY:
        ranked = zip(*keys, strict=True)
        ranks = [tuple([-value for value in row]) for row in ranked]
        return sorted(range(count), key=lambda i: (ranks[i], name(i)))
    return array("q", _sorted_arrays(keys, name).tobytes())


def _sorted_arrays(columns: Sequence[Sequence[float]], name: Callable[[int], str]) -> "Ints":
    import numpy as np  # noqa: PLC0415 - only where numbers are many

    keys = [-np.asarray(column) for column in columns]
    order = np.argsort(keys[0])  # most often enough: what ties is put in order next
    tied = _ties(keys[:1], order)
    among = np.flatnonzero(np.concatenate([[False], tied]) | np.concatenate([tied, [False]]))
    held = order[among]
    order[among] = held[np.lexsort([key[held] for key in keys[::-1]])]
    same = _ties(keys, order)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        order[first : last + 1] = sorted(order[first : last + 1].tolist(), key=name)
    return order.astype(np.int64)


def _ties(keys: "Sequence[Any]", order: "Ints") -> "Bools":
    """Return for each but the first in an order whether it equals the one before."""
    import numpy as np  # noqa: PLC0415 - only where numbers are many

    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        ranked = key[order]
        same &= ranked[1:] == ranked[:-1]
    return same
