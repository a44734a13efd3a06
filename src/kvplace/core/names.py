"""Names of models, GPUs, nodes and windows: what files and scripts hold without harm."""

from collections.abc import Iterable, Iterator, Sequence

from kvplace.errors import Fault

LONGEST_NAME = 256
"""Characters of a name."""
MAX_COUNT = 1_000_000
"""GPUs and nodes of one fleet, and whatever else is counted from 1."""


def wrong_in_name(name: str) -> str:
    """Return what is wrong with a name; empty for nothing.

    It has 1 to 256 printable characters, and a space neither first nor last.
    """
    if not 0 < len(name) <= LONGEST_NAME:
        return f"has {len(name):,} characters; 1 to {LONGEST_NAME} are accepted"
    if not name.isprintable():
        bad = next(character for character in name if not character.isprintable())
        return f"{name!r} holds the unprintable character U+{ord(bad):04X}; remove it"
    return f"{name!r} starts or ends with a space; remove it" if name != name.strip() else ""


def name_faults(names: Iterable[str], place: str) -> Iterator[Fault]:
    """Yield what is wrong with names.

    Parameters
    ----------
    names
        Up to a million of them, looked at together.
    place
        Path of one of them, with ``{}`` for its position.
    """
    listed: Sequence[str] = list(names)
    lengths = list(map(len, listed))
    sound = "".join(listed).isprintable() and list(map(str.strip, listed)) == listed
    if not sound or not lengths or not 0 < min(lengths) <= max(lengths) <= LONGEST_NAME:
        for at, name in enumerate(listed):
            wrong = wrong_in_name(name)
            if wrong:
                yield Fault(wrong, place.format(at))
