"""In which unit the numeric times of a log are: said by its names, its form or its density."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.demand.logs.columns import normal
from kvplace.errors import InputError

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_WORDS = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "millis": "ms",
    "milliseconds": "ms", "us": "us", "micros": "us", "microseconds": "us", "ns": "ns",
    "nano": "ns", "nanos": "ns", "nanoseconds": "ns",
}  # fmt: skip
_SECONDS_BY_NAME = {"t", "arrived_at"}
"""Numeric times of these names are seconds: the shared traces' and vidur's convention."""
_SINCE_1970 = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_OLDEST, _NEWEST = 1e9, 4.2e9  # 2001 to 2103, in seconds since 1970

_IN_SECONDS = (
    {"chatid", "parentchatid", "timestamp", "inputlength"},  # Bailian, by its README
    {"timestamp", "requesttokens", "responsetokens", "logtype"},  # BurstGPT, by its README
)
_MOONCAKE = {"timestamp", "inputlength", "outputlength"}
"""Mooncake's form: its own logs are in milliseconds, those of other tools often in seconds."""
_SELDOM = 3600.0  # one request an hour or fewer: nobody plans GPUs for that
_SPARSE, _MANY = 60.0, 100  # of a long log, one a minute or fewer is as unlikely
_DENSE = 1.0  # as milliseconds, more than a thousand requests a second


@dataclass(frozen=True, slots=True)
class TimeFacts:
    """What the values of a time column look like.

    Parameters
    ----------
    numeric
        Whether they are numbers; dates otherwise.
    low, high
        Smallest and largest number.
    rows
        How many numbers.
    whole
        Whether all of them are whole.
    example
        One value, for messages.
    """

    numeric: bool
    low: float = 0.0
    high: float = 0.0
    rows: int = 0
    whole: bool = True
    example: str = ""


def time_unit(
    column: str, names: Sequence[str], facts: TimeFacts, asked: str | None, source: str
) -> tuple[str, str | None]:
    """Return the unit of a numeric time, and a note where it was concluded and not told.

    Parameters
    ----------
    column
        Name of the column of times.
    names
        All columns of the log.
    facts
        What its values look like.
    asked
        The caller's word; None for none.
    source
        Name of the log, for messages.

    Raises
    ------
    InputError
        Neither names nor values tell.
    """
    told = asked or _by_name(column)
    if told:
        return told, None
    for unit, factor in _SINCE_1970.items():
        if _OLDEST * factor <= facts.low <= facts.high <= _NEWEST * factor:
            return unit, f"times in {column!r} are {unit} since 1970, by their size"
    known = {normal(name) for name in names}
    if any(known >= form for form in _IN_SECONDS):
        return "s", f"times in {column!r} are seconds, as the log's form says"
    if known >= _MOONCAKE and normal(column) == "timestamp":
        likely = _by_density(facts)
        if likely:
            shown = {"s": "seconds", "ms": "milliseconds"}[likely]
            return likely, (
                f"times in {column!r} are taken for {shown}, by how dense they are; "
                "--time-unit says otherwise"
            )
    raise InputError(
        f"the times in {column!r} are numbers such as {facts.example}, and neither the name nor "
        "the form of the log tells their unit; pass --time-unit s, ms, us or ns",
        source,
    )


def _by_name(column: str) -> str | None:
    """Return the unit that the last word of a name tells, if any."""
    if column.casefold() in _SECONDS_BY_NAME:
        return "s"
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", column)
    return _WORDS.get(words[-1].casefold()) if len(words) > 1 else None


def _by_density(facts: TimeFacts) -> str | None:
    """Return the only unit in which the requests come neither absurdly often nor seldom."""
    if not facts.whole:
        return "s"  # the form's milliseconds are whole
    gap = (facts.high - facts.low) / max(facts.rows - 1, 1)
    if gap >= _SELDOM or (gap >= _SPARSE and facts.rows >= _MANY):
        return "ms"
    return "s" if 0 < gap <= _DENSE and facts.rows >= _MANY else None
