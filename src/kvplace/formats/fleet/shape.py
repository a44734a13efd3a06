"""The shape of a model and what its shards take, as files state them."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, create_model

from kvplace.core.models.architecture import Architecture, Format
from kvplace.formats.diagnostics import kind_of, shown
from kvplace.formats.validation.fields import (
    MAX_GPUS,
    Integer,
    amount,
    amount_or_bytes,
    number,
    refuse_value,
    word,
)
from kvplace.formats.validation.parts import Exact, Part, Written, adapter
from kvplace.units import bytes_text

__all__ = ["Resident", "Shape", "ShapePart", "shape_of"]


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
    float: Annotated[
        int | float, BeforeValidator(_real), WithJsonSchema({"type": "number", "minimum": 0})
    ],
    bool: Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})],
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


def _resident(value: object) -> tuple[tuple[int, int], ...]:
    """Accept what a shard takes by degree, such as ``{1: 17.2GiB, 2: 10.1GiB}``."""
    return _by_degree(value, amount)


def _resident_bytes(value: object) -> tuple[tuple[int, int], ...]:
    """Accept what a shard takes by degree in bytes, as a plan states it."""
    return _by_degree(value, amount_or_bytes)


def _by_degree(value: object, size: Callable[[object], int]) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, dict):
        refuse_value(f"must be a mapping such as {{1: 17.2GiB}}, not {kind_of(value)}")
    found = {}
    for degree, taken in value.items():
        text = str(degree)
        if not (text.isdecimal() and text.isascii() and 1 <= int(text) <= MAX_GPUS):
            refuse_value(f"{shown(degree)} is no tensor parallel degree")
        found[int(text)] = size(taken)
    return tuple(sorted(found.items()))


def _by_degree_schema(size: dict[str, Any]) -> WithJsonSchema:
    names = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    return WithJsonSchema({"type": "object", "propertyNames": names, "additionalProperties": size})


Resident = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_resident),
    Written(lambda pairs: {str(degree): bytes_text(size) for degree, size in pairs}),
    Exact(
        Annotated[
            tuple[tuple[int, int], ...],
            BeforeValidator(_resident_bytes),
            Written(lambda pairs: {str(degree): size for degree, size in pairs}),
            _by_degree_schema({"type": "integer", "minimum": 0}),
        ]
    ),
    _by_degree_schema({"type": "string"}),
]
"""What a shard takes by tensor parallel degree, as a field of a schema."""
