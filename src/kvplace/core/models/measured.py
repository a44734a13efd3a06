"""MeasuredStep: how long an engine took on a GPU type, as somebody measured it."""

import math
from dataclasses import dataclass

from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """The time of a decode step, of a prefill, or of both, of one engine that had its GPU alone.

    Parameters
    ----------
    gpu_type
        Type of its GPUs.
    tensor_parallel
        Its tensor parallel degree.
    batch, context_tokens
        Sequences in the decode step, and the mean tokens that each of them held.
    decode_seconds
        Time of that step, which is the time per output token; None where not measured.
    prompt_tokens
        Tokens of the prompt.
    prefill_seconds
        Time of its prefill, which is the time to first token without a queue; None where not
        measured.

    Raises
    ------
    InputError
        Neither time is given, or one has no tokens beside it, or a number is out of bounds.
    """

    gpu_type: str
    tensor_parallel: int = 1
    batch: float = 1.0
    context_tokens: float | None = None
    decode_seconds: float | None = None
    prompt_tokens: float | None = None
    prefill_seconds: float | None = None

    def __post_init__(self) -> None:
        hold_types(self)
        faults = []
        if self.decode_seconds is None and self.prefill_seconds is None:
            faults.append(Fault("give the time of a decode step, of a prefill, or of both", ""))
        for seconds, tokens, beside in (
            ("decode_seconds", self.context_tokens, "context_tokens"),
            ("prefill_seconds", self.prompt_tokens, "prompt_tokens"),
        ):
            value = getattr(self, seconds)
            if value is not None and not 0 < value < math.inf:
                faults.append(Fault(f"{value!r} must be finite and above 0", seconds))
            if value is not None and tokens is None:
                faults.append(Fault(f"{seconds} needs it", beside))
        for name in ("batch", "context_tokens", "prompt_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                faults.append(Fault(f"{value!r} must be finite and above 0", name))
        if self.tensor_parallel < 1:
            faults.append(Fault("it must be at least 1", "tensor_parallel"))
        if faults:
            raise InputError(faults)
