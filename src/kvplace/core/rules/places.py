"""Rules that say where a model may run: pin, forbid, reserve."""

import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvplace.core.hardware import Fleet
from kvplace.core.placement import Replica
from kvplace.core.rules.rule import EVERYWHERE, Breach, Places, Rule

if TYPE_CHECKING:
    from kvplace.core.problem import Problem

__all__ = ["Forbid", "Pin", "PlaceRule", "Reserve"]


@dataclass(frozen=True, slots=True)
class PlaceRule(Rule):
    """Says of every GPU whether the models may have a shard there.

    Parameters
    ----------
    places
        The GPUs it speaks of.
    """

    places: Places = EVERYWHERE

    @abc.abstractmethod
    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""

    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each model with shards where they may not be, and how many."""
        names = self.concerned(copies)
        taken = {gpu for name in names for replica in copies[name] for gpu in replica.gpus}
        forbidden = taken - self.among(problem.fleet, frozenset(taken))
        for name in names if forbidden else ():
            used = [gpu for replica in copies[name] for gpu in replica.gpus]
            bad = [gpu for gpu in used if gpu in forbidden]
            if bad:
                message = f"{name!r} is on {', '.join(sorted(set(bad)))}; {self}"
                yield Breach(name, message, len(bad), (name,))

    def faults(self, problem: "Problem") -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(PlaceRule, self).faults(problem)
        if self.places == EVERYWHERE:
            yield "names no places"
        yield from self.places.unknown(problem.fleet)


@dataclass(frozen=True, slots=True)
class Pin(PlaceRule):
    """The models run on the places and nowhere else."""

    kind: ClassVar[str] = "pin"

    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""
        return gpus & self.places.of(fleet)

    def __str__(self) -> str:
        return f"pinned to {self.places}"


@dataclass(frozen=True, slots=True)
class Forbid(PlaceRule):
    """The models do not run on the places."""

    kind: ClassVar[str] = "forbid"

    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""
        return gpus - self.places.of(fleet)

    def __str__(self) -> str:
        return f"forbidden on {self.places}"


@dataclass(frozen=True, slots=True)
class Reserve(Forbid):
    """The places are used by others: no model runs there, whatever `models` says."""

    kind: ClassVar[str] = "reserve"

    def concerned(self, names: Iterable[str]) -> list[str]:
        """Return all names."""
        return list(names)

    def __str__(self) -> str:
        return f"{self.places} is reserved for others"
