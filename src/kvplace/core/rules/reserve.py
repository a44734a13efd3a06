"""Reserve: some places are left to others."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.rules.forbid import Forbid

__all__ = ["Reserve"]


@dataclass(frozen=True, slots=True)
class Reserve(Forbid):
    """The places are used by others: no model runs there, whatever `models` says."""

    kind: ClassVar[str] = "reserve"

    def concerned(self, names: Iterable[str]) -> list[str]:
        """Return all names."""
        return list(names)

    def describe(self, models: str, be: str) -> str:  # noqa: ARG002 - of the interface
        """Return the rule as a sentence."""
        return str(self)

    def __str__(self) -> str:
        return f"{self.places} is reserved for others"
