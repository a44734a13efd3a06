"""Tracker: the amount by which one rule fails, kept up as an assignment changes."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvplace.core.problem import Problem

if TYPE_CHECKING:
    from kvplace.solver.array_types import Bools

__all__ = ["Copies", "Ground", "MakeTracker", "Tracker"]

Copies = tuple[tuple[int, ...], ...]
"""GPUs of each copy of a model."""


class Tracker(abc.ABC):
    """The amount by which one rule fails.

    Attributes
    ----------
    amount
        As `kvplace.core.rules.rule.Breach.amount`, summed.
    """

    def __init__(self) -> None:
        self.amount: float = 0

    @abc.abstractmethod
    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""


MakeTracker = Callable[[], Tracker]
"""Returns a new tracker; its arrays are shared by all assignments of an instance."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What trackers are made from.

    Parameters
    ----------
    problem
        The problem.
    gpu_ids
        Id of each GPU.
    topology
        Returns the number of the domain of each GPU under a topology key, -1 for none.
    allowed
        (n,) per model which GPUs it may run on; models with equal demands share one array.
    """

    problem: Problem
    gpu_ids: Sequence[str]
    topology: Callable[[str], list[int]]
    allowed: "Sequence[Bools]"
