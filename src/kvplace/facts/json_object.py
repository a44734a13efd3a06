"""JSON objects as checkpoints hold them: parsed, or refused in one line."""

import json
from typing import Any

from kvplace.errors import InputError

__all__ = ["parse_object"]


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
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}", source) from error
    if not isinstance(parsed, dict):
        raise InputError("it must be a JSON object", source)
    return parsed
