"""Step times go through what was measured, and only where it was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.core.models.measured import MeasuredStep
from kvplace.errors import InputError
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.forecast.step_time import StepTime, decode_seconds, prefill_seconds
from kvplace.forecast.steps.measured import through_measured
from kvplace.forecast.steps.roofline import CacheReads, speed_of, step_time

H100 = "H100-SXM-80GB"
NAME = "meta-llama/Llama-3.1-8B-Instruct"


def computed() -> StepTime:
    known = known_model(NAME)
    assert known is not None
    shape, speed = known_shape(NAME, known.weights_bytes), speed_of(H100)
    assert shape is not None
    assert speed is not None
    return step_time(shape, CacheReads(131072), speed)


@given(st.floats(0.6, 2), st.floats(0.6, 2))
def test_both_times_are_met_at_once(slower_decode: float, slower_prefill: float) -> None:
    times = computed()
    decode = slower_decode * decode_seconds(times, 8, 1000)
    prefill = slower_prefill * prefill_seconds(times, 4000)
    steps = [
        MeasuredStep(H100, batch=8, context_tokens=1000, decode_seconds=decode),
        MeasuredStep(H100, prompt_tokens=4000, prefill_seconds=prefill),
    ]
    found, measured = through_measured(times, steps, H100, 1)
    assert measured
    assert decode_seconds(found, 8, 1000) == pytest.approx(decode, rel=1e-6)
    assert prefill_seconds(found, 4000) == pytest.approx(prefill, rel=1e-6)


def test_one_measured_time_scales_everything() -> None:
    times = computed()
    step = MeasuredStep(
        H100, batch=8, context_tokens=1000, decode_seconds=2 * decode_seconds(times, 8, 1000)
    )
    found, _ = through_measured(times, [step], H100, 1)
    assert prefill_seconds(found, 700) == pytest.approx(2 * prefill_seconds(times, 700))


def test_what_was_measured_elsewhere_does_not_count() -> None:
    times = computed()
    step = MeasuredStep(H100, tensor_parallel=2, context_tokens=1000, decode_seconds=1.0)
    assert through_measured(times, [step], H100, 1) == (times, False)
    assert through_measured(times, [step], "H200-SXM-141GB", 2) == (times, False)


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, ["give the time of a decode step, of a prefill, or of both"]),
        ({"decode_seconds": 0.01}, ["context_tokens: decode_seconds needs it"]),
        ({"prefill_seconds": 0.0, "prompt_tokens": 5}, ["prefill_seconds: 0.0 must be finite"]),
    ],
)
def test_faults(given: dict[str, float], faults: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        MeasuredStep(H100, **given)
    for fault in faults:
        assert fault in str(caught.value)
