"""Bytes, rates and durations: read with their unit, printed with their unit, never guessed."""

import math
import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from kvplace.errors import UnitError

GIB = 2**30
"""Bytes in one GiB."""

_MIB = 2**20

_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": GIB,
    "TiB": 2**40,
    # The suffixes of Kubernetes quantities.
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": GIB,
    "Ti": 2**40,
}
_SECONDS = {
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_PER_SECONDS = {"/s": 1, "/min": 60, "/h": 3600, "/d": 86400}

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(\S*)\s*", re.ASCII)
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*", re.ASCII)
LEAST = 1e-300
"""Least number above 0 that counts as one: a smaller one is a slip, of no use to arithmetic."""
_LONGEST = 64  # no honest quantity is longer; keeps hostile input cheap

_SHORT, _EXACT = 16, 28
"""Characters of a number and its unit, B up to which it is below every limit of bytes, and s up to
which a float reads it as a decimal number does."""
MAX_BYTES = 2**50
"""Largest memory or weights accepted: 1 PiB, far above any device, far below 2**53."""


def _meant(unit: str) -> tuple[str, ...]:
    """Return units, in small letters, that a person may mean by one."""
    small = unit.casefold()
    words = {"sec": "s", "secs": "s", "seconds": "s", "second": "s", "msec": "ms", "minutes": "min",
             "minute": "min", "hours": "h", "hour": "h", "hr": "h", "days": "d",
             "g": "gib", "m": "mib", "/sec": "/s", "/second": "/s", "/minute": "/min"}  # fmt: skip
    return (small, words.get(small, small))


def _split(text: str, kind: str, example: str, units: object) -> tuple[Decimal, str]:
    """Split a quantity into its number and unit; refuse anything else with the way out."""
    known = ", ".join(units) if isinstance(units, dict) else ""
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise UnitError(f"{shown!r} is not {kind}; write it like {example}")
    if not match[2]:
        raise UnitError(f"{shown!r} has no unit; write it like {example} (known units: {known})")
    assert isinstance(units, dict)
    if match[2] not in units:
        meant = [unit for unit in units if unit.casefold() in _meant(match[2])]
        hint = f"did you mean {match[1]}{meant[-1]}? " if meant else ""
        raise UnitError(f"{shown!r} has the unknown unit {match[2]!r}; {hint}known units: {known}")
    try:
        return Decimal(match[1]), match[2]
    except InvalidOperation:  # pragma: no cover - the pattern admits only decimals
        raise UnitError(f"{shown!r} is not {kind}; write it like {example}") from None


def parse_number(text: str) -> float | None:
    """Read a plain decimal number, such as ``-1.5e3``; None for anything else.

    Only ASCII digits count: no blanks within, no underscores, no ``nan`` and no ``inf``. A number
    too large for a float is infinite; one so near to 0 that what is divided by it is infinite
    (below 1e-300) is none.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    number = float(match[1])
    return None if 0 < abs(number) < LEAST else number


def parse_bytes(text: str) -> int:
    """Read an amount of memory, such as ``14.958GiB``, to the nearest byte.

    Parameters
    ----------
    text
        A decimal number and one of B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB or
        Ki, Mi, Gi, Ti (powers of 1024).

    Returns
    -------
    int
        Bytes, from 0 to 2**50.

    Raises
    ------
    UnitError
        No unit, an unknown unit, a negative number or more than 1 PiB.
    """
    if text.endswith("B") and len(text) <= _SHORT and text[:-1].isdecimal() and text.isascii():
        return int(text[:-1])  # as files of many models state it, in a fifth of the time
    number, unit = _split(text, "an amount of memory", "14.958GiB", _BYTES)
    if number < 0:
        raise UnitError(f"{text!r} is negative; memory starts at 0B")
    exact = number * _BYTES[unit]
    if exact > MAX_BYTES:
        raise UnitError(f"{text!r} is more than 1024TiB; check the unit")
    return int(exact.to_integral_value(ROUND_HALF_EVEN))


def parse_duration(text: str) -> float:
    """Read a duration, such as ``572ms``, in seconds.

    Raises
    ------
    UnitError
        No unit, an unknown unit, a negative duration or more than 365 days.
    """
    plain = text.endswith("s") and len(text) <= _EXACT and text.isascii()
    if plain and text[:-1].replace(".", "", 1).isdecimal():  # as of many models, too
        seconds = float(text[:-1])
    else:
        number, unit = _split(text, "a duration", "572ms", _SECONDS)
        seconds = float(number * _SECONDS[unit])
    if seconds < 0:
        raise UnitError(f"{text!r} is negative; a duration starts at 0s")
    if seconds > 365 * 86400:
        raise UnitError(f"{text!r} is more than 365 days; check the unit")
    return seconds


def parse_rate(text: str) -> float:
    """Read a rate, such as ``126/min``, per second.

    Raises
    ------
    UnitError
        No unit, an unknown unit, a negative rate or more than 1e12 a second.
    """
    number, unit = _split(text, "a rate", "2.1/s", _PER_SECONDS)
    rate = float(number / _PER_SECONDS[unit])
    if rate < 0:
        raise UnitError(f"{text!r} is negative; a rate starts at 0/s")
    if not math.isfinite(rate) or rate > 1e12:
        raise UnitError(f"{text!r} is more than 1e12 a second; check the unit")
    return rate


def bytes_text(count: int) -> str:
    """Write bytes exactly, in the largest of GiB, MiB and B that has no fraction."""
    if count % GIB == 0 and count:
        return f"{count // GIB}GiB"
    return f"{count // _MIB}MiB" if count % _MIB == 0 and count else f"{count}B"


def format_bytes(count: int, digits: int = 1) -> str:
    """Print bytes in GiB, the one unit of kvplace's output, such as ``71.2 GiB``."""
    return f"{count / GIB:,.{digits}f} GiB"


def format_seconds(seconds: float) -> str:
    """Print a wall time with the digits a person reads, such as ``0.02 s``."""
    if seconds < 0.01:
        return f"{seconds:.3f} s"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def format_latency(seconds: float) -> str:
    """Print how long a user waits: in milliseconds below a second, such as ``7.6 ms``."""
    if seconds >= 1:
        return format_seconds(seconds)
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.02 else f"{1e3 * seconds:.1f} ms"


def format_count(number: int, noun: str) -> str:
    """Print a number with its noun: ``1 model`` or ``47 models``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_percent(share: float) -> str:
    """Print a share as a percentage that never rounds a positive share to zero."""
    if share == 0:
        return "0 %"
    percent = 100 * share
    if percent < 0.001:
        return "<0.001 %"
    return (
        f"{percent:.3f} %"
        if percent < 0.1
        else f"{percent:.2f} %"
        if percent < 1
        else f"{percent:.1f} %"
    )
