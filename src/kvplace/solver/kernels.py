"""The one room that knows about compilation.

Kernels are plain Python functions over arrays, compiled by numba where they are first called and
kept on disk for the next process. They release the interpreter's lock, so that threads can run
one kernel on disjoint parts of the same arrays; no kernel starts threads of its own.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

__all__ = ["Crew", "is_compiled", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function on its first call, from disk where it was compiled before.

    A cache that cannot be written or is damaged costs the compilation again, nothing else.
    """
    try:
        return _guarded(_compiled(function, cache=True))
    except RuntimeError:  # no directory for the cache can be written
        return _compiled(function, cache=False)


def is_compiled(compiled: Callable[..., Any]) -> bool:
    """Return whether a kernel need not be compiled: it is loaded, or on disk; True if unknown.

    What is on disk counts where it is younger than the source: else it is of an older version.
    """
    if getattr(compiled, "signatures", None):
        return True
    try:
        cache: Any = compiled._cache  # type: ignore[attr-defined]  # noqa: SLF001 - the library does not tell
        folder, index = cache._impl.locator.get_cache_path(), cache._cache_file._index_name  # noqa: SLF001 - as above
        source = Path(compiled.__code__.co_filename)
    except AttributeError:
        return True
    found = Path(folder, index)
    return found.exists() and found.stat().st_mtime >= source.stat().st_mtime


def _guarded(compiled: F) -> F:
    """Return a kernel whose cache is passed by where reading or writing it fails.

    The library reads its files as pickles and lets whatever comes of a damaged one out.
    """
    cache: Any = getattr(compiled, "_cache", None)
    for name in ("load_overload", "save_overload"):
        original = getattr(cache, name, None)
        if original is not None:
            setattr(cache, name, _quietly(original))
    return compiled


def _quietly(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that answers nothing where the original fails."""

    def attempt(*args: Any) -> Any:
        try:
            return original(*args)
        except Exception:  # noqa: BLE001 - damaged pickles raise anything
            return None

    return attempt


def _compiled(function: F, *, cache: bool) -> F:
    return cast("F", numba.njit(function, nogil=True, error_model="numpy", cache=cache))


class Crew:
    """A few threads that share the work on disjoint parts.

    Parameters
    ----------
    threads
        How many; None for one per core that this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or _cores()
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
        cuts = _cuts(total, min(4 * self.threads, total // least))
        return sum(self._pool.map(work, cuts[:-1], cuts[1:]))

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()


def _cuts(total: int, parts: int) -> Sequence[int]:
    return [total * part // parts for part in range(parts + 1)]


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
