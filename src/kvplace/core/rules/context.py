"""Context: what a rule may know of the problem that it is part of."""

from collections.abc import Mapping
from typing import Protocol

from kvplace.core.hardware import Fleet


class Context(Protocol):
    """What a rule may know of the problem: the fleet, and which models there are."""

    @property
    def fleet(self) -> Fleet:
        """What there is to place on."""
        ...

    @property
    def index_of(self) -> Mapping[str, int]:
        """Position of each model by its name."""
        ...

    def domains_allowed(self, index: int, key: str) -> tuple[str, ...]:
        """Return the domains of a topology key that hold a GPU a model may run on, sorted."""
        ...
