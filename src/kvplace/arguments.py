"""What a public function says when it is given something of another type.

A path in the place of a problem, or a result in the place of its placement, ends in an exception
deep inside. Only then are the arguments held against the annotations, so that a right call costs
nothing.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, TextIO, TypeVar, Union, get_args, get_origin

Called = TypeVar("Called", bound=Callable[..., Any])

_MADE_BY = {
    "Problem": "kvplace.read(PATH) makes one",
    "Placement": "a Result has one as .placement",
    "Result": "kvplace.solve(problem) and kvplace.load_plan(PATH) make one",
    "Plan": "kvplace.read_plan(PATH) and kvplace.plan_of(result) make one",
    "Stock": "kvplace.stock_of(problem) makes one",
}


def explained(function: Called) -> Called:
    """Return a function that names the arguments of a wrong type where it fails by them."""

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except Exception as error:
            told = type(error).__module__ == "kvplace.errors"
            wrong = [] if told else _wrong(function, args, named)
            if not wrong:
                raise
            raise TypeError("\n".join(wrong)) from error

    call.__module__ = "kvplace"  # where it is public, so that it can be pickled
    return call  # type: ignore[return-value]  # wraps keeps the signature


def _wrong(function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> list[str]:
    """Return a sentence for each argument of another type than its annotation says."""
    import inspect  # noqa: PLC0415 - slow to load, and for failures only

    try:
        bound = inspect.signature(function, eval_str=True).bind(*args, **named)
    except (TypeError, NameError):
        return []  # Python says which are missing or too many; a type may be known to checkers only
    found = []
    for name, value in bound.arguments.items():
        hints = alternatives(bound.signature.parameters[name].annotation)
        types = [get_origin(one) or one for one in hints]
        if not all(isinstance(one, type) for one in types):
            continue
        wanted = [one.__name__ for one in types if one is not NoneType]
        says = f"{function.__name__}: {name} must"
        if not any(_suits(value, one) for one in types):
            ways = "".join(f"; {_MADE_BY[one]}" for one in wanted if one in _MADE_BY)
            found.append(
                f"{says} be of type {' or '.join(wanted)}, not {type(value).__name__}{ways}"
            )
        elif float in types and isinstance(value, int) and abs(value) > sys.float_info.max:
            found.append(f"{says} be a number below {sys.float_info.max:.1e}")
        else:
            other = next(filter(None, (_other_element(value, one) for one in hints)), "")
            found += [f"{says} hold {other}"] if other else []
    return found


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types any of which will do."""
    return get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)


def _other_element(value: object, hint: object) -> str:
    """Return what a list should hold and what it holds; empty where nothing is wrong."""
    kinds = [get_origin(one) or one for one in get_args(hint) if one is not ...]
    if len(kinds) != 1 or not isinstance(kinds[0], type) or not isinstance(value, Sequence):
        return ""
    for one in value:
        if not _suits(one, kinds[0]):
            return f"{kinds[0].__name__}, not {type(one).__name__}"
    return ""


def _suits(value: object, type_: type) -> bool:
    """Whether a value may stand for a type, numbers of other libraries included."""
    if type_ is Any:
        return True
    if type_ is TextIO:
        return hasattr(value, "read")
    if type_ is Sequence and isinstance(value, str | bytes):
        return False  # a text is a sequence of its letters, which nobody means
    wide = {int: Integral, float: Real}.get(type_, type_)
    return isinstance(value, wide)
