"""Shapes of common open models, by name."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from kvplace.core.models.architecture import Architecture, Format
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.tables import named, number, read_tables

_NEAR = 0.12
"""How far weights may be from those of a shape: a vision tower, a layer that predicts further."""
_STORED = ((8.0, Format.FP8), (4.5, Format.BF16))
"""Bits in which a 16-bit model may be served instead, and the format that is then multiplied."""
_FLAGS = ("latent", "indexed")
_REALS = ("weight_bits", "expert_bits")
_FORMATS = ("weight_format", "expert_format")


def known_shapes() -> Mapping[str, Architecture]:
    """Return the shipped shapes by name, then a user's own.

    Raises
    ------
    InputError
        A row of the user's own ``shapes.csv`` is wrong.
    """
    return {name: shape for name in _rows() if (shape := known_shape(name)) is not None}


def known_names() -> Collection[str]:
    """Return the names of which the tables hold a shape; no row is looked at."""
    return _rows().keys()


def _rows() -> Mapping[str, Mapping[str, str]]:
    """Return the rows by name; each is looked at when its model is asked for."""
    return read_tables("shapes.csv", ("name", "source"), dict)


def known_shape(name: str, weights_bytes: int | None = None) -> Architecture | None:
    """Return the shape of a model, or None where it is not known.

    Parameters
    ----------
    name
        Hub id; upper and lower case are one.
    weights_bytes
        What one copy of it takes. A half or a quarter of the shape's own is the same model in 8
        or 4 bits; anything else is another model of that name, whose shape is not known.
    """
    rows = _rows()
    row = named(rows, name)
    if row is not None and (row.get("like") or "").strip():
        row = rows.get(row["like"].strip())
    if row is None:
        return None
    shape = _shape(row)
    return shape if weights_bytes is None else _as_stored(shape, weights_bytes)


def stored_bytes(shape: Architecture) -> int:
    """Return the bytes of one copy of the weights, towers for images or sound included."""
    expert_bits = shape.weight_bits if shape.expert_bits is None else shape.expert_bits
    plain = shape.parameters - shape.expert_parameters - shape.embedding_parameters
    bits = (
        plain * shape.weight_bits
        + shape.expert_parameters * expert_bits
        + (shape.embedding_parameters + shape.other_parameters) * 16
    )
    return round(bits / 8)


def _as_stored(shape: Architecture, weights_bytes: int) -> Architecture | None:
    """Return the shape with the bits that the weights tell; None where they do not fit it."""
    text = replace(shape, other_parameters=0) if shape.other_parameters else shape
    nearest = min((shape, text), key=lambda own: abs(weights_bytes - stored_bytes(own)))
    if abs(weights_bytes / stored_bytes(nearest) - 1) <= _NEAR:
        return nearest
    for bits, multiplied in _STORED:
        smaller = replace(
            shape,
            weight_bits=min(shape.weight_bits, bits),
            expert_bits=bits,
            weight_format=multiplied,
            expert_format=multiplied,
        )
        if abs(weights_bytes / stored_bytes(smaller) - 1) <= 2 * _NEAR:
            return smaller
    return None


def _shape(row: Mapping[str, str]) -> Architecture:
    """Make a shape of a row.

    Raises
    ------
    InputError
        A cell is wrong or missing.
    """
    values: dict[str, object] = {}
    for column in Architecture.__dataclass_fields__:
        cell = (row.get(column) or "").strip()
        if not cell:
            continue
        if column in _FORMATS:
            if cell not in list(Format):
                message = f"{cell!r} is no number format; known: {', '.join(Format)}"
                raise InputError([Fault(message, column)])
            values[column] = Format(cell)
            continue
        value = number(row, column)
        assert value is not None
        if column in _FLAGS:
            values[column] = bool(value)
        else:
            values[column] = value if column in _REALS else int(value)
    missing = [name for name in ("layers", "hidden_size", "parameters", "active_parameters")
               if name not in values]  # fmt: skip
    if missing:
        raise InputError([Fault("it is empty", name) for name in missing])
    return Architecture(**values)  # type: ignore[arg-type]  # columns are its fields
