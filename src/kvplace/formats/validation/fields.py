"""The kinds of value that the files hold: each checks itself and says what to write instead."""

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from kvplace.errors import UnitError
from kvplace.formats.diagnostics import kind_of, nearest, shown
from kvplace.formats.validation.parts import Exact, Written, refuse_value
from kvplace.units import (
    MAX_BYTES,
    bytes_text,
    parse_bytes,
    parse_duration,
    parse_number,
    parse_rate,
)

__all__ = [
    "MAX_GPUS",
    "Amount",
    "AmountOrBytes",
    "AnyInteger",
    "BytesPerToken",
    "Count",
    "Degrees",
    "Duration",
    "Integer",
    "Label",
    "LabelOrNone",
    "Moment",
    "Name",
    "Number",
    "NumberOrInfinity",
    "Port",
    "PortOrZero",
    "Positive",
    "Price",
    "Quantile",
    "Rate",
    "Resources",
    "Text",
    "Tokens",
    "count",
    "matching",
    "refuse_value",
    "word",
]

MAX_GPUS = 1_000_000
"""GPUs and nodes of one fleet."""

_LONGEST_NAME = 256
_MAX_TOKENS = 1e9
_MAX_RATE = 1e12
_MAX_BYTES_PER_TOKEN = 2**40
_MAX_DEGREE = 1024


def name(value: object) -> str:
    """Accept a text of 1 to 256 printable characters."""
    if not isinstance(value, str):
        hint = f'; put it in quotes: "{shown(value)}"' if isinstance(value, int | float) else ""
        refuse_value(f"must be a text, not {kind_of(value)}{hint}")
    if not value or len(value) > _LONGEST_NAME:
        refuse_value(f"has {len(value):,} characters; 1 to {_LONGEST_NAME} are accepted")
    if not value.isprintable():
        bad = next(character for character in value if not character.isprintable())
        refuse_value(f"{shown(value)} holds the unprintable character U+{ord(bad):04X}; remove it")
    if value != value.strip():
        refuse_value(f"{shown(value)} starts or ends with a space; remove it")
    return value


def text(value: object) -> str:
    """Accept a text of up to 256 printable characters, also none."""
    return "" if value == "" else name(value)


def _quantity(value: object, parse: Callable[[str], Any], kind: str, *units: str) -> Any:
    """Accept a number with its unit; `units` are those that a bare number may have meant."""
    if isinstance(value, str):
        try:
            return parse(value)
        except UnitError as error:
            refuse_value(error.faults[0].message)
    if isinstance(value, int | float) and not isinstance(value, bool):
        meant = " or ".join(f"{shown(value)}{unit}" for unit in units)
        refuse_value(f"{shown(value)} has no unit; write it like {meant}")
    return refuse_value(f"must be {kind}, not {kind_of(value)}")


# The same texts recur.
_bytes_of, _seconds_of = lru_cache(1024)(parse_bytes), lru_cache(1024)(parse_duration)


def amount(value: object) -> Any:
    """Accept an amount of memory."""
    return _quantity(value, _bytes_of, "an amount of memory such as 14.958GiB", "GiB")


