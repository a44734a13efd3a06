"""When to stop, and who is told how far it is; a shorter run inside a longer one."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kvplace.core.result import Step, Stop, relative_gap
from kvplace.errors import InputError
from kvplace.units import parse_duration

MOST_STEPS = 400
"""Steps that a watch remembers; at the next one every other is forgotten."""
_AGES = 1e300
"""Seconds from which on a limit is none."""
LATE_SECONDS, LATE_PART = 0.3, 0.05
"""How much later than its limit an answer may be: seconds, or a part of the limit where longer."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a solver is.

    Parameters
    ----------
    phase
        What it does now, for people.
    value, bound
        Best max KVPR found (``inf`` before the first) and best bound proved.
    seconds
        Since the start.
    """

    phase: str
    value: float
    bound: float
    seconds: float

    @property
    def gap(self) -> float:
        """Relative gap between the two."""
        return relative_gap(self.value, self.bound)


class Watch:
    """The clock, the interrupt and the listener of one solver run.

    Parameters
    ----------
    time_limit
        Seconds from now; None for no limit.
    listener
        Called with every `Progress`.

    Attributes
    ----------
    limit
        Seconds allowed in all; ``inf`` without a limit.
    restarted
        Whether what goes before the search is over.
    """

    restarted = False

    def __init__(
        self,
        time_limit: float | str | None = None,
        listener: Callable[[Progress], None] | None = None,
    ) -> None:
        self._start = time.perf_counter()
        if isinstance(time_limit, str):
            time_limit = parse_duration(time_limit)
        if time_limit is not None and not time_limit >= 0:  # nor a nan
            raise InputError(f"a time limit must be at least 0 seconds, not {time_limit}")
        self.limit = math.inf
        if time_limit is not None and time_limit < _AGES:  # else it may be beyond floats
            self.limit = time_limit
        self._listener = listener
        self._ended: Stop | None = None
        self._kept = 0.0
        self._value = float("inf")
        self._bound = 0.0
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """How value and bound came together, oldest first, at most `MOST_STEPS` of them."""
        return tuple(self._steps)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._start

    @property
    def left(self) -> float:
        """Seconds until the search is to end; ``inf`` without a limit, 0 once interrupted."""
        return 0.0 if self._ended else max(0.0, self.limit - self._kept - self.seconds)

    @property
    def late(self) -> float:
        """Seconds by which an answer may come later than the limit."""
        return max(LATE_SECONDS, LATE_PART * self.limit)

    @property
    def overdue(self) -> bool:
        """Whether what comes last is given up, too: interrupted, or half as late as allowed."""
        why = self.stop
        return why is not None and (
            why is not Stop.TIME_LIMIT or self.seconds > self.limit + self.late / 2
        )

    def restart(self) -> None:
        """Count the search from now on; what went before is taken off the limit."""
        self.set_aside(self.seconds)
        self._start, self.restarted = time.perf_counter(), True

    def set_aside(self, seconds: float) -> None:
        """Take time off the limit for what is no search, such as writing a file."""
        self.limit = max(0.0, self.limit - seconds)

    def keep(self, seconds: float) -> float:
        """End the search so many seconds before the limit; return how many it was before."""
        before, self._kept = self._kept, seconds
        return before

    @contextmanager
    def part(self, part: float) -> Iterator[None]:
        """Let what is done meanwhile take a part of the time left."""
        before = self._kept
        self._kept += (1 - part) * self.left if self.left < math.inf else 0.0
        yield
        self._kept = before

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let what is done meanwhile take what is kept for later, too."""
        before, self._kept = self._kept, 0.0
        yield
        self._kept = before

    def interrupt(self) -> None:
        """Ask the solver to return the best it has, from a signal handler or another thread."""
        self._ended = Stop.INTERRUPTED

    def exhaust(self) -> None:
        """Note that the system gives no more memory, so that nothing is begun any more."""
        self._ended = Stop.MEMORY_LIMIT

    @property
    def stop(self) -> Stop | None:
        """Why to stop now, or None to go on."""
        if self._ended:
            return self._ended
        return Stop.TIME_LIMIT if self.seconds >= self.limit - self._kept else None

    def tell(self, phase: str, value: float | None = None, bound: float | None = None) -> None:
        """Report progress; numbers not given stay as they were."""
        self._value = self._value if value is None else value
        self._bound = self._bound if bound is None else max(bound, self._bound)
        self._record()
        if self._listener is not None:
            self._listener(Progress(phase, self._value, self._bound, self.seconds))

    def _record(self) -> None:
        """Keep how far the search is, if a figure has changed; thin out what was kept."""
        last = self._steps[-1] if self._steps else None
        if last is None or (last.value, last.bound) != (self._value, self._bound):
            self._steps.append(Step(self.seconds, self._value, self._bound))
            if len(self._steps) > MOST_STEPS:
                self._steps = [*self._steps[:-1:2], self._steps[-1]]


class Within(Watch):
    """The watch of one solver run among several that share the time of an outer watch.

    Parameters
    ----------
    outer
        Watch of the whole; when it ends, so does this run.
    seconds
        Limit of this run; None for no limit of its own.
    enough
        The run ends once the value is at most this.
    hopeless
        The run ends once the bound is above this.
    counted
        The run sees no time limit, so that only its counted effort decides what it finds; it ends
        with the outer watch all the same.
    """

    def __init__(
        self,
        outer: Watch,
        seconds: float | None = None,
        *,
        enough: float = -math.inf,
        hopeless: float = math.inf,
        counted: bool = False,
    ) -> None:
        super().__init__(None if seconds is None else max(0.0, seconds), self._settle)
        self._outer, self._enough, self._hopeless = outer, enough, hopeless
        self._counted = counted

    def _settle(self, progress: Progress) -> None:
        if progress.value <= self._enough or progress.bound > self._hopeless:
            self.interrupt()

    @property
    def left(self) -> float:
        """Seconds until this run or the outer one ends; ``inf`` where effort is counted."""
        if self._counted:
            return super().left if self._outer.left else 0.0
        return min(super().left, self._outer.left)

    @property
    def stop(self) -> Stop | None:
        """Why to stop now, or None to go on."""
        return super().stop or self._outer.stop
