"""Rules that say where a model may run."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.hardware import Fleet
from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.rule import Breach, Rule


@dataclass(frozen=True, slots=True)
class PlaceRule(Rule):
    """Says of every GPU whether the models may have a shard there.

    Parameters
    ----------
    places
        The GPUs it speaks of.
    """

    gpu_by_gpu: ClassVar[bool] = True
    digested: ClassVar[tuple[str, ...]] = ("models", "soft", "places")

    places: Places = EVERYWHERE

    @abc.abstractmethod
    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:
        """Return those of some GPUs of the fleet on which a shard may be."""

    @property
    def named_places(self) -> Places:
        """The GPUs that the rule tells from others."""
        return self.places

    def describe(self, models: str, be: str) -> str:
        """Return the rule as a sentence."""
        return f"{models} {be} {self}"

    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each model with shards where they may not be, and how many."""
        names = self.concerned(copies)
        taken = {gpu for name in names for replica in copies[name] for gpu in replica.gpus}
        forbidden = taken - self.among(context.fleet, frozenset(taken))
        for name in names if forbidden else ():
            used = [gpu for replica in copies[name] for gpu in replica.gpus]
            bad = [gpu for gpu in used if gpu in forbidden]
            if bad:
                message = f"{name!r} is on {', '.join(sorted(set(bad)))}; {self}"
                yield Breach(name, message, len(bad), (name,))

    def faults(self, context: Context) -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(PlaceRule, self).faults(context)
        if self.places == EVERYWHERE:
            yield "names no places"
        yield from self.places.unknown(context.fleet)
