"""Window: one stretch of demand, such as an hour of the day, a peak or a what-if."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.core.models.demand import Demand
from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of demand.

    Parameters
    ----------
    name
        Unique in the problem.
    weight
        How much of all time it stands for, in any unit; it decides the mean demand, and not the
        pressure, which must hold in every window.
    like
        Of a what-if, the window that it is like; empty for one that is observed or expected.
    factor, models
        In a what-if, the factor on the rate of the models named; all others are as in `like`.

    Raises
    ------
    InputError
        The name is empty, the weight is not finite and above 0, or a what-if is incomplete.
    """

    name: str
    weight: float = 1.0
    like: str = ""
    factor: float = 1.0
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        hold_types(self)
        if not self.name:
            raise InputError("a window has no name")
        wrong, path = "", ""
        if not 0 < self.weight < math.inf:
            wrong, path = f"has a weight of {self.weight!r}; it must be above 0", "weight"
        elif bool(self.like) != bool(self.models):
            wrong, path = "states one of like and models, which belong together", "like"
        elif not 0 <= self.factor < math.inf:
            wrong, path = f"has a factor of {self.factor!r}; it must be at least 0", "factor"
        elif self.factor != 1 and not self.like:
            wrong, path = "has a factor, and is like no other window", "factor"
        if wrong:
            raise InputError([Fault(f"window {self.name!r} {wrong}", path)])


ALWAYS = Window("always")
"""The window of a problem that states one demand."""


def mean_demand(demands: Sequence[Demand], weights: Sequence[float]) -> Demand:
    """Return the mean demand over windows.

    Parameters
    ----------
    demands
        Demand in each window; at least one.
    weights
        Weight of each window, above 0.

    Returns
    -------
    Demand
        The weighted mean rate, with the token counts of its mean request; None where a window
        that has requests does not give them.
    """
    if all(demand == demands[0] for demand in demands):
        return demands[0]
    parts = [w * d.requests_per_second for w, d in zip(weights, demands, strict=True)]
    total = math.fsum(parts)

    def mean(counts: Sequence[float | None]) -> float | None:
        if total == 0 or len(set(counts)) == 1:
            return counts[0]
        found = [(part, count) for part, count in zip(parts, counts, strict=True) if part]
        if any(count is None for _, count in found):
            return None
        return math.fsum(part * (count or 0.0) for part, count in found) / total

    return Demand(
        total / math.fsum(weights),
        mean([demand.prompt_tokens for demand in demands]),
        mean([demand.output_tokens for demand in demands]),
        *(
            mean([getattr(demand, name) for demand in demands]) or 0.0
            for name in ("cached_tokens", "dispersion", "prompt_cv", "output_cv")
        ),
    )
