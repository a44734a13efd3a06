"""Where a model runs now, and what it takes to move it, as files state them."""

import math
from typing import Annotated, Any

from pydantic import Field

from kvplace.core.models.model import Moving
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.formats.validation.fields import Duration, kind
from kvplace.formats.validation.parts import Part
from kvplace.formats.validation.values import name, number, refuse_value

__all__ = ["MovingPart", "PlacedOn"]


def _cost(value: object) -> float:
    """Accept a number above 0, or never."""
    if value == "never":
        return math.inf
    if isinstance(value, str):
        refuse_value(f"must be a number such as 3, or never, not {shown(value)}")
    cost = number(value)
    if cost == 0:
        refuse_value("must be above 0, or never")
    return cost


def _cost_text(cost: float) -> float | str:
    return "never" if math.isinf(cost) else cost


class MovingPart(Part):
    """What it takes to move a model that runs."""

    core = Moving

    cost: Annotated[
        float,
        *kind(
            _cost, _cost_text, anyOf=[{"type": "number", "exclusiveMinimum": 0}, {"const": "never"}]
        ),
    ] = 1.0
    """How many times each change counts in a budget, or never."""
    min_stay_seconds: Duration = Field(default=0.0, alias="min_stay")
    """A copy that serves for less than this time is not moved."""


def _placed_on(value: object) -> tuple[tuple[str, ...], ...]:
    """Accept a GPU, a list of GPUs of one copy each, or a list of lists of GPUs."""
    copies = value if isinstance(value, list | tuple) else [value]
    found = []
    for copy in copies:
        gpus = copy if isinstance(copy, list | tuple) else [copy]
        if not gpus or not all(isinstance(gpu, str) for gpu in gpus):
            refuse_value(
                f"must be GPUs such as h100-0/3, or a list of them for each copy, not "
                f"{kind_of(copy)}"
            )
        found.append(tuple(map(name, gpus)))
        if len(set(gpus)) < len(gpus):
            refuse_value(f"{shown(gpus[0])} stands in one copy more than once")
    return tuple(found)


def _placed_text(copies: tuple[tuple[str, ...], ...]) -> list[str | list[str]]:
    return [copy[0] if len(copy) == 1 else list(copy) for copy in copies]


_GPU: dict[str, Any] = {"type": "string", "minLength": 1}
_GPU_OR_GPUS = {"anyOf": [_GPU, {"type": "array", "items": _GPU, "minItems": 1}]}
PlacedOn = Annotated[
    tuple[tuple[str, ...], ...],
    *kind(_placed_on, _placed_text, anyOf=[_GPU, {"type": "array", "items": _GPU_OR_GPUS}]),
]
"""GPUs of each copy of a model that runs."""
