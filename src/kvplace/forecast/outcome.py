"""What a forecast says: of each model, of each GPU, and of all requests."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelForecast:
    """What is expected of one model, over all its copies.

    Parameters
    ----------
    name
        Of the model.
    ttft_seconds, tpot_seconds
        Mean time to the first token and per output token.
    requests
        Mean requests in the system.
    attainment
        Part of the requests that keep every objective; 1 without demand.
    slow_down
        How much slower its steps are than alone on their GPUs.
    """

    name: str
    ttft_seconds: float
    tpot_seconds: float
    requests: float
    attainment: float
    slow_down: float


@dataclass(frozen=True, slots=True)
class GPUForecast:
    """What is expected of one GPU.

    Parameters
    ----------
    id
        Of the GPU.
    pool_used
        Mean KV bytes in use as a part of the pool.
    pool_overflow
        Chance that more KV is asked for than the pool holds.
    busy
        Part of the time in which at least one step runs.
    attainment
        Part of the requests of its engines that keep every objective.
    pressure
        The largest of time per token / objective, TTFT / objective and `pool_used`.
    """

    id: str
    pool_used: float
    pool_overflow: float
    busy: float
    attainment: float
    pressure: float


@dataclass(frozen=True, slots=True, repr=False)
class Forecast:
    """What a placement is expected to serve; an expectation, which proves nothing.

    Parameters
    ----------
    models, gpus
        In the order of the problem and of the fleet.
    load
        Factor on the stated demand.
    settled
        Whether the fixed point was reached.
    notes
        What to know about the figures.
    """

    models: Sequence[ModelForecast]
    gpus: Sequence[GPUForecast]
    rates: Sequence[float]
    load: float
    settled: bool
    notes: Sequence[str]

    def __repr__(self) -> str:
        of = f"{len(self.models):,} models on {len(self.gpus):,} GPUs"
        return f"<Forecast at load {self.load:g}: {self.attainment:.1%} in time, {of}>"

    @property
    def attainment(self) -> float:
        """Part of all requests that keep every objective."""
        total = sum(self.rates)
        if not total:
            return 1.0
        kept = sum(r * m.attainment for r, m in zip(self.rates, self.models, strict=True))
        return kept / total

    @property
    def mean_attainment(self) -> float:
        """Mean of the attainments of the models that are asked for."""
        asked = [m.attainment for r, m in zip(self.rates, self.models, strict=True) if r]
        return sum(asked) / len(asked) if asked else 1.0

    @property
    def pressure(self) -> float:
        """The largest pressure of a GPU."""
        return max(gpu.pressure for gpu in self.gpus)
