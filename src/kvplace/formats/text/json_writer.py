"""Data as indented JSON text, many times as fast as the standard library's indented form."""

import math
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any

__all__ = ["json_text"]


def json_text(data: Any) -> str:
    """Return what ``json.dumps(data, indent=1, allow_nan=False)`` returns.

    Parameters
    ----------
    data
        Mappings with text as keys, lists, tuples, text, numbers, truth values and None.

    Raises
    ------
    ValueError
        A number is not finite.
    TypeError
        Anything else is in the data.
    """
    return _text(data, "\n")


def _text(data: Any, line: str) -> str:
    """Return the text of a value of which `line` starts each further line."""
    write = _SCALARS.get(type(data))
    if write is not None:
        return write(data)
    inner = line + " "
    if isinstance(data, dict):
        rows = [f"{encode_basestring_ascii(k)}: {_text(v, inner)}" for k, v in data.items()]
        return f"{{{inner}{f',{inner}'.join(rows)}{line}}}" if rows else "{}"
    if isinstance(data, list | tuple):
        rows = [_text(value, inner) for value in data]
        return f"[{inner}{f',{inner}'.join(rows)}{line}]" if rows else "[]"
    for kind, write in _SCALARS.items():  # words of enumerations, numbers of numpy
        if isinstance(data, kind):
            return write(data)
    raise TypeError(f"{type(data).__name__} has no form in JSON")


def _finite(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is no number of JSON")
    return float.__repr__(number)


_SCALARS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring_ascii,
    bool: {True: "true", False: "false"}.__getitem__,
    int: int.__repr__,
    float: _finite,
    type(None): {None: "null"}.__getitem__,
}
