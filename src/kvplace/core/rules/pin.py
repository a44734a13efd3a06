"""Pin: models run on some places and nowhere else."""

from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.hardware import Fleet
from kvplace.core.rules.place_rule import PlaceRule


@dataclass(frozen=True, slots=True)
class Pin(PlaceRule):
    """The models run on the places and nowhere else."""

    kind: ClassVar[str] = "pin"
    confines: ClassVar[bool] = True

    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""
        return gpus & self.places.of(fleet)

    def __str__(self) -> str:
        return f"pinned to {self.places}"
