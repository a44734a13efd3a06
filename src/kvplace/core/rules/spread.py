"""Spread: the copies of a model are spread evenly over domains."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from kvplace.core.names import MAX_COUNT
from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.rule import Breach
from kvplace.core.rules.topology_rule import TopologyRule
from kvplace.errors import InputError


@dataclass(frozen=True, slots=True)
class Spread(TopologyRule):
    """The copies of each model are spread over the domains it may run in.

    Parameters
    ----------
    max_skew
        Most by which the domain with the most copies may exceed the one with the fewest.
    """

    kind: ClassVar[str] = "spread"
    model_by_model: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    digested: ClassVar[tuple[str, ...]] = ("models", "soft", "over", "max_skew")

    max_skew: int = 1

    def __post_init__(self) -> None:
        super(Spread, self).__post_init__()
        if not 1 <= self.max_skew <= MAX_COUNT:
            message = f"the skew of a rule spread is 1 to {MAX_COUNT:,}, not {self.max_skew}"
            raise InputError(message)

    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield each model that is spread too unevenly."""
        for name in self.concerned(copies):
            domains = context.domains_allowed(context.index_of[name], self.over)
            if not domains:
                continue
            count = dict.fromkeys(domains, 0)
            for copy in copies[name]:
                for domain in self.domains(context, copy):
                    if domain in count:
                        count[domain] += 1
            high, low = max(count.values()), min(count.values())
            if high - low > self.max_skew:
                message = (
                    f"{name!r} has {high} copies in one {self.over} and {low} in another; the "
                    f"skew may be {self.max_skew}"
                )
                yield Breach(name, message, high - low - self.max_skew, (name,))

    def describe(self, models: str, be: str) -> str:  # noqa: ARG002 - of the interface
        """Return the rule as a sentence."""
        return f"copies of {models} are spread over {self.over}, skew at most {self.max_skew}"
