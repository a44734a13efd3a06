"""Fleets like the public ADRS cases, with all that latency depends on: who serves, not who packs.

32 dense models in 16 bits on 8 H100s, 85 % of the memory in weights, heavy-tailed rates. Prompts,
outputs and KV bytes per token are drawn from what open models and their users have; objectives
follow from the `slo` of a case, and none asks for less than twice the unloaded step or four times
the unloaded prefill.
"""

from collections.abc import Sequence

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.problem import Problem
from kvplace.forecast.share_timing import ShareTiming
from kvplace.forecast.step_time import decode_seconds, prefill_seconds
from kvplace.forecast.times import StepTimes, dense_shape
from kvplace.units import GIB

_TYPE, _MEMORY = "H100-SXM-80GB", int(79.18 * GIB)
_PROMPTS, _OUTPUTS = (200, 500, 1000, 2000), (50, 100, 200, 400)
_KV_BYTES = (65536, 131072, 163840, 262144)


def adrs_like(
    seed: int,
    *,
    gpus: int = 8,
    models: int = 32,
    fill: float = 0.85,
    demands: Sequence[tuple[float, float, float]] | None = None,
) -> Problem:
    """Return one fleet.

    Parameters
    ----------
    seed
        Of all draws.
    gpus, models
        How many.
    fill
        Part of the memory that is weights.
    demands
        Requests per second, prompt and output tokens of each model, in place of drawn ones.
    """
    rng = np.random.RandomState(seed)
    sizes = rng.uniform(0.4, 1.6, models)
    sizes = np.maximum(1, np.round(sizes * fill * 79.18 * gpus / sizes.sum()))
    rates = np.round(rng.pareto(1.3, models) * 3 + 1) * 0.02
    slos = rng.randint(2, 10, models)
    times = StepTimes()
    made = []
    for at in range(models):
        prompt, output = float(rng.choice(_PROMPTS)), float(rng.choice(_OUTPUTS))
        rate = float(rates[at])
        if demands is not None:
            rate, prompt, output = demands[at]
        demand = Demand(rate, prompt, output)
        kv_bytes = int(rng.choice(_KV_BYTES))

        def model(slo: SLO, at: int = at, demand: Demand = demand, kv: int = kv_bytes) -> Model:
            size = int(sizes[at]) * GIB
            return Model(
                f"m{at}", size, demand, slo, kv_bytes_per_token=kv, overhead_bytes=0,
                architecture=dense_shape(size),
            )  # fmt: skip

        alone = times.of(model(SLO(1.0, 1.0)), _TYPE, _MEMORY).times
        step, prefill = (
            decode_seconds(alone, 1, prompt + output / 2), prefill_seconds(alone, prompt)
        )  # fmt: skip
        tpot = max(0.9 * float(slos[at]) / output, 2 * step)
        made.append(model(SLO(max(0.1 * float(slos[at]), 4 * prefill), tpot)))
    hosts = tuple(GPU(f"n/{i}", _TYPE, _MEMORY) for i in range(gpus))
    return Problem(tuple(made), Fleet((Node("n", hosts),)), timing=ShareTiming())
