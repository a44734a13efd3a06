"""Tree: the plain data of a YAML or JSON text, and the line of each value."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from kvplace.formats.diagnostics import Path

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Spot", "Tree", "TreeFault"]

MAX_DEPTH = 32
"""Levels of nesting accepted; the formats use five."""

MAX_VALUES = 500_000
"""Keys and values looked at one by one: all of a YAML file, or the lines of a JSON file."""

Spot: TypeAlias = "int | tuple[int, dict[str, Spot]] | tuple[int, list[Spot]]"
"""Line of a value and, for a mapping or a list, the spots of what it holds."""


class TreeFault(NamedTuple):
    """What is wrong with a text before its meaning is looked at.

    Parameters
    ----------
    path
        Where.
    message
        A sentence; empty where another fault tells of this one, too.
    line
        Line, from 1; None where unknown.
    """

    path: Path
    message: str
    line: int | None = None


@dataclass(frozen=True)
class Tree:
    """The plain data of a text.

    Parameters
    ----------
    data
        Mappings, lists, text, numbers, truth values and None.
    spots_of
        Computes the lines when they are first asked for.
    faults
        What was refused while reading.
    readable
        False where `data` means nothing because the text could not be read to its end.
    """

    data: Any
    spots_of: Callable[[], Spot]
    faults: tuple[TreeFault, ...] = ()
    readable: bool = True

    @cached_property
    def spots(self) -> Spot:
        """Lines of all values."""
        return self.spots_of()

    def line_of(self, path: Path) -> int | None:
        """Return the line of the value at a path, or of the nearest thing that holds it."""
        if not self.readable:
            return None
        spot = self.spots
        for step in path:
            if isinstance(spot, int):
                break
            held = spot[1]
            if isinstance(held, dict):
                inner = held.get(str(step)) if isinstance(step, str) else None
            else:
                inner = held[step] if isinstance(step, int) and step < len(held) else None
            if inner is None:
                break
            spot = inner
        return spot if isinstance(spot, int) else spot[0]
