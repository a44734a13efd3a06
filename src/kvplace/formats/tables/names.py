"""Names in a column of a table: which of them a file may hold."""

from collections.abc import Sequence

from kvplace.formats.validation.fields import name as check_name

__all__ = ["all_sound", "sound"]

SHORT_NAME = 256
"""Characters of a name that is accepted without a closer look."""


def all_sound(texts: Sequence[str | None]) -> bool:
    """Whether all names are sound, found out at once; no where that is not plain to see."""
    held = [text for text in texts if text]
    ends = len(held) == len(texts) and max(map(len, held), default=0) <= SHORT_NAME
    return ends and "".join(held).isprintable() and list(map(str.strip, held)) == held


def sound(text: str | None) -> bool:
    """Whether a file may hold that name."""
    if text is None:
        return False
    try:
        check_name(text)
    except ValueError:
        return False
    return True
