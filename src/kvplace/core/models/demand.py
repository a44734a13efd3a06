"""Demand and SLO: what is asked of a model, and how fast it is to answer."""

from dataclasses import dataclass
from typing import ClassVar

from kvplace.field_types import hold_types

MOST_VARIATION = 1_000_000
"""Most of each field that says how much a demand varies, so that powers of it are finite."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a model, all replicas together.

    Parameters
    ----------
    requests_per_second
        Mean arrival rate; 0 for a standby.
    prompt_tokens, output_tokens
        Mean tokens of a request; None where unknown.
    cached_tokens
        Of `prompt_tokens`, those that a prefix cache already holds on average: they are not
        computed again, but the request needs their KV memory as long as it runs.
    dispersion
        Index of dispersion of arrivals: variance over mean of the requests in a stretch of time; 1
        is Poisson. It counts where a plan is made for a quantile.
    prompt_cv, output_cv
        Coefficients of variation of the token counts, which count there too, and where layers
        have a sliding window. The defaults are those of the simulation.
    """

    requests_per_second: float
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    cached_tokens: float = 0.0
    dispersion: float = 1.0
    prompt_cv: float = 1.0
    output_cv: float = 0.8

    ALONE: ClassVar = frozenset(("requests_per_second", "prompt_tokens", "output_tokens"))
    """Fields that are checked by themselves, as `kvplace.core.columns.made` says."""

    def __post_init__(self) -> None:
        hold_types(self)

    @property
    def too_varied(self) -> list[str]:
        """Fields that state a variation above `MOST_VARIATION`."""
        fields = ("dispersion", "prompt_cv", "output_cv")
        return [name for name in fields if getattr(self, name) > MOST_VARIATION]

    @property
    def held_variation(self) -> float:
        """Squared coefficient of variation of the tokens of a request at a random time.

        The prompt and a uniform part of the output; a request with a long output is met more
        often. 0 where token counts are not known.
        """
        prompt, output = self.prompt_tokens or 0.0, self.output_tokens or 0.0
        mean = prompt + output / 2
        if mean <= 0:
            return 0.0
        longer = 1 + self.output_cv**2
        of_output = output**2 * (longer**3 / 3 - longer**2 / 4)
        return ((self.prompt_cv * prompt) ** 2 + of_output) / mean**2


@dataclass(frozen=True, slots=True)
class SLO:
    """Latency objectives, in seconds; None where not given.

    Parameters
    ----------
    ttft_seconds
        Time to first token.
    tpot_seconds
        Time per output token.
    latency_seconds
        Time of a whole request; `Model.latency_seconds` derives it where it is None.
    """

    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    latency_seconds: float | None = None

    ALONE: ClassVar = frozenset(("ttft_seconds", "tpot_seconds", "latency_seconds"))
    """As of `Demand`."""

    def __post_init__(self) -> None:
        hold_types(self)
