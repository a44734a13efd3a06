"""The share of a GPU's time that a copy of a model needs to keep its latency objectives.

Little's law at the speed that the objectives ask for. With ``r`` requests/s, prompts of ``P``
and outputs of ``O`` tokens and an objective TPOT, ``N = r O TPOT`` sequences decode at a time
on average. Somebody decodes for the part ``a = 1 - exp(-N)`` of the time (the part in which a
Poisson number of mean N is not 0), in a batch of ``N / a``; a step is due every TPOT. So ::

    u = r prefill_seconds(P, cached) + a decode_seconds(N / a, P + O / 2) / TPOT

The shares of the models on a GPU add up, because engines that share a GPU take turns; 1 means
that no time is left. The share is not linear in the rate, as a batch shares the reading of
weights, so it is computed for every number of copies.
"""

import math
from typing import NamedTuple

from kvplace.core.models.demand import SLO, Demand
from kvplace.forecast.step_time import StepTime, decode_seconds, prefill_seconds


class TimeShare(NamedTuple):
    """The share of one GPU's time that one copy needs, in parts.

    Parameters
    ----------
    prefill
        Part of the time in which prompts are worked on.
    decode
        Part of the time in which decode steps run that are due.
    batch
        Mean batch of a step while somebody decodes.
    """

    prefill: float
    decode: float
    batch: float

    @property
    def total(self) -> float:
        """The whole share; above 1 the objectives cannot be kept even with the GPU alone."""
        return self.prefill + self.decode


class Idle(NamedTuple):
    """How fast a GPU is that serves one request and nothing else.

    Parameters
    ----------
    ttft_seconds
        Time to the first token.
    tpot_seconds
        Time per output token.
    """

    ttft_seconds: float
    tpot_seconds: float

    def misses(self, slo: SLO) -> tuple[str, ...]:
        """Return the objectives, ``ttft`` or ``tpot``, that no load can keep on such a GPU."""
        pairs = {"ttft": (self.ttft_seconds, slo.ttft_seconds),
                 "tpot": (self.tpot_seconds, slo.tpot_seconds)}  # fmt: skip
        return tuple(
            name for name, (best, asked) in pairs.items() if asked is not None and best > asked
        )


def time_share(times: StepTime, demand: Demand, slo: SLO, part: float = 1.0) -> TimeShare | None:
    """Return the share of a GPU's time that a copy needs to keep its objectives.

    Parameters
    ----------
    times
        The model on the GPU's type at its tensor-parallel degree.
    demand
        What is asked of all copies.
    slo
        The latency objectives; the share needs the time per output token, unless nothing is
        put out, as by an embedding model.
    part
        Part of the demand that this copy carries.

    Returns
    -------
    TimeShare or None
        None where token counts or the objective are not given.
    """
    rate = demand.requests_per_second * part
    if rate == 0:
        return TimeShare(0.0, 0.0, 0.0)
    prompt, output = demand.prompt_tokens, demand.output_tokens
    if prompt is None or output is None:
        return None
    prefill = rate * prefill_seconds(times, prompt, demand.cached_tokens)
    if output == 0:
        return TimeShare(prefill, 0.0, 0.0)
    tpot = slo.tpot_seconds
    if not tpot:
        return None
    decoding = rate * output * tpot
    busy = -math.expm1(-decoding)
    batch = decoding / busy
    step = decode_seconds(times, batch, prompt + output / 2)
    return TimeShare(prefill, busy * step / tpot, batch)


def idle_times(times: StepTime, demand: Demand) -> Idle | None:
    """Return how fast one request is served on an idle GPU; None without token counts."""
    prompt, output = demand.prompt_tokens, demand.output_tokens
    if prompt is None or output is None:
        return None
    first = prefill_seconds(times, prompt, demand.cached_tokens)
    rest = decode_seconds(times, 1.0, prompt + output / 2) if output else 0.0
    return Idle(first, rest)
