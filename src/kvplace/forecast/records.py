"""What the kernels of the forecast work on: engines and GPUs as records."""

from typing import Any

import numpy as np

from kvplace.forecast.step_time import StepTime

SLICE, MPS, NONE = 0, 1, 2
"""How engines share a GPU: time slices, side by side, or without any contention."""

GPU_USE = 0.9
"""Side by side: part of the GPU that the prefill of a long prompt keeps busy."""


def _record(fields: list[tuple[str, type]]) -> "np.dtype[Any]":
    """Return a type whose fields are attributes also where kernels are not compiled."""
    return np.dtype((np.record, fields))


ENGINE = _record(
    [
        # Given: where the list of its GPUs stands; most running requests.
        ("first_gpu", np.int64),
        ("end_gpu", np.int64),
        ("sequences", np.int64),
        *(
            (name, np.float64)
            for name in (
                # Given: requests per second, tokens of prompt and output and how they vary, mean
                # context of a decoded token, peakedness of the arrivals, objectives (`inf`
                # without), KV bytes of a token, of a token inside the window and of a request
                # besides, host work, coefficients of the step times.
                "rate prompt output prompt_cv output_cv context peakedness ttft_objective "
                "tpot_objective latency_objective token_bytes window_bytes sequence_bytes "
                "host_seconds host_seconds_per_sequence "
                + " ".join(StepTime._fields)
                # Kept: seconds of a prompt alone and what it adds to a step; slow-down; chance that
                # the step of a prompt goes before others, and its slow-down then; requests in
                # the system, chance of none, of a step on the GPU, of a step that computes, and
                # that every seat is taken; batch, its step, the part of the GPU that it keeps busy;
                # mean and variance of the time per output token; chance of a step while a certain
                # other engine is in one; what each other engine in a step adds to the slow-down;
                # time to the first token; the part of the requests that the pool can hold, and of
                # what all would hold; the part that keeps objectives.
                + " first_seconds prompt_seconds slow leads led number idle busy computing full "
                "batch step use tpot tpot_variance beside each ttft fitting held attained"
            ).split()
        ),
    ]
)

GPU = _record(
    [
        # Given: where the list of its engines stands; bytes of its pool.
        ("first_engine", np.int64),
        ("end_engine", np.int64),
        ("pool", np.float64),
        # Kept: mean bytes held, chance of an overflow, mean seconds that it makes requests wait;
        # chance of a step; requests per second, and those that keep their objectives; the largest
        # of latency / objective and held / pool.
        *(
            (name, np.float64)
            for name in ["held", "overflow", "waiting", "busy", "asked", "kept", "pressure"]
        ),
    ]
)
