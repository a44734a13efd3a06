"""What a simulation found: who was served within the objectives, and where it went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """One model under one load and seed.

    Parameters
    ----------
    name
        Of the model.
    requests, kept, unfinished, too_long
        Requests counted; those that kept every objective; those without an answer when the
        simulation ended; those that no pool can ever hold.
    ttft_seconds, ttft_p99_seconds, tpot_seconds, tpot_p99_seconds
        Mean and 99th percentile over answered requests; None without any.
    preemptions
        Recomputations of its requests.
    """

    name: str
    requests: int
    kept: int
    unfinished: int
    too_long: int
    ttft_seconds: float | None
    ttft_p99_seconds: float | None
    tpot_seconds: float | None
    tpot_p99_seconds: float | None
    preemptions: int

    @property
    def attainment(self) -> float:
        """Part of the requests that kept every objective; 1 without requests."""
        return self.kept / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class GPUOutcome:
    """One GPU under one load and seed.

    Parameters
    ----------
    id
        Of the GPU.
    requests, kept
        Of the requests of the engines on it.
    pool_bytes, peak_bytes, mean_bytes
        Its KV memory, the most that was held, and the mean over time.
    busy
        Part of the time in which a step ran.
    preemptions
        By its engines.
    """

    id: str
    requests: int
    kept: int
    pool_bytes: int
    peak_bytes: int
    mean_bytes: float
    busy: float
    preemptions: int

    @property
    def attainment(self) -> float:
        """Part of the requests that kept every objective; 1 without requests."""
        return self.kept / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fleet under one load and seed.

    Parameters
    ----------
    load
        Factor on the stated demand.
    seed
        Of the requests.
    models, gpus
        In the order of the problem and of the fleet.
    """

    load: float
    seed: int
    models: Sequence[ModelOutcome]
    gpus: Sequence[GPUOutcome]

    @property
    def requests(self) -> int:
        """Requests counted."""
        return sum(model.requests for model in self.models)

    @property
    def attainment(self) -> float:
        """Part of all requests that kept every objective; 1 without requests."""
        requests = self.requests
        return sum(model.kept for model in self.models) / requests if requests else 1.0

    @property
    def mean_attainment(self) -> float:
        """Mean of the attainments of the models that had requests."""
        asked = [model.attainment for model in self.models if model.requests]
        return sum(asked) / len(asked) if asked else 1.0

    @property
    def worst_gpu(self) -> GPUOutcome:
        """The GPU with the lowest attainment."""
        return min(self.gpus, key=lambda gpu: gpu.attainment)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A fleet under several loads and seeds.

    Parameters
    ----------
    outcomes
        By load, then by seed.
    seconds
        Simulated time per outcome.
    complete
        False where it was interrupted: the outcomes are those that were done.
    notes
        What to know about the figures, such as estimated step times.
    """

    outcomes: Sequence[Outcome]
    seconds: float
    complete: bool
    notes: Sequence[str]

    def loads(self) -> list[float]:
        """Return the loads, ascending."""
        return sorted({outcome.load for outcome in self.outcomes})

    def at(self, load: float) -> list[Outcome]:
        """Return the outcomes of one load, by seed."""
        return sorted((o for o in self.outcomes if o.load == load), key=lambda o: o.seed)

    def attainment(self, load: float) -> float:
        """Return the part of the requests that kept their objectives, over all seeds."""
        found = self.at(load)
        requests = sum(outcome.requests for outcome in found)
        kept = sum(model.kept for outcome in found for model in outcome.models)
        return kept / requests if requests else 1.0
