"""The one room that knows about compilation.

Kernels are plain Python functions over arrays, compiled by numba where they are first called and
kept on disk for the next process, until any file that speaks of kernels changes. They release the
interpreter's lock, so that threads can run one kernel on disjoint parts of the same arrays; no
kernel starts threads of its own.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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
    """Return whether a kernel need not be compiled: it is loaded, or on disk; True if unknown."""
    if getattr(compiled, "signatures", None):
        return True
    try:
        found: Any = compiled._cache  # type: ignore[attr-defined]  # noqa: SLF001 - the library does not tell
        return bool(found._cache_file._load_index())  # noqa: SLF001 - as above
    except AttributeError:
        return True
    except Exception:  # noqa: BLE001 - damaged pickles raise anything
        return False


@cache
def _sources() -> str:
    """Return a digest of all files of the package that speak of kernels.

    A kernel calls others of other files, whose changes the library does not see.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        text = path.read_bytes()
        if b"kernel" in text:
            digest.update(text)
    return digest.hexdigest()


def _guarded(compiled: F) -> F:
    """Return a kernel whose cache is of these sources, and passed by where it cannot be used.

    The library reads its files as pickles and lets whatever comes of a damaged one out.
    """
    found: Any = getattr(compiled, "_cache", None)
    kept = getattr(found, "_cache_file", None)
    if kept is not None:
        kept._source_stamp = (*kept._source_stamp, _sources())  # noqa: SLF001 - the library's
    for name in ("load_overload", "save_overload"):
        original = getattr(found, name, None)
        if original is not None:
            setattr(found, name, _quietly(original))
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
