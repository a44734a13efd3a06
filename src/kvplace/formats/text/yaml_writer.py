"""Plain data to YAML text that reads back as the same data."""

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["flow", "json_line", "quoted"]

_SAFE = re.compile(r"[A-Za-z][\w./+-]*|[0-9][0-9.e+-]*([GM]i)?B|[0-9][0-9.e+-]*s", re.ASCII)
"""Texts, amounts of memory and durations that are texts without quotes."""
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def quoted(text: str) -> str:
    """Return a text as a scalar: as it stands where YAML 1.1 and 1.2 read it so, else in quotes."""
    plain = _SAFE.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json_line(text)


def flow(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{quoted(key)}: {flow(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return json.dumps(value)


def json_line(value: Any) -> str:
    """Return a value as JSON in one line, which YAML reads as well."""
    return json.dumps(value, ensure_ascii=False)
