"""Every way to split and copy every model, in columns: made once, read by checkers and solvers."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvplace.core.objective import Objective

if TYPE_CHECKING:
    from kvplace.core.problem import Problem

__all__ = ["OptionTable", "option_table"]


@dataclass(frozen=True, slots=True, eq=False)
class OptionTable:
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


def option_table(problem: Problem) -> OptionTable:
    """Return the options of all models of a problem."""
    by_requests = problem.goal is Objective.REQUESTS
    starts, degrees, copies = array("q", [0]), array("q"), array("q")
    weights: list[int] = []
    kept: list[int] = []
    loads = array("d")
    for index, (model, load) in enumerate(zip(problem.models, problem.loads, strict=True)):
        size, overhead, least = model.weights_bytes, model.overhead_bytes, model.min_kv_bytes
        for degree, count in problem.options(index):
            degrees.append(degree)
            copies.append(count)
            weights.append(-(-size // degree) + overhead)
            kept.append(least)
            # In the order of `Problem.shard`, so that floats round alike.
            loads.append(
                load * (1 / count * (1 / degree if by_requests else model.kv_part(degree)))
            )
        starts.append(len(degrees))
    return OptionTable(starts, degrees, copies, weights, kept, loads)
