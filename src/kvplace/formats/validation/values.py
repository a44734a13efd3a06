"""Values as files state them: each is checked, and what to write instead is said."""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from kvplace.core.models.demand import MOST_VARIATION
from kvplace.core.names import MAX_COUNT, wrong_in_name
from kvplace.errors import UnitError
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.units import MAX_BYTES, parse_bytes, parse_duration, parse_number, parse_rate

MAX_TOKENS = 1e9
MAX_RATE = 1e12
MAX_BYTES_PER_TOKEN = 2**40
MAX_DEGREE = 1024
SPAN = r"^\s*[0-9]{1,9}(\s*-\s*[0-9]{1,9})?\s*$"
"""A number of copies, or a span of them, as text."""


def refuse_value(message: str) -> NoReturn:
    """Refuse a value with a sentence."""
    raise ValueError(message)


def name(value: object) -> str:
    """Accept a text of 1 to 256 printable characters."""
    if not isinstance(value, str):
        hint = f'; put it in quotes: "{shown(value)}"' if isinstance(value, int | float) else ""
        refuse_value(f"must be a text, not {kind_of(value)}{hint}")
    wrong = wrong_in_name(value)
    return refuse_value(wrong) if wrong else value


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
    return _number(value, MAX_RATE, "such as 2.1 (per second) or 126/min")


def tokens(value: object) -> float:
    """Accept a mean number of tokens."""
    return _number(value, MAX_TOKENS, "of tokens such as 891")


def number(value: object) -> float:
    """Accept a finite number of at least 0."""
    return _number(value, float("inf"), "")


def variation(value: object) -> float:
    """Accept a number from 0 to `MOST_VARIATION`."""
    return _number(value, MOST_VARIATION, "")


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
    return integer(value, 0, MAX_BYTES_PER_TOKEN)


def price(value: object) -> int | tuple[int, ...]:
    """Accept a whole number of at least 0, or a list of them."""
    return tuple(map(integer, value)) if isinstance(value, list) else integer(value)


def count(value: object) -> int:
    """Accept a count, from 1."""
    return integer(value, 1, MAX_COUNT)


def copies(value: object) -> tuple[int, int]:
    """Accept a number of copies, or a span such as 1-8, both ends included."""
    if not isinstance(value, str):
        return (count(value),) * 2
    if not re.match(SPAN, value, re.ASCII):
        refuse_value(f"{shown(value)} is not a number of copies such as 1, or a span such as 1-8")
    least, _, most = value.partition("-")
    return count(int(least)), count(int(most or least))


def degrees(value: object) -> tuple[int, ...]:
    """Accept one tensor parallel degree, or a list of different ones."""
    listed = value if isinstance(value, list) else [value]
    if not listed or len(listed) > MAX_DEGREE:
        refuse_value("must be a degree such as 2, or a list of degrees such as [1, 2, 4]")
    accepted = [integer(degree, 1, MAX_DEGREE) for degree in listed]
    if len(set(accepted)) < len(accepted):
        refuse_value("names a degree twice")
    return tuple(sorted(accepted))
