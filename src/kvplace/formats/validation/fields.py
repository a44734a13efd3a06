"""The kinds of value that the files hold: each checks itself and says what to write instead."""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from kvplace.core.models.demand import MOST_VARIATION
from kvplace.core.names import LONGEST_NAME, MAX_COUNT
from kvplace.formats.diagnostics import kind_of, nearest
from kvplace.formats.validation import values as of
from kvplace.formats.validation.parts import Documented, Exact, Written
from kvplace.units import bytes_text


def word(*known: str) -> tuple[Any, ...]:
    """Return the annotations of a text that is one of a few words."""
    known = tuple(map(str, known))  # members of enums too

    def check(value: object) -> str:
        if value not in known:
            wanted = known[0] if len(known) == 1 else f"one of {', '.join(known)}"
            hint = nearest(value, known) if isinstance(value, str) and len(known) > 1 else ""
            of.refuse_value(f"must be {wanted}, not {kind_of(value)}{hint.partition('; known')[0]}")
        return str(value)

    allowed = {"const": known[0]} if len(known) == 1 else {"enum": list(known)}
    return kind(check, type="string", **allowed)


def matching(pattern: str, example: str) -> tuple[Any, ...]:
    """Return the annotations of a text of one form, such as the example."""
    form = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            of.refuse_value(f"must be such as {example}, not {kind_of(value)}")
        return value

    return kind(check, type="string", pattern=f"^{pattern}$", examples=[example])


def kind(
    check: Callable[[Any], Any],
    write: Callable[[Any], Any] | None = None,
    exact: Any = None,
    **json_schema: Any,
) -> tuple[Any, ...]:
    """Return the annotations of a value that `check` accepts and `write` writes.

    `exact` is the kind that stands for it in a plan file, where that is another one.
    """
    further = [] if write is None else [Written(write)]
    stands = [] if exact is None else [Exact(exact)]
    return BeforeValidator(check), Documented(json_schema), *further, *stands


def _seconds_text(seconds: float) -> str:
    return f"{seconds!r}s"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


_UNSIGNED = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*"
_MEMORY = _UNSIGNED + r"(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|Ki|Mi|Gi|Ti)\s*$"
_DURATION = _UNSIGNED + r"(us|ms|s|min|h|d)\s*$"
_RATE = _UNSIGNED + r"/(s|min|h|d)\s*$"

_NATURAL = {"type": "integer", "minimum": 0}
_NOT_NEGATIVE = {"type": "number", "minimum": 0}
_LAST_PORT = 65_535
_DEGREE = {"type": "integer", "minimum": 1, "maximum": of.MAX_DEGREE}

Integer = Annotated[int, *kind(of.integer, **_NATURAL)]
AnyInteger = Annotated[int, *kind(partial(of.integer, least=-(2**63)), type="integer")]
CopyNumber = Annotated[
    int, *kind(partial(of.integer, most=MAX_COUNT - 1), **_NATURAL, maximum=MAX_COUNT - 1)
]
Price = Annotated[
    int | tuple[int, ...], *kind(of.price, anyOf=[_NATURAL, {"type": "array", "items": _NATURAL}])
]
Number = Annotated[float, *kind(of.number, **_NOT_NEGATIVE)]
Variation = Annotated[float, *kind(of.variation, **_NOT_NEGATIVE, maximum=MOST_VARIATION)]
Positive = Annotated[float, *kind(of.positive, None, Number, type="number", exclusiveMinimum=0)]
_QUANTILES = [
    {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
    {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$", "examples": ["95%"]},
]
Quantile = Annotated[float, *kind(of.quantile, None, Number, anyOf=_QUANTILES)]
NumberOrInfinity = Annotated[
    float, *kind(of.number_or_infinity, _finite, anyOf=[_NOT_NEGATIVE, {"type": "null"}])
]
Name = Annotated[str, *kind(of.name, type="string", minLength=1, maxLength=LONGEST_NAME)]
Label = Annotated[str, *matching("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "qwen3-8b")]
LabelOrNone = Annotated[str, *matching("([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?", "qwen3-8b")]
Moment = Annotated[
    str, *matching("[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", "2026-08-13T12:00:00Z")
]
_PORTS = {"type": "integer", "maximum": _LAST_PORT}
Port = Annotated[
    int, *kind(partial(of.integer, least=1024, most=_LAST_PORT), **_PORTS, minimum=1024)
]
PortOrZero = Annotated[int, *kind(partial(of.integer, most=_LAST_PORT), **_PORTS, minimum=0)]
Text = Annotated[str, *kind(of.text, type="string", maxLength=LONGEST_NAME)]
_AMOUNT = {"type": "string", "pattern": _MEMORY}
Amount = Annotated[int, *kind(of.amount, bytes_text, Integer, **_AMOUNT, examples=["14.958GiB"])]
AmountOrBytes = Annotated[
    int, *kind(of.amount_or_bytes, bytes_text, Integer, anyOf=[_AMOUNT, _NATURAL])
]
_TIME = {"type": "string", "pattern": _DURATION, "examples": ["572ms"]}
Duration = Annotated[float, *kind(of.duration, _seconds_text, Number, **_TIME)]
_RATES = [
    {**_NOT_NEGATIVE, "maximum": of.MAX_RATE},
    {"type": "string", "pattern": _RATE, "examples": ["126/min"]},
]
Rate = Annotated[float, *kind(of.rate, None, Number, anyOf=_RATES)]
Tokens = Annotated[float, *kind(of.tokens, None, Number, **_NOT_NEGATIVE, maximum=of.MAX_TOKENS)]
Resources = Annotated[dict[Name, Number], Written(dict)]
BytesPerToken = Annotated[
    int, *kind(of.bytes_per_token, None, Integer, **_NATURAL, maximum=of.MAX_BYTES_PER_TOKEN)
]
Count = Annotated[int, *kind(of.count, type="integer", minimum=1, maximum=MAX_COUNT)]
_DEGREES = {"type": "array", "items": _DEGREE, "minItems": 1, "uniqueItems": True}
Degrees = Annotated[tuple[int, ...], *kind(of.degrees, anyOf=[_DEGREE, _DEGREES])]
