"""How a model is launched, where it runs now and what it takes to move it, as files state it."""

import math
import re
import shlex
from typing import Annotated, Any

from pydantic import Field, model_validator

from kvplace.core.models.launch import ENGINES, Launch
from kvplace.core.models.model import Moving
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.formats.validation.fields import Count, Duration, Name, Text, kind, word
from kvplace.formats.validation.parts import Part
from kvplace.formats.validation.values import name, positive, refuse_value, text

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_SECRET = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIALS?|PRIVATE_KEY)(_|$)",
    re.IGNORECASE,
)
_SECRET_FLAG = re.compile(r"--(api-key|admin-api-key|hf-token|ssl-keyfile-password)\b")


def _argument(value: object) -> str:
    """Accept one word of a command line; a number will do."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or len(value) > 4096 or not value.isprintable():
        refuse_value(f"must be one printable word of a command line, not {kind_of(value)}")
    if _SECRET_FLAG.match(value):
        name = "VLLM_API_KEY, HF_TOKEN or the like"
        refuse_value(f"{shown(value)} would write a secret; name {name} under secrets instead")
    return value


def _arguments(value: object) -> object:
    """Accept a list of words, or a line that a shell would split into them."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            refuse_value(f"{shown(value)} is not understood: {str(error).lower()}")
    if not isinstance(value, list):
        refuse_value(f'must be a list of words such as ["--max-model-len", 8192], not '
                     f"{kind_of(value)}")  # fmt: skip
    return tuple(_argument(item) for item in value)


def _variable(value: object) -> str:
    """Accept the name of an environment variable."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        refuse_value(f"{shown(value)} is no name of an environment variable; write it like HF_HOME")
    return value


def _environment(value: object) -> object:
    """Accept a mapping of variables to texts or numbers, none of which looks like a secret."""
    if not isinstance(value, dict):
        refuse_value(
            f"must be a mapping such as {{VLLM_LOGGING_LEVEL: INFO}}, not {kind_of(value)}"
        )
    accepted = {}
    for variable, content in value.items():
        _variable(variable)
        if _SECRET.search(variable):
            refuse_value(
                f"{variable} looks like a secret, which is never written; list it in secrets"
            )
        number = isinstance(content, int | float) and not isinstance(content, bool)
        accepted[variable] = str(content) if number else text(content)
    return tuple(sorted(accepted.items()))


_NAMED: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
_WORD = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}
_WORDS = [{"type": "string"}, {"type": "array", "items": _WORD}]
_VARIABLES = {
    "type": "object",
    "propertyNames": _NAMED,
    "additionalProperties": {"type": ["string", "number"]},
}
_Variable = Annotated[Name, *kind(_variable, **_NAMED)]


class LaunchPart(Part):
    """How the engine of a model is started; exports use it, placing does not."""

    core = Launch

    engine: Annotated[str, *word(*ENGINES)] = Field(default=ENGINES[0])
    source: Text = ""
    """Hub id, directory or URL; by default the model's name."""
    image: Text = ""
    """Container image; by default that of the export."""
    venv: Text = ""
    """Virtual environment that holds the engine."""
    args: Annotated[tuple[str, ...], *kind(_arguments, anyOf=_WORDS)] = ()
    """Further arguments: a list of words, or one line."""
    env: Annotated[tuple[tuple[str, str], ...], *kind(_environment, dict, **_VARIABLES)] = ()
    """Environment variables, written as they stand."""
    secrets: tuple[_Variable, ...] = ()
    """Environment variables that are referenced, never written."""

    max_num_batched_tokens: Count | None = None
    """Most tokens of one step; by default the engine's own on GPUs of this size, or 2,048 where
    more copies than GPUs share the fleet."""
    max_num_seqs: Count | None = None
    """Most sequences of one step; 256 where copies share GPUs."""

    @model_validator(mode="after")
    def _apart(self) -> "LaunchPart":
        both = sorted(dict(self.env).keys() & set(self.secrets))
        if both:
            refuse_value(f"{both[0]} is in env and in secrets; keep it in secrets")
        return self


def _cost(value: object) -> float:
    """Accept a number above 0, or never."""
    if value == "never":
        return math.inf
    if isinstance(value, str):
        refuse_value(f"must be a number such as 3, or never, not {shown(value)}")
    return positive(value)


def _cost_text(cost: float) -> float | str:
    return "never" if math.isinf(cost) else cost


_COSTS = [{"type": "number", "exclusiveMinimum": 0}, {"const": "never"}]


class MovingPart(Part):
    """What it takes to move a model that runs."""

    core = Moving

    cost: Annotated[float, *kind(_cost, _cost_text, anyOf=_COSTS)] = 1.0
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
