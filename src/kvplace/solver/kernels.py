"""The one room that knows about compilation.

Kernels are plain Python functions over arrays, compiled by numba where they are first called and
kept on disk for the next process, until they change or any kernel that they call. They release the
interpreter's lock, so that threads can run one kernel on disjoint parts of the same arrays; no
kernel starts threads of its own.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import TIMEOUT_MAX, Thread, Timer
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from kvplace.cores import usable_cores
from kvplace.errors import InputError

_FREE = 32 * 2**20
"""Bytes that are to be free before the compiler is loaded, or loads a kernel: it ends the process
where it gets no memory. Measured: 29 MiB for itself, 14 for the first kernels."""


def need_memory() -> None:
    """Raise MemoryError where the system gives too little for what cannot be told so."""
    np.empty(_FREE, dtype=np.uint8)


need_memory()
try:
    with warnings.catch_warnings():  # of its variables in the environment that it ignores
        warnings.simplefilter("ignore", RuntimeWarning)
        import numba
except ValueError as error:
    text = f"the compiler numba does not start: {error}; look at the environment's NUMBA_ variables"
    raise InputError(text) from None


def _load_array_functions() -> None:
    """Load what the library knows of arrays, without the BLAS that no kernel asks for.

    It looks for one when the first kernel is loaded, and imports that of scipy where it is
    installed, which takes a third of a second. Inner products in kernels are then loops; nothing
    else differs.
    """

    def none() -> None:
        raise ImportError

    with suppress(ImportError, AttributeError):  # a release that does otherwise
        linalg: Any = import_module("numba.np.linalg")
        found = linalg.ensure_blas
        linalg.ensure_blas = none
        try:
            import_module("numba.np.arraymath")
        finally:
            linalg.ensure_blas = found


_load_array_functions()

_LOOK_SECONDS = 0.05
"""How often the clock is looked at while a kernel is compiled."""

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function on its first call, from disk where it was compiled before.

    Within another kernel it is a part of that, without what calls from outside need: that takes
    most of the time to compile where arguments are many arrays. A cache that cannot be written or
    is damaged costs the compilation again, nothing else.
    """
    try:
        compiled = _guarded(_compiled(function, cache=True))
    except RuntimeError:  # no directory for the cache can be written
        compiled = _compiled(function, cache=False)
    if not hasattr(compiled, "get_call_template"):  # compilation is switched off
        return compiled
    part: Any = _part(function)
    for name in ("get_call_template", "get_overload"):  # what other kernels ask for
        setattr(compiled, name, getattr(part, name))
    return compiled


def interpreted(compiled: F) -> F:
    """Return a kernel that is not compiled, nor what it calls: the same answer, soon for few items.

    Where compiled code goes on with an infinite number, it may raise what Python does.
    """
    return cast("F", _interpreted(compiled, {}))


def _interpreted(compiled: Any, made: dict[Any, Any]) -> Any:
    plain = getattr(compiled, "py_func", None)
    if plain is None or plain in made:
        return made.get(plain, compiled)
    names = dict(plain.__globals__)
    made[plain] = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__)
    for name in plain.__code__.co_names:
        if name in names:
            names[name] = _interpreted(names[name], made)
    return made[plain]


def is_compiled(compiled: Callable[..., Any]) -> bool:
    """Return whether a kernel need not be compiled: it is loaded, or on disk; True if unknown."""
    if getattr(compiled, "signatures", None):
        return True
    try:
        found: Any = compiled._cache  # type: ignore[attr-defined]  # noqa: SLF001 - the library does not tell
        _stamp(compiled)
        return bool(found._cache_file._load_index())  # noqa: SLF001 - the library's
    except AttributeError:
        return True
    except Exception:  # noqa: BLE001 - damaged pickles raise anything
        return False


def compiled_in_time(
    compiled: Callable[..., Any], call: Callable[[], object], ended: Callable[[], object]
) -> bool:
    """Return whether a kernel is compiled before a search ends.

    It is compiled in a thread of its own, so that signals and the clock are heeded meanwhile. If
    the search ends first, the thread goes on beside what follows. Python waits for it before it
    ends, for a process that ends in the middle of compiling may crash; the command line does not.

    Parameters
    ----------
    compiled
        The kernel.
    call
        Calls it with what it will be called with, and with nothing to do.
    ended
        Whether the search is to end.
    """
    if is_compiled(compiled):
        return True

    def attempt() -> None:
        with suppress(Exception):  # whoever calls it for its answer gets the error
            call()

    thread = Thread(target=attempt, name="compiler")
    thread.start()
    while thread.is_alive() and not ended():
        thread.join(_LOOK_SECONDS)
    return not thread.is_alive()