def amount_or_bytes(value: object) -> Any:
    """Accept an amount of memory, or a bare whole number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return integer(value, 0, MAX_BYTES)
    return amount(value)


def duration(value: object) -> Any:
    """Accept a duration."""
    return _quantity(value, _seconds_of, "a duration such as 572ms", "ms", "s")


def rate(value: object) -> Any:
    """Accept a rate with its unit, or a bare number per second."""
    if isinstance(value, str) and "/" in value:
        return _quantity(value, parse_rate, "a rate", "/s")
    return _number(value, _MAX_RATE, "such as 2.1 (per second) or 126/min")


def tokens(value: object) -> float:
    """Accept a mean number of tokens."""
    return _number(value, _MAX_TOKENS, "of tokens such as 891")


def number(value: object) -> float:
    """Accept a finite number of at least 0."""
    return _number(value, float("inf"), "")


def positive(value: object) -> float:
    """Accept a finite number above 0."""
    accepted = number(value)
    if accepted == 0:
        refuse_value("must be above 0")
    return accepted


def quantile(value: object) -> float:
    """Accept a share above a half and below 1, as a number or a percentage."""
    share = parse_number(value.strip().removesuffix("%")) if isinstance(value, str) else None
    if share is not None and str(value).strip().endswith("%"):
        share /= 100
    accepted = number(value) if share is None else share
    if not 0.5 < accepted < 1:
        refuse_value(f"{shown(value)} is no quantile above 50 % and below 100 %; write it like 95%")
    return accepted


def number_or_infinity(value: object) -> float:
    """Accept a finite number of at least 0, or null for infinity."""
    return float("inf") if value is None else number(value)


def _number(value: object, most: float, like: str) -> float:
    """Accept a finite number from 0 to `most`."""
    if type(value) is float and 0 <= value <= most < math.inf:  # mostly
        return value
    wanted = f"a number {like}".rstrip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse_value(f"must be {wanted}, not {kind_of(value)}")
    if value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN
        refuse_value(f"must be {wanted}, not {value}")
    if value < 0:
        refuse_value(f"{shown(value)} is negative; it starts at 0")
    try:
        converted = float(value)
    except OverflowError:
        refuse_value("is beyond every number that can be computed with")
    if converted > most:
        refuse_value(f"{shown(value)} is more than {most:,.0f}; check the number")
    return converted


def integer(value: object, least: int = 0, most: int | None = None) -> int:
    """Accept a whole number from `least` to `most`; one written 8.0 is whole too."""
    if type(value) is int and least <= value and (most is None or value <= most):  # mostly
        return value
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not isinstance(value, int | float) or not whole:
        refuse_value(f"must be a whole number, not {kind_of(value)}")
    if value < least or (most is not None and value > most):
        span = f"from {least} to {most:,}" if most is not None else f"of at least {least}"
        refuse_value(f"must be a whole number {span}, not {shown(value)}")
    return int(value)


def bytes_per_token(value: object) -> int:
    """Accept a bare whole number of bytes."""
    if isinstance(value, str):
        refuse_value(
            f"must be a bare whole number of bytes such as 131072, not {kind_of(value)}; "
            "its unit is in the key"
        )
    return integer(value, 0, _MAX_BYTES_PER_TOKEN)


def price(value: object) -> int | tuple[int, ...]:
    """Accept a whole number of at least 0, or a list of them."""
    return tuple(map(integer, value)) if isinstance(value, list) else integer(value)


def count(value: object) -> int:
    """Accept a count, from 1."""
    return integer(value, 1, MAX_GPUS)


def degrees(value: object) -> tuple[int, ...]:
    """Accept one tensor parallel degree, or a list of different ones."""
    listed = value if isinstance(value, list) else [value]
    if not listed or len(listed) > _MAX_DEGREE:
        refuse_value("must be a degree such as 2, or a list of degrees such as [1, 2, 4]")
    accepted = [integer(degree, 1, _MAX_DEGREE) for degree in listed]
    if len(set(accepted)) < len(accepted):
        refuse_value("names a degree twice")
    return tuple(sorted(accepted))


def word(*known: str) -> tuple[Any, ...]:
    """Return the annotations of a text that is one of a few words."""
    known = tuple(map(str, known))  # members of enums too

    def check(value: object) -> str:
        if value not in known:
            wanted = known[0] if len(known) == 1 else f"one of {', '.join(known)}"
            hint = nearest(value, known) if isinstance(value, str) and len(known) > 1 else ""
            refuse_value(f"must be {wanted}, not {kind_of(value)}{hint.partition('; known')[0]}")
        return str(value)

    allowed = {"const": known[0]} if len(known) == 1 else {"enum": list(known)}
    return _kind(check, type="string", **allowed)


def matching(pattern: str, example: str) -> tuple[Any, ...]:
    """Return the annotations of a text of one form, such as the example."""
    form = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            refuse_value(f"must be such as {example}, not {kind_of(value)}")
        return value

    return _kind(check, type="string", pattern=f"^{pattern}$", examples=[example])


def _kind(
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
    return BeforeValidator(check), WithJsonSchema(json_schema), *further, *stands


def _seconds_text(seconds: float) -> str:
    return f"{seconds!r}s"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


_UNSIGNED = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*"
_MEMORY = _UNSIGNED + r"(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|Ki|Mi|Gi|Ti)\s*$"
_DURATION = _UNSIGNED + r"(us|ms|s|min|h|d)\s*$"
_RATE = _UNSIGNED + r"/(s|min|h|d)\s*$"

_NATURAL = {"type": "integer", "minimum": 0}
_LAST_PORT = 65_535
_DEGREE = {"type": "integer", "minimum": 1, "maximum": _MAX_DEGREE}

Integer = Annotated[int, *_kind(integer, **_NATURAL)]
AnyInteger = Annotated[int, *_kind(partial(integer, least=-(2**63)), type="integer")]
Price = Annotated[
    int | tuple[int, ...],
    *_kind(price, anyOf=[_NATURAL, {"type": "array", "items": _NATURAL}]),
]
Number = Annotated[float, *_kind(number, type="number", minimum=0)]
Positive = Annotated[float, *_kind(positive, None, Number, type="number", exclusiveMinimum=0)]
Quantile = Annotated[
    float,
    *_kind(
        quantile,
        None,
        Number,
        anyOf=[
            {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$", "examples": ["95%"]},
        ],
    ),
]
NumberOrInfinity = Annotated[
    float,
    *_kind(number_or_infinity, _finite, anyOf=[{"type": "number", "minimum": 0}, {"type": "null"}]),
]
Name = Annotated[str, *_kind(name, type="string", minLength=1, maxLength=_LONGEST_NAME)]
Label = Annotated[str, *matching("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "qwen3-8b")]
LabelOrNone = Annotated[str, *matching("([a-z]([-a-z0-9]{0,61}[a-z0-9])?)?", "qwen3-8b")]
Moment = Annotated[
    str, *matching("[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", "2026-08-13T12:00:00Z")
]
_PORTS = {"type": "integer", "maximum": _LAST_PORT}
Port = Annotated[int, *_kind(partial(integer, least=1024, most=_LAST_PORT), **_PORTS, minimum=1024)]
PortOrZero = Annotated[int, *_kind(partial(integer, most=_LAST_PORT), **_PORTS, minimum=0)]
Text = Annotated[str, *_kind(text, type="string", maxLength=_LONGEST_NAME)]
Amount = Annotated[
    int,
    *_kind(amount, bytes_text, Integer, type="string", pattern=_MEMORY, examples=["14.958GiB"]),
]
AmountOrBytes = Annotated[
    int,
    *_kind(
        amount_or_bytes,
        bytes_text,
        Integer,
        anyOf=[{"type": "string", "pattern": _MEMORY}, _NATURAL],
    ),
]
Duration = Annotated[
    float,
    *_kind(duration, _seconds_text, Number, type="string", pattern=_DURATION, examples=["572ms"]),
]
Rate = Annotated[
    float,
    *_kind(
        rate,
        None,
        Number,
        anyOf=[
            {"type": "number", "minimum": 0, "maximum": _MAX_RATE},
            {"type": "string", "pattern": _RATE, "examples": ["126/min"]},
        ],
    ),
]
Tokens = Annotated[
    float, *_kind(tokens, None, Number, type="number", minimum=0, maximum=_MAX_TOKENS)
]
Resources = Annotated[
    dict[
        Annotated[str, *_kind(name, type="string", minLength=1)],
        Annotated[float, *_kind(number, type="number", minimum=0)],
    ],
    Written(dict),
]
BytesPerToken = Annotated[
    int, *_kind(bytes_per_token, None, Integer, **_NATURAL, maximum=_MAX_BYTES_PER_TOKEN)
]
Count = Annotated[int, *_kind(count, type="integer", minimum=1, maximum=MAX_GPUS)]
Degrees = Annotated[
    tuple[int, ...],
    *_kind(
        degrees,
        anyOf=[
            _DEGREE,
            {"type": "array", "items": _DEGREE, "minItems": 1, "uniqueItems": True},
        ],
    ),
]
