"""What is asked of a model in a fleet file, what it caches, and how fast it was measured."""

from typing import Self

from pydantic import Field, model_validator

from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.kv_cache import SlidingWindow
from kvplace.core.models.measured import MeasuredStep
from kvplace.core.models.window import Window
from kvplace.formats.fleet.rules import Names
from kvplace.formats.validation.fields import (
    BytesPerToken,
    Count,
    Duration,
    Name,
    Number,
    Rate,
    Tokens,
    Variation,
)
from kvplace.formats.validation.parts import Part
from kvplace.formats.validation.values import refuse_value


class DemandPart(Part):
    """What is asked of a model, all replicas together."""

    core = Demand

    requests_per_second: Rate = Field(examples=["2.1"])
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cached_tokens: Tokens = 0.0
    """Of prompt_tokens, those that a prefix cache holds on average."""
    dispersion: Variation = 1.0
    """Index of dispersion of arrivals, variance over mean of their number; 1 is Poisson. Counts
    with `quantile`."""
    prompt_cv: Variation = 1.0
    """Coefficient of variation of prompt_tokens. Counts with `quantile`."""
    output_cv: Variation = 0.8
    """Coefficient of variation of output_tokens. Counts with `quantile`."""

    @model_validator(mode="after")
    def _cached(self) -> Self:
        if self.cached_tokens > (self.prompt_tokens or 0.0):
            refuse_value(f"cached_tokens {self.cached_tokens:g} is more than the prompt's tokens")
        return self


class WindowDemandPart(DemandPart):
    """What is asked of a model in one window, all replicas together."""

    window: Name = Field(examples=["day"])


class WindowPart(Part):
    """A window of demand: a stretch of the day, a peak, a what-if."""

    core = Window

    name: Name = Field(examples=["day"])
    weight: Rate = 1.0
    """How much of all time it stands for, in any unit."""
    like: Name | None = None
    """Of a what-if, the window that it is like; models state no demand in it."""
    factor: Number = 1.0
    """In a what-if, the factor on the rate of the models named."""
    models: Names | None = None
    """In a what-if, the models that the factor hits."""


class SLOPart(Part):
    """Latency objectives."""

    core = SLO

    ttft_seconds: Duration | None = Field(default=None, alias="ttft")
    """Time to first token."""
    tpot_seconds: Duration | None = Field(default=None, alias="tpot")
    """Time per output token."""
    latency_seconds: Duration | None = Field(default=None, alias="latency")
    """Time of a whole request; by default ttft + output_tokens x tpot."""


class SlidingWindowPart(Part):
    """Layers that keep the last tokens of a request only."""

    core = SlidingWindow

    tokens: Count = Field(examples=["4096"])
    """How many they keep."""
    kv_bytes_per_token: BytesPerToken
    """What one token takes in all of them together."""


class MeasuredStepPart(Part):
    """What was measured of an engine that had its GPUs alone."""

    core = MeasuredStep

    gpu_type: Name = Field(examples=["H100-SXM-80GB"])
    tensor_parallel: Count = 1
    batch: Tokens = 1.0
    """Sequences in the decode step."""
    context_tokens: Tokens | None = None
    """Mean tokens that each of them held."""
    decode_seconds: Duration | None = Field(default=None, alias="decode")
    """Time of the decode step."""
    prompt_tokens: Tokens | None = None
    prefill_seconds: Duration | None = Field(default=None, alias="prefill")
    """Time of a prefill of prompt_tokens."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.checked()
        return self
