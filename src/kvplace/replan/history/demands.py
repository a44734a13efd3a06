"""What was asked of every model, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kvplace.core.problem import Problem


@dataclass(frozen=True, slots=True)
class Demands:
    """Rates of every model in every window.

    Parameters
    ----------
    rates
        Requests per second by the name of the model, one per window.
    step_seconds
        Length of a window.
    """

    rates: Mapping[str, Sequence[float]]
    step_seconds: float

    def at(self, window: int) -> dict[str, float]:
        """Return the rate of each model in a window."""
        return {name: rates[window] for name, rates in self.rates.items()}

    def peaks(self) -> dict[str, float]:
        """Return the highest rate of each model."""
        return {name: max(rates) for name, rates in self.rates.items()}

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return min((len(rates) for rates in self.rates.values()), default=0)

    def part(self, first: int, end: int) -> Demands:
        """Return windows from one on, up to another."""
        return Demands(
            {name: tuple(rates[first:end]) for name, rates in self.rates.items()},
            self.step_seconds,
        )


def with_rates(problem: Problem, rates: Mapping[str, float]) -> Problem:
    """Return a problem under other rates; models without one keep theirs."""
    models = tuple(
        replace(m, demand=replace(m.demand, requests_per_second=rates[m.name]))
        if m.name in rates and rates[m.name] != m.demand.requests_per_second
        else m
        for m in problem.models
    )
    return replace(problem, models=models)
