"""Reserve: some places are left to others."""

from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.rules.forbid import Forbid
from kvplace.errors import InputError


@dataclass(frozen=True, slots=True)
class Reserve(Forbid):
    """The places are used by others: no model runs there."""

    kind: ClassVar[str] = "reserve"

    def __post_init__(self) -> None:
        super(Reserve, self).__post_init__()
        if self.models != ("*",) or self.soft is not None:
            raise InputError("a rule reserve speaks of all models and must hold")

    def describe(self, models: str, be: str) -> str:  # noqa: ARG002 - of the interface
        """Return the rule as a sentence."""
        return str(self)

    def __str__(self) -> str:
        return f"{self.places} is reserved for others"
