"""Step times that go through what was measured on a running engine.

The computed coefficients keep their proportions where nothing says otherwise. Decode steps spend
their time on reading and on what every step takes besides, prefills on multiplying. So where only
one of them was measured, all coefficients are scaled alike; where both were, reading and
multiplying are scaled apart.
"""

import math
from collections.abc import Callable, Iterable

from kvplace.core.models.measured import MeasuredStep
from kvplace.forecast.step_time import StepTime, decode_seconds, prefill_seconds

_READING = (
    "fixed_seconds", "dense_seconds", "experts_seconds", "kv_token_seconds",
    "window_token_seconds", "sequence_seconds",
)  # fmt: skip
_MULTIPLYING = ("token_seconds", "attention_seconds", "link_seconds")
_ROUNDS = 60
_SETTLED = 1e-9
_LEAST, _MOST = 1e-3, 1e3
"""No measurement moves a coefficient by more than these factors in one round."""


def through_measured(
    times: StepTime, steps: Iterable[MeasuredStep], gpu_type: str, degree: int
) -> tuple[StepTime, bool]:
    """Return step times scaled to what was measured, and whether anything was.

    Parameters
    ----------
    times
        As computed.
    steps
        What was measured of the model.
    gpu_type, degree
        Where it runs; what was measured elsewhere does not count.

    Notes
    -----
    Of several decode steps, or prefills, the geometric mean of measured over computed counts.
    """
    here = [s for s in steps if s.gpu_type == gpu_type and s.tensor_parallel == degree]
    decodes = [s for s in here if s.decode_seconds is not None]
    prefills = [s for s in here if s.prefill_seconds is not None]
    if not here:
        return times, False
    if not decodes or not prefills:
        return _scaled(times, *[_ratio(times, decodes or prefills)] * 2), True
    for _ in range(_ROUNDS):
        reading, multiplying = _ratio(times, decodes), 1.0
        times = _scaled(times, reading, multiplying)
        multiplying = _ratio(times, prefills)
        times = _scaled(times, 1.0, multiplying)
        if abs(reading - 1) < _SETTLED and abs(multiplying - 1) < _SETTLED:
            break
    return times, True


def _ratio(times: StepTime, steps: Iterable[MeasuredStep]) -> float:
    """Return by how much measured steps are slower than some times say: a geometric mean."""
    logs = [math.log(measured / of(times)) for measured, of in map(_computed, steps)]
    return min(max(math.exp(sum(logs) / len(logs)), _LEAST), _MOST)


def _computed(step: MeasuredStep) -> tuple[float, Callable[[StepTime], float]]:
    """Return what was measured and what computes the same."""
    if step.decode_seconds is not None and step.context_tokens is not None:
        batch, context = step.batch, step.context_tokens
        return step.decode_seconds, lambda times: decode_seconds(times, batch, context)
    assert step.prefill_seconds is not None
    assert step.prompt_tokens is not None
    prompt = step.prompt_tokens
    return step.prefill_seconds, lambda times: prefill_seconds(times, prompt)


def _scaled(times: StepTime, reading: float, multiplying: float) -> StepTime:
    return times._replace(
        **{name: getattr(times, name) * reading for name in _READING},
        **{name: getattr(times, name) * multiplying for name in _MULTIPLYING},
    )
