"""What a load is: the definitions of the demand that presses on a GPU's KV pool.

KVPR = load / memory left for KV. The algebra is the same for all; they differ in what
one model adds to the numerator and so in the unit of the ratio.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NoReturn

from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model
from kvplace.errors import Fault, InputError
from kvplace.units import GIB


class Objective(StrEnum):
    """The load that a model puts on its GPU.

    ``requests``
        requests/s / latency objective; KVPR in 1/(s² GiB). The ADRS "prism" benchmark.
    ``tokens``
        (prompt + output tokens)/s x KV bytes per token / TPOT objective; KVPR in 1/s².
        Prism, arXiv 2505.04021.
    ``occupancy``
        KV bytes in use on average by Little's law: requests/s x residence x mean KV bytes held
        by a request, where residence = TTFT + output tokens x TPOT objective and a request
        holds KV bytes per token x (prompt + output / 2) + fixed bytes per sequence; less in
        layers with a sliding window, and more for blocks that are taken whole
        (`kvplace.core.models.kv_cache`).
        KVPR is a share: 1.0 means that the pool is full.
    ``pressure``
        The largest of the occupancy of the KV pool and of the share of the GPU's time that its
        models need, over all windows of demand. The load is that of ``occupancy``.
    """

    REQUESTS = "requests"
    TOKENS = "tokens"
    OCCUPANCY = "occupancy"
    PRESSURE = "pressure"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        """Refuse what names no objective."""
        raise InputError(f"there is no objective {repr(value)[:60]}; known: {', '.join(cls)}")

    @property
    def unit(self) -> str:
        """Unit of the KVPR, for people; empty for a plain share."""
        return {"requests": "1/(s² GiB)", "tokens": "1/s²"}.get(self.value, "")

    @property
    def is_share(self) -> bool:
        """Whether 1.0 means that something is full."""
        return self in (Objective.OCCUPANCY, Objective.PRESSURE)

    @property
    def quantity(self) -> str:
        """What is minimised of the worst GPU, for people: ``KVPR`` or ``pressure``."""
        return "pressure" if self is Objective.PRESSURE else "KVPR"

    @property
    def memory_unit_bytes(self) -> int:
        """Bytes in the unit of memory that the KVPR divides by: GiB for requests, else bytes."""
        return GIB if self is Objective.REQUESTS else 1

    def missing(self, model: Model) -> list[str]:
        """Return the fields that this load needs and `model` does not give.

        A model without requests has load 0 under every objective and needs nothing more. What
        `PRESSURE` needs besides to know times is what `Timing.missing` says.
        """
        if self is Objective.PRESSURE and model.windows:
            found = (self._missing(model, demand) for demand in model.windows.values())
            return list(dict.fromkeys(name for names in found for name in names))
        return self._missing(model, model.demand)

    def _missing(self, model: Model, demand: Demand) -> list[str]:
        """Return the fields that the load of a demand needs and a model does not give."""
        if demand.requests_per_second == 0:
            return []
        if self is Objective.REQUESTS:
            return [] if model.latency_seconds is not None else ["slo.latency"]
        if model.cacheless:
            return []
        slo = model.slo
        if None not in (
            model.kv_bytes_per_token, demand.prompt_tokens, demand.output_tokens,
            slo.tpot_seconds, slo.ttft_seconds,
        ):  # fmt: skip  # mostly; and a dictionary for each of many models takes long
            return []
        fields = {
            "kv_bytes_per_token": model.kv_bytes_per_token,
            "demand.prompt_tokens": demand.prompt_tokens,
            "demand.output_tokens": demand.output_tokens,
            "slo.tpot": model.slo.tpot_seconds,
        }
        if self is not Objective.TOKENS:
            fields["slo.ttft"] = model.slo.ttft_seconds
        return [name for name, value in fields.items() if value is None]

    def load(self, model: Model, demand: Demand | None = None) -> float:
        """Return the load of all of a model's demand on one undivided replica.

        Parameters
        ----------
        model
            The model.
        demand
            What is asked of it; `Model.demand` where it is None.

        Raises
        ------
        InputError
            A field is missing, an objective that divides is 0, or the load overflows.
        """
        demand = demand or model.demand
        rate = demand.requests_per_second
        if rate == 0:
            return 0.0
        missing = self._missing(model, demand)
        if missing:
            raise InputError(
                [
                    Fault(f"the objective {self.value} needs it", f"{model.name}.{m}")
                    for m in missing
                ]
            )
        if self is Objective.REQUESTS:
            load = _ratio(rate, model.latency_seconds, model, "slo.latency")
        elif model.cacheless:
            load = 0.0
        else:
            kv_bytes, prompt = model.kv_bytes_per_token, demand.prompt_tokens
            output, tpot = demand.output_tokens, model.slo.tpot_seconds
            assert kv_bytes is not None
            assert prompt is not None
            assert output is not None
            if self is Objective.TOKENS:
                load = _ratio(rate * (prompt + output) * kv_bytes, tpot, model, "slo.tpot")
            else:
                ttft = model.slo.ttft_seconds
                assert ttft is not None
                assert tpot is not None
                load = rate * (ttft + output * tpot) * model.mean_kv_bytes(demand)
        if not math.isfinite(load):
            raise InputError([Fault(f"the load of objective {self.value} overflows", model.name)])
        return load


def default_objective(models: Iterable[Model]) -> Objective:
    """Return occupancy when every model gives what it needs, else requests."""
    complete = all(not Objective.OCCUPANCY.missing(model) for model in models)
    return Objective.OCCUPANCY if complete else Objective.REQUESTS


def _ratio(numerator: float, seconds: float | None, model: Model, field: str) -> float:
    """Divide by a latency objective, which must be positive."""
    if not seconds:
        raise InputError(
            [Fault("the objective divides by it; it must be above 0s", f"{model.name}.{field}")]
        )
    return numerator / seconds
