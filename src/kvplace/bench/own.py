"""Placement algorithms of one's own, functions of a Python file, beside the solvers known here."""

import runpy
from collections.abc import Callable
from functools import cache

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError


def is_own(solver: str) -> bool:
    """Whether a name is ``FILE:FUNCTION``."""
    return ":" in solver


@cache
def _function(name: str) -> Callable[[Problem], object]:
    """Return the function that ``FILE:FUNCTION`` names; its file is run once."""
    path, _, wanted = name.rpartition(":")
    if not path or not wanted:
        raise InputError(f"{name!r} is not FILE:FUNCTION, such as mine.py:place")
    try:
        held = runpy.run_path(path)
    except Exception as error:
        raise InputError(f"it cannot be run: {type(error).__name__}: {error}", path) from error
    if not callable(found := held.get(wanted)):
        raise InputError(f"it has no function {wanted!r}", path)
    return found  # type: ignore[no-any-return]  # of a file that is not ours


def own_placement(name: str, problem: Problem | None = None) -> Placement | None:
    """Return what a function of one's own places.

    Parameters
    ----------
    name
        ``FILE:FUNCTION``. The function takes a `Problem` and returns a `Placement`, or None where
        it finds none.
    problem
        What to place; None only loads the function.

    Raises
    ------
    InputError
        It cannot be loaded, it raises, or it returns something else.
    """
    function = _function(name)
    if problem is None:
        return None
    try:
        placed = function(problem)
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}") from error
    if placed is not None and not isinstance(placed, Placement):
        returned = type(placed).__name__
        raise InputError(f"it returns {returned}; return a kvplace.Placement or None")
    return placed
