"""Tree: the plain data of a YAML or JSON text with the line of each value, and what builds it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from kvplace.formats.diagnostics import Path, shown

MAX_DEPTH = 32
"""Levels of nesting accepted; the formats use five."""

MAX_VALUES = 500_000
"""Keys and values looked at one by one: all of a YAML file, or the lines of a JSON file."""

_MAX_FAULTS = 1000
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


class Builder:
    """Puts plain data together; of a doubled key the first value stays.

    Attributes
    ----------
    root
        What was built.
    root_spot
        Its lines.
    faults
        What was refused, each with the place where the building stood.
    wants_more
        False once more input would mean nothing.
    """

    def __init__(self) -> None:
        self.root: Any = None
        self.root_spot: Spot = 1
        self.faults: list[TreeFault] = []
        self.wants_more = True
        # Of the open mappings and lists, outermost first: the data, the spots of what they hold,
        # and the key that waits for its value with its line.
        self._data: list[Any] = []
        self._held: list[Any] = []
        self._keys: list[tuple[str, int] | None] = []

    @property
    def depth(self) -> int:
        """Mappings and lists that are open."""
        return len(self._data)

    @property
    def wants_key(self) -> bool:
        """Whether what comes next is a key."""
        return bool(self._data) and self._keys[-1] is None and isinstance(self._data[-1], dict)

    @property
    def path(self) -> Path:
        """Where the building stands."""
        path: list[str | int] = []
        for depth, (data, key) in enumerate(zip(self._data, self._keys, strict=True), 1):
            if isinstance(data, list):
                path.append(len(data) - (depth < len(self._data)))  # an open entry is in it already
            elif key is not None:
                path.append(key[0])
        return tuple(path)

    def fault(self, message: str, line: int | None, *, last: bool = False) -> None:
        """Note a fault where the building stands; with `last`, ask for no more."""
        self.faults.append(TreeFault(self.path, message, line))
        if last or len(self.faults) >= _MAX_FAULTS:
            self.wants_more = False

    def key(self, key: str, line: int) -> None:
        """Take the key of the value that comes next."""
        first = self._held[-1].get(key)
        self._keys[-1] = (key, line)
        if first is not None:
            first_line = first if isinstance(first, int) else first[0]
            self.fault(f"the key {shown(key)} is given twice, first in line {first_line}", line)

    def scalar(self, value: Any, line: int) -> None:
        """Take a value that holds no others."""
        self._put(value, line, None)
        if self._keys:
            self._keys[-1] = None

    def open(self, data: Any, line: int) -> None:
        """Take an empty mapping or list, which then takes what comes until it is closed."""
        if len(self._data) >= MAX_DEPTH:
            self.fault(f"nested deeper than {MAX_DEPTH} levels", line, last=True)
        elif self.wants_key:
            self.fault("a mapping or a list cannot be a key", line, last=True)
        else:
            held: Any = {} if isinstance(data, dict) else []
            self._put(data, line, held)
            self._data.append(data)
            self._held.append(held)
            self._keys.append(None)

    def close(self) -> None:
        """Close the innermost mapping or list."""
        self._data.pop()
        self._held.pop()
        self._keys.pop()
        if self._keys:
            self._keys[-1] = None

    def _put(self, value: Any, line: int, held: Any) -> None:
        """Store a value; the line of a mapping's value is that of its key."""
        if not self._data:
            self.root, self.root_spot = value, line if held is None else (line, held)
            return
        into, spots, waiting = self._data[-1], self._held[-1], self._keys[-1]
        if waiting is None:
            into.append(value)
            spots.append(line if held is None else (line, held))
        elif waiting[0] not in into:
            into[waiting[0]] = value
            spots[waiting[0]] = waiting[1] if held is None else (waiting[1], held)
