"""Together: all shards of some models are in one domain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.rule import Breach
from kvplace.core.rules.topology_rule import TopologyRule, listed


@dataclass(frozen=True, slots=True)
class Together(TopologyRule):
    """All shards of the models are in one domain."""

    kind: ClassVar[str] = "together"

    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield one breach: by how many domains there are too many."""
        names = self.concerned(copies)
        used = {d for name in names for copy in copies[name] for d in self.domains(context, copy)}
        if len(used) > 1:
            message = f"{listed(names)} are in {len(used)} domains of {self.over}, not in one"
            yield Breach(names[0], message, len(used) - 1, tuple(names))

    def describe(self, models: str, be: str) -> str:
        """Return the rule as a sentence."""
        return f"{models} {be} together in one {self.over}"
