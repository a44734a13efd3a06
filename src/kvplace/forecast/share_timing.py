"""Shares of GPU time for a `Problem`: from the shapes of models and the speeds of GPUs."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace

from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model
from kvplace.core.timing import Timing
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.time_share import Idle, TimeShare, idle_times, time_share
from kvplace.forecast.times import cache_reads, dense_shape, known_speed, known_step_time

STEPS = 2**40
"""Steps of a share of 1: shares are rounded to these, so that machines whose exponentials differ
in the last bit plan alike."""


@dataclass(frozen=True)
class ShareTiming(Timing):
    """Shares by the roofline of the GPU type, of models whose shape is known.

    A share of a model whose shape was guessed would decide a plan by a guess: it counts as missing,
    unless guesses are asked for.

    Parameters
    ----------
    guess
        Whether a model without a shape is taken as dense, in 16 bits, and as large as its weights.
    """

    guess: bool = False

    def missing(self, model: Model) -> list[str]:
        """Return the fields that a share needs and a model does not give."""
        busy = [d for d in (model.demand, *model.windows.values()) if d.requests_per_second]
        if not busy or (model.cacheless and self._prefills(model, busy) is None):
            return []  # an encoder of which too little is known counts as taking no time
        busy = self._prefills(model, busy) or busy if model.cacheless else busy
        decodes = any(demand.output_tokens != 0 for demand in busy)
        lacking = {
            "architecture": self._shape(model) is None,
            "kv_bytes_per_token": model.kv_bytes_per_token is None,
            "slo.tpot": decodes and not model.slo.tpot_seconds,
            "demand.prompt_tokens": any(demand.prompt_tokens is None for demand in busy),
            "demand.output_tokens": any(demand.output_tokens is None for demand in busy),
        }
        return [field for field, lacks in lacking.items() if lacks]

    def unknown(self, gpu_types: Iterable[str]) -> list[str]:
        """Return those of some GPU types that the catalogue does not know."""
        return [name for name in gpu_types if known_speed(name) is None]

    def share(self, model: Model, demand: Demand, degree: int, part: float, gpu_type: str) -> float:
        """Return the share of one GPU's time that a shard needs to keep its objectives."""
        return self.shares_in(model, [demand], degree, part, gpu_type)[0]

    def shares_in(
        self, model: Model, demands: Sequence[Demand], degree: int, part: float, gpu_type: str
    ) -> list[float]:
        """Return the share for each of some demands."""
        times = self._times(model, degree, gpu_type)
        found = [self._parts(times, model, demand, part) for demand in demands]
        return [math.inf if s is None else round(s.total * STEPS) / STEPS for s in found]

    def parts(
        self, model: Model, demand: Demand, degree: int, part: float, gpu_type: str
    ) -> TimeShare | None:
        """Return the share in parts, not rounded; None where the facts do not suffice."""
        return self._parts(self._times(model, degree, gpu_type), model, demand, part)

    def _parts(
        self, times: StepTime | None, model: Model, demand: Demand, part: float
    ) -> TimeShare | None:
        """Return the share in parts of a model with such step times."""
        if demand.requests_per_second == 0:
            return TimeShare(0.0, 0.0, 0.0)
        if model.cacheless:
            known = self._prefills(model, [demand])
            if known is None:
                return TimeShare(0.0, 0.0, 0.0)
            (demand,) = known
        return None if times is None else time_share(times, demand, model.slo, part)

    @staticmethod
    def _prefills(model: Model, demands: Sequence[Demand]) -> list[Demand] | None:
        """Return demands without outputs; None where shape or lengths are not known."""
        if model.architecture is None or any(d.prompt_tokens is None for d in demands):
            return None
        return [replace(demand, output_tokens=0.0) for demand in demands]

    def idle(self, model: Model, degree: int, gpu_type: str) -> Idle | None:
        """Return how fast a copy serves one request and nothing else; None where not known."""
        times = self._times(model, degree, gpu_type)
        return None if times is None else idle_times(times, model.demand)

    def _times(self, model: Model, degree: int, gpu_type: str) -> StepTime | None:
        shape = self._shape(model)
        if shape is None or model.kv_bytes_per_token is None:
            return None
        reads = cache_reads(model, degree)
        found = known_step_time(shape, reads, gpu_type, degree, model.step_times)
        return None if found is None else found[0]

    def guessed(self, model: Model) -> bool:
        """Whether the shape of a model is a guess; without demand none is needed."""
        no_shape = model.architecture is None and not model.step_times
        asked = any(d.requests_per_second for d in (model.demand, *model.windows.values()))
        return self.guess and no_shape and asked and not model.cacheless

    def _shape(self, model: Model) -> Architecture | None:
        """Return the shape of a model; None where it is not known and not to be guessed.

        Of a model whose steps were measured, that of a dense one will do, scaled to them.
        """
        if model.architecture is None and (model.step_times or self.guessed(model)):
            return dense_shape(model.weights_bytes)
        return model.architecture

    def basis(self, models: Sequence[Model]) -> Iterator[object]:
        """Yield the shape of each model and what it keeps per token and sequence."""
        for model in models:
            shape = self._shape(model)
            yield [
                None if shape is None else astuple(shape),
                model.kv_bytes_per_token,
                model.kv_bytes_per_sequence,
                *(["windows", w.tokens, w.kv_bytes_per_token] for w in model.sliding_windows),
                *map(list, map(astuple, model.step_times)),
            ]

    def hardware(self, gpu_types: Sequence[str]) -> list[object]:
        """Return the speed of each GPU type and what of it is reached."""
        found: list[object] = []
        for name in gpu_types:
            speed = known_speed(name)
            if speed is not None:
                *fitted, _ = speed.roofline
                flops = sorted((key.value, value) for key, value in speed.flops.items())
                sheet = [speed.bytes_per_second, flops, speed.link_bytes_per_second]
                found.append([name, *sheet, *fitted])
        return found
