"""The memory that a command may take, and what is said when the system gives no more."""

import errno
import os
import signal
from contextlib import suppress
from typing import Any

import click

from kvplace.cli.faults import say
from kvplace.errors import UnitError
from kvplace.units import bytes_text, parse_bytes

_LEAST = 16 * 2**20
_THREAD = "can't start new thread"
_COMPILER = "llvmlite"
_UNMAPPED = "cannot allocate memory", "failed to map segment"


class Memory:
    """The memory of this process.

    Attributes
    ----------
    limit
        Bytes that it may take; 0 for what the system gives.
    watched
        Whether another process waits for this one, which must not go on after the command.
    """

    limit = 0
    watched = False
    _told = -1

    @classmethod
    def prepare(cls) -> None:
        """Let libraries take no more memory than they need where the system limits it.

        The algebra library wants a buffer for each of its threads. Where it gets none it ends the
        process, or asks for it for ever.
        """
        if cls.is_limited():
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    @classmethod
    def is_limited(cls) -> bool:
        """Whether this process may take only so much memory."""
        try:
            import resource
        except ImportError:
            return False
        kinds = resource.RLIMIT_AS, resource.RLIMIT_DATA
        return any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in kinds)

    @classmethod
    def take(cls, limit: int) -> None:
        """Let the process take so many bytes of data and no more.

        Raises
        ------
        OSError
            The system knows no such limit.
        """
        try:
            import resource
        except ImportError:
            raise OSError(errno.ENOSYS, "this system limits no memory") from None
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        cls.limit = limit
        cls.prepare()

    @classmethod
    def watch(cls) -> int | None:
        """Go on in a process of its own, and say so if that dies for want of memory.

        Compilers and solvers in other languages end the process where they get no memory.

        Returns
        -------
        int or None
            In this process the other one's exit code; in the other one None.
        """
        hears, cls._told = os.pipe()
        os.set_blocking(hears, False)  # processes that the other one starts have it open, too
        child = os.fork()
        if not child:
            cls.watched = True
            return None
        # A terminal interrupts both; whoever ends a command ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            ended = bool(os.read(hears, 1))
        except BlockingIOError:
            ended = False
        died = -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL
        if code in died or (code == 1 and not ended):
            say(f"kvplace: {cls.sentence()}")
            return 4
        return code if code >= 0 else 128 - code

    @classmethod
    def leave(cls, code: int) -> None:
        """End the process that is watched, and say that it is no library that ends it."""
        with suppress(OSError):  # nobody waits any more
            os.write(cls._told, b".")
        os._exit(code)

    @classmethod
    def loosen(cls) -> None:
        """Take the limit away, so that what is to be said can be said."""
        if cls.limit:
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))

    @classmethod
    def is_short(cls, error: BaseException) -> bool:
        """Whether an error says that the system gives no more memory."""
        if isinstance(error, MemoryError):
            return True
        words = str(error).lower()
        if isinstance(error, OSError):
            # The compiler's library does not tell why it could not be loaded.
            return error.errno == errno.ENOMEM or (_COMPILER in words and cls.is_limited())
        if isinstance(error, RuntimeError):
            return _THREAD in words
        if isinstance(error, SystemError):  # the interpreter could not even make the error
            return cls.is_limited()
        return isinstance(error, ImportError) and any(part in words for part in _UNMAPPED)

    @classmethod
    def sentence(cls) -> str:
        """Return what to say then."""
        if cls.limit:
            most = bytes_text(cls.limit)
            return f"no more than {most} of memory may be taken (--memory-limit)"
        return "the system gives no more memory"


class _Bytes(click.ParamType[int]):
    """An amount of memory with its unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            limit = parse_bytes(str(value))
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if limit < _LEAST:
            self.fail(f"{value!r} is less than {_LEAST >> 20} MiB", param, ctx)
        return limit


def _take(_ctx: click.Context, _param: click.Parameter, limit: int | None) -> None:
    """Take the limit before anything is read."""
    if limit is not None:
        try:
            Memory.limit = limit
            code = Memory.watch() if hasattr(os, "fork") else None
            if code is not None:
                raise click.exceptions.Exit(code)
            Memory.take(min(limit, 2**62))
        except (OSError, ValueError) as error:
            raise click.UsageError(f"--memory-limit: {error}") from None


MEMORY_LIMIT = click.option(
    "--memory-limit",
    type=_Bytes(),
    metavar="SIZE",
    expose_value=False,
    is_eager=True,
    callback=_take,
    help="Take no more memory than this (4GiB); then end with the best answer so far, or with exit "
    "code 4.",
)
