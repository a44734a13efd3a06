"""Waiting for other programs: who writes a pipe that is read, or reads one that is written."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

T = TypeVar("T")

_LEAST, _LOOK = 0.2, 0.05
"""Seconds that another program is given at least, and seconds between two looks at the clock."""
_BEGIN = 4096
_SEEN: dict[str, bytes] = {}
"""What came through pipes whose begin was looked at: it comes only once."""


class Patience:
    """How long other programs are waited for.

    Attributes
    ----------
    ended
        Whether to wait no longer. By default there is no end.
    """

    ended: ClassVar[Callable[[], bool]] = staticmethod(lambda: False)


def waited(work: Callable[[], T], missing: str) -> T:
    """Return what some work comes to that waits for another program.

    Parameters
    ----------
    work
        What to do. It is done in a thread of its own, since nothing ends a system call that waits.
    missing
        What to say where the other program does not come.

    Raises
    ------
    TimeoutError
        It did not come in time. The thread ends with the process.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=run, name="waiting", daemon=True)
    thread.start()
    thread.join(_LEAST)
    while thread.is_alive() and not Patience.ended():
        thread.join(_LOOK)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(missing)
    return done[0]


def content_of(name: str, most: int) -> bytes:
    """Return up to so many bytes of a file; who writes a pipe is waited for.

    Raises
    ------
    OSError
        The file cannot be read, or is a pipe that nobody writes to its end in time.
    """

    def read() -> bytes:
        with Path(name).open("rb") as file:
            return file.read(most)

    if os.path.isfile(name):  # noqa: PTH113 - any text, also what is no path
        return read()
    known = _SEEN.pop(name, None)
    return waited(read, "no program writes this pipe to its end") if known is None else known


def begin_of(name: str, most: int) -> bytes:
    """Return how a file begins, up to 4 KiB; empty where it cannot be read.

    Of a pipe, up to `most` bytes are kept for `content_of`.
    """
    try:
        if os.path.isfile(name):  # noqa: PTH113 - any text, also what is no path
            return content_of(name, _BEGIN)
        _SEEN[name] = content_of(name, most + 1)
    except (OSError, ValueError):
        return b""  # whoever reads it says what is wrong
    return _SEEN[name][:_BEGIN]
