"""Every exception that kvplace raises on purpose.

::

    KvplaceError               caught by the command line, never a traceback
    ├── InputError             the input is wrong: every fault at once, each with its place
    │   └── UnitError          one quantity cannot be read
    ├── MissingExtraError      an optional dependency is not installed
    └── InternalError          a bug in kvplace: a result failed its own re-evaluation
"""

from collections.abc import Iterable
from dataclasses import dataclass


class KvplaceError(Exception):
    """Root of everything kvplace raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input.

    Parameters
    ----------
    message
        A sentence: the thing, its value, the limit and the way out.
    path
        Where in the input, such as ``models[3].slo.ttft``; empty for the whole.
    line
        Line in the file, from 1; None where the input is not a file.
    """

    message: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (self.path, f"line {self.line}" if self.line else "") if part
        )
        return f"{place}: {self.message}" if place else self.message


class InputError(KvplaceError):
    """The input is wrong; carries every fault found, in the order of the file.

    Parameters
    ----------
    faults
        What is wrong: `Fault` objects, or plain sentences.
    source
        Name of the file or option they were found in.
    """

    def __init__(self, faults: Iterable[Fault | str] | str, source: str = "") -> None:
        listed = [faults] if isinstance(faults, str) else list(faults)
        self.faults = tuple(f if isinstance(f, Fault) else Fault(f) for f in listed)
        self.source = source
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return one line per fault, each opened by the source where it is known."""
        prefix = f"{self.source}: " if self.source else ""
        return [f"{prefix}{fault}" for fault in self.faults]


class UnitError(InputError):
    """One quantity cannot be read: no unit, an unknown unit, or no such number."""


class MissingExtraError(KvplaceError):
    """An optional dependency is not installed; the message says what to install."""


class InternalError(KvplaceError):
    """A bug in kvplace: a result failed its own re-evaluation and was withheld."""
