"""When the command began: what ``--time-limit`` counts from."""

import math
import time
from typing import NoReturn

from kvplace.waiting import Patience

_MOST = 1.0
"""Seconds that an interpreter works at most before it loads this; another one does more than that.
"""


class Command:
    """The command that runs now.

    Attributes
    ----------
    began
        When it began. The command that a process was started for began with the process: as long
        before this file was loaded as the process had worked then.
    limit
        Seconds that it may take.
    asked
        Whether a signal has asked a search for the best it has.
    interrupted
        Whether Ctrl-C was raised in it. Libraries in other languages make errors of their own of
        that, such as "initialization failed".
    """

    limit = math.inf
    asked = False
    began = time.perf_counter() - min(_MOST, time.process_time())
    interrupted = False
    _first = True

    @classmethod
    def begin(cls, *, of_process: bool) -> None:
        """Note that a command begins: the one that a process was started for, or another."""
        if not (of_process and cls._first):
            cls.began = time.perf_counter()
        cls._first = cls.interrupted = False
        cls.asked, cls.limit = False, math.inf
        Patience.ended = cls.is_over

    @classmethod
    def interrupt(cls, *_: object) -> NoReturn:
        """End the command: what a signal calls."""
        cls.interrupted = True
        raise KeyboardInterrupt

    @classmethod
    def is_over(cls) -> bool:
        """Whether it is to wait for no other program any more."""
        return cls.asked or cls.seconds() >= cls.limit

    @classmethod
    def seconds(cls) -> float:
        """Return how long it has run."""
        return time.perf_counter() - cls.began
