"""JSON objects as checkpoints hold them: parsed, or refused in one line."""

import json
from pathlib import Path
from typing import Any

from kvplace.errors import InputError

_LONGEST = 256 * 2**20
"""No config or index of a checkpoint is longer; the longest index known is 30 MiB."""


def read_object(path: Path) -> dict[str, Any]:
    """Read and parse a JSON object.

    Raises
    ------
    InputError
        The file cannot be read, is longer than 256 MiB, is no JSON, or no object.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LONGEST + 1)
    except OSError as error:
        raise InputError(error.strerror or "it cannot be read", str(path)) from error
    if len(text) > _LONGEST:
        raise InputError("it is longer than 256 MiB", str(path))
    return parse_object(text, str(path))


def parse_object(text: bytes, source: str) -> dict[str, Any]:
    """Parse a JSON object.

    Parameters
    ----------
    text
        Content of the file.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        It is no JSON, or no object.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"it is not JSON: {error}", source) from error
    if not isinstance(parsed, dict):
        raise InputError("it must be a JSON object", source)
    return parsed