def _stamp(compiled: Any) -> None:
    """Let what is on disk count only if it was made of the same code.

    The library looks at the file of a kernel alone, and does not see changes of others that it
    calls. Which those are is known once all modules are loaded.
    """
    digest = hashlib.sha256(repr(sorted(_code(compiled.py_func, {}).items())).encode())
    compiled._cache._cache_file._source_stamp = digest.hexdigest()  # noqa: SLF001 - the library's


def _code(function: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Return what a function is made of: its code, constants, and kernels that it calls."""
    name, code = f"{function.__module__}.{function.__qualname__}", function.__code__
    if name in found:
        return found
    known = {at: function.__globals__[at] for at in code.co_names if at in function.__globals__}
    plain = {at: value for at, value in known.items() if isinstance(value, int | float | str)}
    constants = [value for value in code.co_consts if value != function.__doc__]
    found[name] = (code.co_code, constants, code.co_names, code.co_varnames, plain)
    for value in known.values():
        if hasattr(value, "py_func"):
            _code(value.py_func, found)
    return found


def _guarded(compiled: F) -> F:
    """Return a kernel whose cache is of its code, and passed by where it cannot be used.

    The library reads its files as pickles and lets whatever comes of a damaged one out.
    """
    found: Any = getattr(compiled, "_cache", None)
    for name in ("load_overload", "save_overload"):
        original = getattr(found, name, None)
        if original is not None:
            setattr(found, name, _quietly(original, compiled))
    return compiled


def _quietly(original: Callable[..., Any], compiled: Any) -> Callable[..., Any]:
    """Return a function that answers nothing where the original fails, and forgets what is damaged.

    What lists the files of a kernel names classes of other modules, which a later version may not
    have: it can then be read no more, and nothing be added to it.
    """

    def attempt(*args: Any) -> Any:
        need_memory()
        try:
            _stamp(compiled)
            return original(*args)
        except MemoryError:  # which damages nothing
            raise
        except Exception:  # noqa: BLE001 - damaged pickles raise anything
            with suppress(Exception):
                Path(compiled._cache._cache_file._index_path).unlink()  # noqa: SLF001 - the library's
            return None

    return attempt


def _compiled(function: F, **options: bool) -> F:
    njit: Any = numba.njit  # its stubs do not know the options on wrappers
    compiled = njit(function, nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)
    return cast("F", compiled)


def _part(function: Callable[..., Any]) -> Any:
    """Return a function as other kernels call it: compiled once for all whole numbers."""
    part: Any = _compiled(function, no_cpython_wrapper=True)
    original = part.compile

    def compile_for(kinds: tuple[Any, ...]) -> Any:
        return original(tuple(map(numba.types.unliteral, kinds)))

    part.compile = compile_for
    return part


class Crew:
    """A few threads that share the work on disjoint parts.

    Parameters
    ----------
    threads
        How many; None for one per core that this process may use.
    spared
        Cores of these that are left to what runs beside.
    """

    def __init__(self, threads: int | None = None, spared: int = 0) -> None:
        self.threads = threads or max(1, usable_cores() - spared)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def share(self, work: Callable[[int, int], int], total: int, least: int) -> int:
        """Call ``work(first, end)`` on parts of ``range(total)``; return the sum of its answers.

        Parameters
        ----------
        work
            Must do the same whatever the parts are.
        total, least
            Length of the whole, and below how much a part is not worth a thread.
        """
        if self._pool is None or total < 2 * least:
            return work(0, total)
        parts = min(4 * self.threads, total // least)
        cuts = [total * part // parts for part in range(parts + 1)]
        return sum(self._pool.map(work, cuts[:-1], cuts[1:]))

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()


@contextmanager
def halting(seconds: float) -> Iterator["np.ndarray"]:
    """Give an array of one number, which is 1 once some seconds are over, and 0 before.

    A kernel that looks at it ends then: a thread sets it meanwhile.
    """
    halted = np.zeros(1, dtype=np.int64)
    timer = Timer(min(seconds, TIMEOUT_MAX), halted.fill, (1,))
    timer.daemon = True
    if seconds < math.inf:
        timer.start()
    try:
        yield halted
    finally:
        timer.cancel()
