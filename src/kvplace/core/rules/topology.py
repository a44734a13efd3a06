"""Rules over topology domains: together, apart, spread, limit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvplace.core.placement import Replica
from kvplace.core.rules.rule import EVERYWHERE, Breach, Places, Rule

if TYPE_CHECKING:
    from kvplace.core.problem import Problem

__all__ = ["Apart", "Limit", "Spread", "Together", "TopologyRule"]

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

    over: str = "node"

    def faults(self, problem: "Problem") -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(TopologyRule, self).faults(problem)
        fleet = problem.fleet
        if not any(fleet.domain(node.gpus[0].id, self.over) for node in fleet.nodes if node.gpus):
            yield f"no node has the label {self.over!r}"

    def _domains(self, problem: "Problem", replica: Replica) -> set[str]:
        """Return the domains that a replica touches."""
        return {problem.fleet.domain(gpu, self.over) or NOWHERE for gpu in replica.gpus}


@dataclass(frozen=True, slots=True)
class Together(TopologyRule):
    """All shards of the models are in one domain."""

    kind: ClassVar[str] = "together"

    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield one breach: by how many domains there are too many."""
        names = self.concerned(copies)
        used = {d for name in names for copy in copies[name] for d in self._domains(problem, copy)}
        if len(used) > 1:
            message = f"{_names(names)} are in {len(used)} domains of {self.over}, not in one"
            yield Breach(names[0], message, len(used) - 1, tuple(names))


@dataclass(frozen=True, slots=True)
class Apart(TopologyRule):
    """No two of the models share a domain."""

    kind: ClassVar[str] = "apart"

    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each domain with more than one of the models."""
        held: dict[str, set[str]] = {}
        for name in self.concerned(copies):
            for replica in copies[name]:
                for domain in self._domains(problem, replica):
                    held.setdefault(domain, set()).add(name)
        for domain in sorted(held):
            names = sorted(held[domain])
            if domain != NOWHERE and len(names) > 1:
                message = f"{_names(names)} share {self.over} {domain}; they are to be kept apart"
                yield Breach(domain, message, len(names) - 1, tuple(names))


@dataclass(frozen=True, slots=True)
class Spread(TopologyRule):
    """The copies of each model are spread over the domains it may run in.

    Parameters
    ----------
    max_skew
        Most by which the domain with the most copies may exceed the one with the fewest.
    """

    kind: ClassVar[str] = "spread"

    max_skew: int = 1

    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each model that is spread too unevenly."""
        for name in self.concerned(copies):
            domains = problem.domains_allowed(problem.index_of[name], self.over)
            if not domains:
                continue
            count = dict.fromkeys(domains, 0)
            for copy in copies[name]:
                for domain in self._domains(problem, copy):
                    if domain in count:
                        count[domain] += 1
            high, low = max(count.values()), min(count.values())
            if high - low > self.max_skew:
                message = (
                    f"{name!r} has {high} copies in one {self.over} and {low} in another; the "
                    f"skew may be {self.max_skew}"
                )
                yield Breach(name, message, high - low - self.max_skew, (name,))


@dataclass(frozen=True, slots=True)
class Limit(TopologyRule):
    """No domain holds more than so many engine processes, that is shards, of the models.

    Parameters
    ----------
    most
        Shards allowed in a domain.
    places
        GPUs it speaks of; all by default.
    """

    kind: ClassVar[str] = "limit"

    over: str = "gpu"
    most: int = 1
    places: Places = EVERYWHERE

    def breaches(self, problem: "Problem", copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each domain with too many shards."""
        count: Counter[str] = Counter()
        names: dict[str, set[str]] = {}
        for name in self.concerned(copies):
            for gpu in (gpu for copy in copies[name] for gpu in copy.gpus):
                domain = problem.fleet.domain(gpu, self.over)
                if domain is not None and self.counts(problem, gpu):
                    count[domain] += 1
                    names.setdefault(domain, set()).add(name)
        for domain in sorted(count):
            if count[domain] > self.most:
                message = f"{self.over} {domain} holds {count[domain]} shards; {self.most} may be"
                over = count[domain] - self.most
                yield Breach(domain, message, over, tuple(sorted(names[domain])))

    def counts(self, problem: "Problem", gpu_id: str) -> bool:
        """Whether the shards on a GPU count."""
        return self.places == EVERYWHERE or (problem.fleet, gpu_id) in self.places

    def faults(self, problem: "Problem") -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(Limit, self).faults(problem)
        yield from self.places.unknown(problem.fleet)


def _names(names: list[str]) -> str:
    """List names, the first few of many."""
    few = ", ".join(repr(name) for name in names[:4])
    return few + (f" and {len(names) - 4} more" if len(names) > 4 else "")
