"""A rival in a process of its own, where its library cannot be loaded beside ours.

The wheels of OR-Tools and highspy both bring a shared library ``libhighs.so.1``, of different
releases; whichever is imported second fails. The process is started and has imported its library
before any clock runs, and it works while ours waits.
"""

import atexit
import importlib
import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from kvplace.bench.rivals.narrow import Answer, Tell
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

_GRACE_SECONDS = 60.0
"""How far past its limit an answer is waited for."""


class Apart:
    """Solves in another process with a rival's module.

    Parameters
    ----------
    module
        Dotted name; its ``solve`` is called there.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __call__(self, arrays: Instance, watch: Watch, seed: int, tell: Tell) -> Answer:
        """Solve there until the watch stops, and pass on what is told."""
        pipe = self._started()
        pipe.send((arrays, watch.left, seed))
        while pipe.poll(watch.left + _GRACE_SECONDS):
            message = pipe.recv()
            if isinstance(message, Answer):
                return message
            tell(*message)
        self.close()
        raise TimeoutError(f"{self._module} did not answer in time")

    def _started(self) -> Connection:
        """Return the pipe to the process, started on the first call."""
        if self._pipe is None or self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")  # no locks of ours, no threads of ours
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(self._module, theirs), name=self._module, daemon=True
            )
            self._process.start()
            theirs.close()
            atexit.register(self.close)
        return self._pipe

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join()
        self._pipe = self._process = None
        atexit.unregister(self.close)


def _serve(module: str, pipe: Connection) -> None:
    """Answer problems until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    rival = importlib.import_module(module)
    try:
        while True:
            arrays, seconds, seed = pipe.recv()
            answer = rival.solve(arrays, Watch(seconds), seed, lambda *what: pipe.send(what))
            pipe.send(answer)
    except (EOFError, BrokenPipeError):
        return
