"""A knob of a strategy: its default, its unit and how it was found."""

from dataclasses import field
from typing import Any

BY_HAND = "by hand"


def knob(default: Any, unit: str, found: str = BY_HAND) -> Any:
    """Return a field with its default, its unit and how it was found."""
    return field(default=default, metadata={"unit": unit, "found": found})
