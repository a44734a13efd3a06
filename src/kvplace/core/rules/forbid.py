"""Forbid: models do not run on some places."""

from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.hardware import Fleet
from kvplace.core.rules.place_rule import PlaceRule


@dataclass(frozen=True, slots=True)
class Forbid(PlaceRule):
    """The models do not run on the places."""

    kind: ClassVar[str] = "forbid"

    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""
        return gpus - self.places.of(fleet)

    def __str__(self) -> str:
        return f"forbidden on {self.places}"
