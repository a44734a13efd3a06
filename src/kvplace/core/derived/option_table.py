"""Every way to split and copy every model, in columns: made once, read by checkers and solvers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from kvplace.core.derived.needs import rank_part
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective


class OptionTable(NamedTuple):
    """The entries of `Problem.options`, model by model, with what `Problem.need` says of each.

    Parameters
    ----------
    starts
        (n + 1,) row of the first option of each model, and the end.
    degrees, copies
        (rows,) tensor parallel degree and number of copies.
    weights_bytes, min_kv_bytes, loads
        (rows,) what one shard takes where copies carry even parts.
    """

    starts: array[int]
    degrees: array[int]
    copies: array[int]
    weights_bytes: list[int]
    min_kv_bytes: list[int]
    loads: array[float]

    def count(self, index: int) -> int:
        """Return how many options a model has."""
        return self.starts[index + 1] - self.starts[index]


def option_table(
    goal: Objective,
    models: Iterable[Model],
    loads: Sequence[float],
    options: Callable[[int], list[tuple[int, int]]],
) -> OptionTable:
    """Return the options of all models.

    Parameters
    ----------
    goal
        The objective.
    models, loads
        The models, and the load of each.
    options
        Returns the pairs of degree and copies of the model at a position.
    """
    starts, degrees, copies = array("q", [0]), array("q"), array("q")
    weights: list[int] = []
    kept: list[int] = []
    shard_loads = array("d")
    for index, (model, load) in enumerate(zip(models, loads, strict=True)):
        last, size, least, part = 0, 0, 0, 0.0
        for degree, count in options(index):
            if degree != last:  # numbers of copies follow each other
                size, least = model.resident_bytes(degree), model.least_kv_bytes(degree)
                last, part = degree, rank_part(goal, model, degree)
            degrees.append(degree)
            copies.append(count)
            weights.append(size)
            kept.append(least)
            # In the order of `Problem.shard`, so that floats round alike.
            shard_loads.append(load * (1 / count * part))
        starts.append(len(degrees))
    return OptionTable(starts, degrees, copies, weights, kept, shard_loads)


def undivided_table(weights: array[int], min_kv: array[int], loads: Sequence[float]) -> OptionTable:
    """Return the options of models that have one each: one undivided copy.

    Parameters
    ----------
    weights, min_kv, loads
        (n,) what a model takes.
    """
    ones = array("q", [1]) * len(weights)
    starts = array("q", range(len(weights) + 1))
    return OptionTable(starts, ones, ones, weights.tolist(), min_kv.tolist(), array("d", loads))


def shard_loads(
    models: Iterable[Model], window_loads: Sequence[Sequence[float]], options: OptionTable
) -> array[float]:
    """Return (rows x windows,) mean KV bytes in use of a shard of each option.

    Parameters
    ----------
    models
        All models.
    window_loads
        Per window, the load of each model on one undivided copy.
    options
        Their options.
    """
    rows, n = len(options.degrees), len(options.starts) - 1
    if rows == n == options.degrees.count(1) == options.copies.count(1):
        # Undivided models: nothing is divided.
        return array("d", chain.from_iterable(zip(*window_loads, strict=True)))
    found = array("d")
    for index, (model, *loads) in enumerate(zip(models, *window_loads, strict=True)):
        for row in range(options.starts[index], options.starts[index + 1]):
            part = 1 / options.copies[row] * model.kv_part(options.degrees[row])
            found.extend(load * part for load in loads)
    return found
