"""Limit: a domain holds at most so many shards."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.rule import Breach
from kvplace.core.rules.topology_rule import TopologyRule
from kvplace.errors import InputError


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
    digested: ClassVar[tuple[str, ...]] = ("models", "soft", "over", "most", "places")

    over: str = "gpu"
    most: int = 1
    places: Places = EVERYWHERE

    def __post_init__(self) -> None:
        super(Limit, self).__post_init__()
        if self.most < 0:
            raise InputError(f"a rule limit allows at least 0 shards, not {self.most}")

    @property
    def named_places(self) -> Places:
        """The GPUs that the rule tells from others."""
        return self.places

    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each domain with too many shards."""
        count: Counter[str] = Counter()
        names: dict[str, set[str]] = {}
        for name in self.concerned(copies):
            for gpu in (gpu for copy in copies[name] for gpu in copy.gpus):
                domain = context.fleet.domain(gpu, self.over)
                if domain is not None and self.counts(context, gpu):
                    count[domain] += 1
                    names.setdefault(domain, set()).add(name)
        for domain in sorted(count):
            if count[domain] > self.most:
                message = f"{self.over} {domain} holds {count[domain]} shards; {self.most} may be"
                over = count[domain] - self.most
                yield Breach(domain, message, over, tuple(sorted(names[domain])))

    def least(self, context: Context, shards: Mapping[str, int]) -> float:
        """Count shards over domains, where all GPUs count."""
        domains = self.domains_of(context)
        if domains is None or self.places != EVERYWHERE:
            return 0.0
        total = sum(shards[name] for name in self.concerned(shards))
        return float(max(0, total - self.most * len(domains)))

    def counts(self, context: Context, gpu_id: str) -> bool:
        """Whether the shards on a GPU count."""
        return self.places == EVERYWHERE or (context.fleet, gpu_id) in self.places

    def faults(self, context: Context) -> Iterator[str]:
        """Yield what the problem does not have."""
        yield from super(Limit, self).faults(context)
        yield from self.places.unknown(context.fleet)

    def describe(self, models: str, be: str) -> str:  # noqa: ARG002 - of the interface
        """Return the rule as a sentence."""
        at = "" if self.places == EVERYWHERE else f" of {self.places}"
        return f"at most {self.most} shards of {models} in each {self.over}{at}"
