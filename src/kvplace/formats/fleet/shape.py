"""The shape of a model and what its shards take, as files state them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, create_model

from kvplace.core.models.architecture import Architecture, Format
from kvplace.core.names import MAX_COUNT
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.formats.validation.fields import Integer, kind, word
from kvplace.formats.validation.parts import Exact, Part, adapter
from kvplace.formats.validation.values import amount, amount_or_bytes, number, refuse_value
from kvplace.units import bytes_text


def _real(value: Any) -> Any:
    """Accept a number of at least 0, and keep it whole where it is written so."""
    number(value)
    return value


def _flag(value: object) -> bool:
    """Accept a truth value."""
    if not isinstance(value, bool):
        refuse_value(f"must be true or false, not {kind_of(value)}")
    return value


_KINDS: dict[Any, Any] = {
    int: Integer,
    float: Annotated[int | float, *kind(_real, type="number", minimum=0)],
    bool: Annotated[bool, *kind(_flag, type="boolean")],
    Format: Annotated[Format, *word(*Format)],
}


def _field(field: dataclasses.Field[Any], hint: Any) -> tuple[Any, Any]:
    """Return kind and default of a field of the class."""
    default = ... if field.default is dataclasses.MISSING else field.default
    return (_KINDS[hint] if hint in _KINDS else _KINDS[get_args(hint)[0]] | None), default


_HINTS = get_type_hints(Architecture)
_FIELDS: dict[str, Any] = {
    f.name: _field(f, _HINTS[f.name]) for f in dataclasses.fields(Architecture)
}
ShapePart = create_model("ShapePart", __base__=Part, __doc__="The shape of a model.", **_FIELDS)
"""The fields of `Architecture`, each with a kind by its type."""
ShapePart.core = Architecture

if TYPE_CHECKING:
    Shape = Architecture
else:
    Shape = Annotated[ShapePart, AfterValidator(Part.checked)]


def shape_of(data: object) -> Architecture:
    """Accept a mapping of the fields of `Architecture`; anything else is a `ValueError`."""
    shape: Architecture = adapter(Shape).validate_python(data)
    return shape


def _by_degree(value: object, size: Callable[[object], int]) -> tuple[tuple[int, int], ...]:
    """Accept what a shard takes by degree, such as ``{1: 17.2GiB, 2: 10.1GiB}``."""
    if not isinstance(value, dict):
        refuse_value(f"must be a mapping such as {{1: 17.2GiB}}, not {kind_of(value)}")
    found = {}
    for degree, taken in value.items():
        text = str(degree)
        if not (text.isdecimal() and text.isascii() and 1 <= int(text) <= MAX_COUNT):
            refuse_value(f"{shown(degree)} is no tensor parallel degree")
        found[int(text)] = size(taken)
    return tuple(sorted(found.items()))


def _kind_by_degree(
    read: Callable[[object], int], write: Callable[[int], object], size: dict[str, Any]
) -> tuple[Any, ...]:
    """Return the annotations of sizes by degree, each read, written and documented so."""
    return kind(
        partial(_by_degree, size=read),
        lambda pairs: {str(degree): write(size) for degree, size in pairs},
        type="object",
        propertyNames={"type": "string", "pattern": "^[1-9][0-9]*$"},
        additionalProperties=size,
    )


_Pairs = tuple[tuple[int, int], ...]
_IN_BYTES = _kind_by_degree(amount_or_bytes, int, {"type": "integer", "minimum": 0})
Resident = Annotated[
    _Pairs,
    *_kind_by_degree(amount, bytes_text, {"type": "string"}),
    Exact(Annotated[_Pairs, *_IN_BYTES]),
]
"""What a shard takes by tensor parallel degree, as a field of a schema."""
