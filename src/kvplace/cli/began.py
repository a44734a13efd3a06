"""When the command began: what ``--time-limit`` counts from."""

import time

__all__ = ["Command"]


class Command:
    """The command that runs now.

    Attributes
    ----------
    began
        When it began. The command that a process was started for began when this file was loaded,
        which is done before anything else.
    """

    began = time.perf_counter()
    _first = True

    @classmethod
    def begin(cls, *, of_process: bool) -> None:
        """Note that a command begins: the one that a process was started for, or another."""
        if not (of_process and cls._first):
            cls.began = time.perf_counter()
        cls._first = False

    @classmethod
    def seconds(cls) -> float:
        """Return how long it has run."""
        return time.perf_counter() - cls.began
