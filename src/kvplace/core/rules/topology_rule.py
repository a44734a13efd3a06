"""Rules over the domains into which a topology key divides the GPUs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.rule import Rule

_LISTED = 8
"""Labels that a message names."""

NOWHERE = "(no domain)"
"""Stands for the domain of a GPU whose node lacks the label."""


@dataclass(frozen=True, slots=True)
class TopologyRule(Rule):
    """Speaks of the domains into which a topology key divides the GPUs.

    Parameters
    ----------
    over
        ``gpu``, ``link``, ``node``, or the name of a label of nodes.
    """

    digested: ClassVar[tuple[str, ...]] = ("models", "soft", "over")

    over: str = "node"

    def faults(self, context: Context) -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(TopologyRule, self).faults(context)
        fleet = context.fleet
        if not any(fleet.domain(node.gpus[0].id, self.over) for node in fleet.nodes if node.gpus):
            labels = sorted({label for node in fleet.nodes for label in node.labels})
            known = ", ".join(["gpu", "link", "node", *labels[:_LISTED]])
            yield f"no node has the label {self.over!r}; over is one of {known}"

    def domains_of(self, context: Context) -> set[str] | None:
        """Return all domains; None where a GPU is in none."""
        fleet = context.fleet
        if self.over == "gpu":
            return set(fleet.position)
        first = (node.gpus[0] for node in fleet.nodes if node.gpus)
        gpus = fleet.gpus if self.over == "link" else first
        found = {fleet.domain(gpu.id, self.over) for gpu in gpus}
        return None if None in found else {domain for domain in found if domain is not None}

    def domains(self, context: Context, replica: Replica) -> set[str]:
        """Return the domains that a replica touches."""
        return {context.fleet.domain(gpu, self.over) or NOWHERE for gpu in replica.gpus}


def listed(names: list[str]) -> str:
    """List names, the first few of many."""
    few = ", ".join(repr(name) for name in names[:4])
    return few + (f" and {len(names) - 4} more" if len(names) > 4 else "")
