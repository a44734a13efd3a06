"""Apart: no two of some models share a domain."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.rule import Breach
from kvplace.core.rules.topology_rule import NOWHERE, TopologyRule, listed


@dataclass(frozen=True, slots=True)
class Apart(TopologyRule):
    """No two of the models share a domain."""

    kind: ClassVar[str] = "apart"

    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each domain with more than one of the models."""
        held: dict[str, set[str]] = {}
        for name in self.concerned(copies):
            for replica in copies[name]:
                for domain in self.domains(context, replica):
                    held.setdefault(domain, set()).add(name)
        for domain in sorted(held):
            names = sorted(held[domain])
            if domain != NOWHERE and len(names) > 1:
                message = f"{listed(names)} share {self.over} {domain}; they are to be kept apart"
                yield Breach(domain, message, len(names) - 1, tuple(names))

    def least(self, context: Context, shards: Mapping[str, int]) -> float:
        """Count models over domains: with more of them than domains, some share one.

        Shards of one model are on GPUs of their own.
        """
        domains = self.domains_of(context)
        if domains is None:
            return 0.0
        touched = (shards[name] if self.over == "gpu" else 1 for name in self.concerned(shards))
        return float(max(0, sum(touched) - len(domains)))

    def describe(self, models: str, be: str) -> str:  # noqa: ARG002 - of the interface
        """Return the rule as a sentence."""
        return f"no two of {models} share a {self.over}"
