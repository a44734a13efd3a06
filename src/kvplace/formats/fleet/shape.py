"""The shape of a model and what its shards take, as files state them."""

from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from kvplace.core.models.architecture import Architecture, Format
from kvplace.errors import InputError
from kvplace.formats.diagnostics import kind_of, nearest, shown
from kvplace.formats.validation.fields import MAX_GPUS, amount, amount_or_bytes, refuse_value
from kvplace.formats.validation.parts import Exact, Written
from kvplace.units import bytes_text

__all__ = ["Resident", "Shape", "shape_data", "shape_of"]

_FIELDS = {field.name: field for field in fields(Architecture)}
_FORMATS = {"weight_format", "expert_format"}
_FLAGS = {"latent", "indexed"}
_REALS = {"weight_bits", "expert_bits"}
_NEEDED = ("layers", "hidden_size", "parameters", "active_parameters")


def shape_of(value: object) -> Architecture:
    """Accept a mapping of the fields of `Architecture`; anything else is a `ValueError`."""
    if isinstance(value, Architecture):
        return value
    if not isinstance(value, dict):
        refuse_value(f"must be a mapping such as {{layers: 32, ...}}, not {kind_of(value)}")
    given: dict[str, Any] = {}
    for name, content in value.items():
        if name not in _FIELDS:
            refuse_value(f"unknown key {shown(name)}{nearest(str(name), list(_FIELDS))}")
        given[name] = _checked(name, content)
    missing = [name for name in _NEEDED if name not in given]
    if missing:
        refuse_value(f"{', '.join(missing)} is missing")
    try:
        return Architecture(**given)
    except InputError as error:
        refuse_value("; ".join(str(fault) for fault in error.faults))


def _checked(name: str, content: object) -> object:
    """Return the value of a field, of its own type."""
    if name in _FORMATS:
        if content not in list(Format):
            refuse_value(f"{name} must be one of {', '.join(Format)}, not {shown(content)}")
        return Format(str(content))
    if name in _FLAGS:
        if not isinstance(content, bool):
            refuse_value(f"{name} must be true or false, not {shown(content)}")
        return content
    number = int | float if name in _REALS else int
    if isinstance(content, bool) or not isinstance(content, number):
        refuse_value(f"{name} must be a number, not {shown(content)}")
    return content


def _schema() -> dict[str, Any]:
    """Return the JSON Schema of the mapping."""
    properties: dict[str, Any] = {}
    for name in _FIELDS:
        if name in _FORMATS:
            properties[name] = {"enum": [item.value for item in Format]}
        elif name in _FLAGS:
            properties[name] = {"type": "boolean"}
        else:
            kind = "number" if name in _REALS else "integer"
            properties[name] = {"type": kind, "minimum": 0}
    return {
        "type": "object",
        "properties": properties,
        "required": list(_NEEDED),
        "additionalProperties": False,
    }


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


def shape_data(shape: Architecture) -> dict[str, Any]:
    """Return what of a shape differs from the default, as plain data."""
    data: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        value = getattr(shape, name)
        if name in _NEEDED or value != field.default:
            data[name] = value.value if isinstance(value, StrEnum) else value
    return data


Shape = Annotated[
    Architecture, BeforeValidator(shape_of), Written(shape_data), WithJsonSchema(_schema())
]
"""The shape of a model as a field of a schema."""
