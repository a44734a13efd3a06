"""DemandSeries: what was asked of every model, window by window."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kvplace.core.fact import Fact
from kvplace.errors import InputError

__all__ = ["MAX_CELLS", "Array", "DemandSeries", "Latency", "check_cells"]

MAX_CELLS = 20_000_000
"""The most models times windows that are held: 160 MB per figure."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies that were observed of a model; None where they were not."""

    ttft_seconds: Fact[float] | None = None
    tpot_seconds: Fact[float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DemandSeries:
    """What was asked of every model, window by window.

    Parameters
    ----------
    models
        Names, ascending.
    starts
        Begin of each window in seconds, shape (windows,): since 1970 or since the trace's start.
    covered_seconds
        How much of each window was observed, shape (windows,).
    step_seconds
        Length of a window.
    requests
        Requests in each window, shape (models, windows).
    prompt_tokens, output_tokens
        Tokens in each window, same shape; None where the source does not tell them.
    cached_tokens
        Of the prompt tokens, those that a prefix cache held; None where the source does not tell.
    origin
        Where the figures come from, in a few words.
    notes
        What a reader of the figures should know: gaps, resets, tokens of the prefix cache.
    latencies
        Observed latencies by model.

    Raises
    ------
    InputError
        Nothing was asked, or everything at one instant.
    """

    models: tuple[str, ...]
    starts: Array
    covered_seconds: Array
    step_seconds: float
    requests: Array
    prompt_tokens: Array | None
    output_tokens: Array | None
    origin: str
    notes: tuple[str, ...] = ()
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    cached_tokens: Array | None = None

    def __post_init__(self) -> None:
        if not self.models or not self.requests.sum() > 0:
            raise InputError("there is no request in it", self.origin)
        if not self.covered_seconds.sum() > 0:
            raise InputError("all requests arrive at one instant; that gives no rate", self.origin)

    def only(self, models: Collection[str]) -> "DemandSeries":
        """Return the series of some models; of all where none is named.

        Raises
        ------
        InputError
            A model does not occur in it.
        """
        if not models:
            return self
        unknown = sorted(set(models) - set(self.models))
        if unknown:
            raise InputError([f"{name!r} does not occur in it" for name in unknown], self.origin)
        rows = [index for index, name in enumerate(self.models) if name in models]
        return replace(
            self,
            models=tuple(self.models[index] for index in rows),
            requests=self.requests[rows],
            prompt_tokens=None if self.prompt_tokens is None else self.prompt_tokens[rows],
            output_tokens=None if self.output_tokens is None else self.output_tokens[rows],
            cached_tokens=None if self.cached_tokens is None else self.cached_tokens[rows],
        )

    @property
    def total_seconds(self) -> float:
        """Time observed in all windows together."""
        return float(self.covered_seconds.sum())

    @property
    def pressing(self) -> Array:
        """What presses on memory, per model and window: tokens where known, else requests."""
        if self.prompt_tokens is None or self.output_tokens is None:
            return self.requests
        return self.prompt_tokens + self.output_tokens


def check_cells(models: int, windows: int, step: float, source: str) -> None:
    """Refuse more windows than memory should hold.

    Raises
    ------
    InputError
        `models` x `windows` is more than `MAX_CELLS`.
    """
    if models * windows > MAX_CELLS:
        raise InputError(
            f"{models:,} models x {windows:,} windows of {step:g} s are more than "
            f"{MAX_CELLS:,}; take a longer --step",
            source,
        )
