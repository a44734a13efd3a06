"""A search under the eyes of a person: signals that end it well, progress while it lasts."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from kvplace.cli.began import Command

if TYPE_CHECKING:
    from kvplace.solver.clock import Progress, Watch

_QUIET_SECONDS = 1.0  # an answer that comes sooner needs no progress


@contextmanager
def watched(time_limit: float | None, *, quiet: bool, reads: bool = False) -> Iterator["Watch"]:
    """Give a watch for one search.

    The first SIGINT or SIGTERM asks the search for the best it has; the second ends the process
    in the usual way, and so does the first while files are read. Progress is shown on stderr, if
    that is a terminal, from one second on.

    Parameters
    ----------
    time_limit
        Seconds since the command began; None for no limit.
    quiet
        Show no progress.
    reads
        Whether files are read first, up to `Watch.restart`.
    """
    from kvplace.solver.clock import Watch

    line = None if quiet or not sys.stderr.isatty() else _Line()
    left = None if time_limit is None else max(0.0, time_limit - Command.seconds())
    watch = Watch(left, line.hear if line else None)

    def ask_for_the_best(number: int, _frame: FrameType | None) -> None:
        watch.interrupt()
        Command.asked = True
        signal.signal(number, before[number])
        if reads and not watch.restarted:  # there is no best yet, and a pipe may never end
            signal.raise_signal(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # What a shell ignores for a command in its background stays so.
        before = {number: of for number, of in handlers.items() if of is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, ask_for_the_best)
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if line:
            line.close()


class _Line:
    """The line on stderr that shows how far a search is, redrawn by a thread of its own."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._latest: Progress | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
        self._thread.start()

    def hear(self, progress: "Progress") -> None:
        """Remember the newest progress; costs nothing, however often it is called."""
        self._latest = progress

    def close(self) -> None:
        """Take the line away."""
        self._ended.set()
        self._thread.join()

    def _draw(self) -> None:
        """Wait until it is worth it, then redraw until the end."""
        if self._ended.wait(_QUIET_SECONDS):
            return
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        spinner = Spinner("dots")

        def shown() -> Spinner:
            spinner.update(text=self._text())
            return spinner

        console = Console(stderr=True)
        with Live(get_renderable=shown, console=console, transient=True, refresh_per_second=8):
            self._ended.wait()

    def _text(self) -> str:
        """Return phase, best value, bound, gap and time."""
        from kvplace.report.summary import format_kvpr
        from kvplace.units import format_percent

        seconds = time.perf_counter() - self._start
        latest = self._latest
        if latest is None:
            return f"starting, {seconds:.0f} s"
        parts = [latest.phase]
        if math.isfinite(latest.value):
            parts.append(f"best {format_kvpr(latest.value)}")
        if latest.bound > 0:
            parts.append(f"bound {format_kvpr(latest.bound)}")
        if math.isfinite(latest.gap):
            parts.append(f"gap {format_percent(latest.gap)}")
        return ", ".join([*parts, f"{seconds:.0f} s (Ctrl-C: best so far)"])
