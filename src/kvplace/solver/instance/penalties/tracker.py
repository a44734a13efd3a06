"""Tracker: the amount by which one rule fails, kept up as an assignment changes."""

import abc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from kvplace.core.problem import Problem

if TYPE_CHECKING:
    from kvplace.solver.array_types import Bools

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


class Ground(NamedTuple):
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


class DomainTracker(Tracker):
    """The amount by which a rule over topology domains fails.

    Parameters
    ----------
    domain
        Of each GPU; -1 for none.

    Attributes
    ----------
    kind
        The `Rule.kind` that it is for.
    """

    kind: ClassVar[str]

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self._domain = domain

    def _domains(self, copies: Copies) -> Iterator[int]:
        """Yield the domain of each shard."""
        return (self._domain[g] for copy in copies for g in copy)

    @classmethod
    def of(
        cls,
        rule: Any,
        ground: Ground,
        concerned: list[int],  # noqa: ARG003 - where not all models are alike
    ) -> tuple[Sequence[int], MakeTracker]:
        """Return labels of the GPUs and what makes a tracker.

        Between GPUs of one label a shard moves without a change to the rule.

        Parameters
        ----------
        rule
            The rule, of the kind that the tracker is for.
        ground
            What trackers are made from.
        concerned
            Models of which the rule speaks.
        """
        domain = ground.topology(rule.over)
        return domain, partial(cls, domain)
