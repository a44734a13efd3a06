"""The types that fields of data state, held to where a caller makes the data.

Numbers of other libraries, such as numpy's, become Python's own: those never overflow, certificates
are exact in them, and files can hold them. A list becomes a tuple. Anything else is refused.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from numbers import Integral, Real
from operator import attrgetter, index, is_
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from kvplace.arguments import alternatives
from kvplace.errors import Fault, InputError

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text"}


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """Return a whole number, of whatever library.

    Raises
    ------
    InputError
        It has a fraction, or is below the least.
    """
    try:
        number = index(value)
    except TypeError as error:
        if not isinstance(value, Real):
            raise
        message = f"{name} must be a whole number of at least {least}, not {value}"
        raise InputError(message) from error
    if number < least:
        raise InputError(f"{name} must be at least {least}, not {number}")
    return number


def hold_types(thing: Any) -> None:
    """Give the fields of a frozen dataclass the types that it states.

    Parameters
    ----------
    thing
        Its fields are numbers, texts, enumerations, other data, and tuples, sequences and mappings
        of these. A sequence that is no list or tuple, such as columns, is taken as it is.

    Raises
    ------
    InputError
        A field is of another type: every such field.
    """
    stated, values_of, known = _stated(thing.__class__)
    values = values_of(thing)
    kinds = (*map(type, values),)
    several = known.get(kinds)
    if several is not None:
        asked = [stated[at] for at in several if values[at]]
        if not asked:
            return
    else:
        asked = stated
    faults = _hold(thing, asked)
    if faults:
        raise InputError(faults)
    if several is None and tuple(map(type, values_of(thing))) == kinds:
        known[kinds] = tuple(at for at, kind in enumerate(kinds) if kind in {tuple, dict})


@cache
def plain_types(of: Any) -> dict[str, frozenset[type]]:
    """Return the types of which a value of a field, but for its parts, is held as it is."""
    found = {}
    for name, wanted in _stated(of)[0]:
        kind = dict if wanted.kind is Mapping else wanted.kind
        found[name] = frozenset((kind, NoneType) if wanted.optional else (kind,))
    return found


def _hold(thing: Any, stated: Iterable[tuple[str, "_Type"]]) -> list[Fault]:
    """Give fields the types that are stated; return those of other types."""
    faults = []
    for name, wanted in stated:
        value = getattr(thing, name)
        try:
            held = _held(value, wanted)
        except _OtherError as error:
            kind, way = (*error.args, "")[:2]
            of_many = isinstance(value, list | tuple) and wanted.parts[-1:] == (...,)
            each = "each " if of_many else ""
            message = f"{each}must be {kind}, not {repr(value)[:60]}{way}"
            faults.append(Fault(message, f"{type(thing).__name__}.{name}"))
            continue
        if held is not value:
            object.__setattr__(thing, name, held)
    return faults


@dataclass(frozen=True, slots=True)
class _Type:
    """A type that is stated: what it is, of what parts, and whether None will do."""

    kind: Any
    parts: tuple[Any, ...]
    optional: bool


@cache
def _type(hint: Any) -> _Type:
    ways = alternatives(hint)
    kind = get_origin(ways[0]) or ways[0]
    parts = tuple(one if one is ... else _type(one) for one in get_args(ways[0]))
    return _Type(kind, (*parts, ...) if kind is Sequence else parts, NoneType in ways)


class _OtherError(Exception):
    """A value is of another type: in words of which it must be, and a way out."""


@cache
def _stated(of: type) -> tuple[list[tuple[str, _Type]], Callable[[Any], Any], dict[Any, Any]]:
    """Return the fields of a class with their types, what returns their values, and a store.

    The store holds combinations of types that are right, each with the positions of what has parts.
    """
    hints = get_type_hints(of)
    stated = [(one.name, _type(hints[one.name])) for one in fields(of) if one.init]
    names = [name for name, _ in stated]
    values_of = attrgetter(*names)
    return stated, values_of if len(names) > 1 else lambda thing: (values_of(thing),), {}


def _held(value: Any, wanted: _Type) -> Any:
    """Return a value as the type that is stated."""
    kind = wanted.kind
    if value is None and wanted.optional:
        return value
    if kind in _WORDS:
        return value if type(value) is kind else _scalar(value, kind)
    if kind in {tuple, Sequence}:
        own = isinstance(value, Sequence) and not isinstance(value, list | tuple | str | bytes)
        return value if own and kind is Sequence else _tuple(value, wanted.parts)
    if kind is Mapping:
        return _mapping(value, wanted.parts[1])
    if issubclass(kind, Enum) and isinstance(value, str):
        if value not in list(kind):
            raise _OtherError(f"one of {', '.join(kind)}")
        return kind(value)
    if not isinstance(value, kind):
        raise _OtherError(f"of type {kind.__name__}")
    return value


def _scalar(value: Any, kind: Any) -> Any:
    """Return a number or a text as Python's own."""
    if kind is str and isinstance(value, str):
        return str(value)
    if isinstance(value, Real) and not isinstance(value, bool) and kind is not str:
        if kind is int and isinstance(value, Integral):
            return int(value)
        try:
            number = float(value)
        except OverflowError:
            raise _OtherError(f"a number below {sys.float_info.max:.1e}") from None
        if kind is float:
            return number
        if number.is_integer():
            return int(number)
    # A number with a fraction where bytes are counted is the usual slip.
    made = "; round() makes one" if kind is int and isinstance(value, float) else ""
    raise _OtherError(_WORDS[kind], made)


def _tuple(value: Any, parts: tuple[Any, ...]) -> Any:
    """Return a list, an array or a tuple as a tuple of what it is to hold."""
    plain = parts[-1] is ... and not parts[0].parts
    if plain and type(value) is tuple and {*map(type, value)} <= {parts[0].kind}:
        return value
    listed = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(listed, list | tuple):
        raise _OtherError("a list or a tuple")
    if parts[-1] is ...:
        parts = (parts[0],) * len(listed)
    if len(listed) != len(parts):
        raise _OtherError(f"a list or a tuple of {len(parts)}")
    held = tuple(map(_held, listed, parts))
    return value if type(value) is tuple and all(map(is_, held, value)) else held


def _mapping(value: Any, part: _Type) -> Any:
    """Return a mapping whose keys are texts."""
    if not isinstance(value, Mapping):
        raise _OtherError("a mapping")
    held = {_held(key, _type(str)): _held(one, part) for key, one in value.items()}
    return value if all(held.get(key) is value[key] for key in value) else held
