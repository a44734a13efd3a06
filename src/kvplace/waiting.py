"""Waiting for other programs: who writes a pipe that is read, or reads one that is written."""

import threading
from collections.abc import Callable
from typing import ClassVar, TypeVar

__all__ = ["Patience", "waited"]

T = TypeVar("T")

_LEAST, _LOOK = 0.2, 0.05
"""Seconds that another program is given at least, and seconds between two looks at the clock."""


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
