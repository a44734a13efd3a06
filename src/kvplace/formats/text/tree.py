"""What puts the plain data of a YAML or JSON text together, with the line of each value."""

from typing import Any

from kvplace.formats.diagnostics import Path, Report, shown

MAX_DEPTH = 32
"""Levels of nesting accepted; the formats use five."""

MAX_VALUES = 500_000
"""Keys and values looked at one by one: all of a YAML file, or the lines of a JSON file."""


class Builder:
    """Puts plain data together; of a doubled key the first value stays.

    Parameters
    ----------
    report
        Where faults go, each with the place where the building stands.

    Attributes
    ----------
    root
        What was built: mappings, lists, text, numbers, truth values and None.
    wants_more
        False once more input would mean nothing.
    """

    def __init__(self, report: Report) -> None:
        self.root: Any = None
        self.wants_more = True
        self._report = report
        self._root_line = 1
        # By what holds a value, which stays in memory, and by its key there.
        self._lines: dict[tuple[int, str | int], int] = {}
        self._set_aside: list[Any] = []
        # The open mappings and lists, outermost first, each with the key that waits for its value
        # and the line of that key.
        self._open: list[Any] = []
        self._keys: list[tuple[str, int] | None] = []

    @property
    def depth(self) -> int:
        """Mappings and lists that are open."""
        return len(self._open)

    @property
    def wants_key(self) -> bool:
        """Whether what comes next is a key."""
        return bool(self._open) and self._keys[-1] is None and isinstance(self._open[-1], dict)

    @property
    def path(self) -> Path:
        """Where the building stands."""
        path: list[str | int] = []
        for depth, (data, key) in enumerate(zip(self._open, self._keys, strict=True), 1):
            if isinstance(data, list):
                path.append(len(data) - (depth < len(self._open)))  # an open entry is in it already
            elif key is not None:
                path.append(key[0])
        return tuple(path)

    def line_of(self, path: Path) -> int:
        """Return the line of the value at a path, or of the nearest thing that holds it."""
        data, line = self.root, self._root_line
        for step in path:
            inner = self._lines.get((id(data), step))
            if inner is None:
                break
            data, line = data[step], inner
        return line

    def fault(self, message: str, line: int | None, *, last: bool = False) -> None:
        """Note a fault where the building stands; with `last`, ask for no more."""
        self._report.add(self.path, message, line)
        if last or self._report.full:
            self.wants_more = False

    def key(self, key: str, line: int) -> None:
        """Take the key of the value that comes next."""
        first = self._lines.get((id(self._open[-1]), key))
        self._keys[-1] = (key, line)
        if first is not None:
            self.fault(f"the key {shown(key)} is given twice, first in line {first}", line)

    def scalar(self, value: Any, line: int) -> None:
        """Take a value that holds no others."""
        self._put(value, line)
        if self._keys:
            self._keys[-1] = None

    def open(self, data: Any, line: int) -> None:
        """Take an empty mapping or list, which then takes what comes until it is closed."""
        if self.depth >= MAX_DEPTH:
            self.fault(f"nested deeper than {MAX_DEPTH} levels", line, last=True)
        elif self.wants_key:
            self.fault("a mapping or a list cannot be a key", line, last=True)
        else:
            self._put(data, line)
            self._open.append(data)
            self._keys.append(None)

    def close(self) -> None:
        """Close the innermost mapping or list."""
        self._open.pop()
        self._keys.pop()
        if self._keys:
            self._keys[-1] = None

    def _put(self, value: Any, line: int) -> None:
        """Store a value; the line of a mapping's value is that of its key."""
        if not self._open:
            self.root, self._root_line = value, line
            return
        into, waiting = self._open[-1], self._keys[-1]
        key, line = (len(into), line) if waiting is None else waiting
        if (id(into), key) in self._lines:
            self._set_aside.append(value)
            return
        self._lines[id(into), key] = line
        if waiting is None:
            into.append(value)
        else:
            into[key] = value
