"""Plain data against a part, every fault told in the file's own words."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kvplace.core.columns import Columns, defaults_of, made
from kvplace.errors import InputError
from kvplace.files import read_text
from kvplace.formats.diagnostics import MOST_NOTED, Path, Report, closest, kind_of, nearest, shown
from kvplace.formats.text.document import mapping_of
from kvplace.formats.validation.parts import (
    MISSING,
    PLAIN,
    Documented,
    FieldOf,
    Part,
    adapter,
    built,
    fields_of,
)

P = TypeVar("P")

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_NO_MAPPING = ("model_type", "dict_type", "dataclass_type", "dataclass_exact_type")


def validate(part: type[P], data: object, path: Path, report: Report) -> P | None:
    """Return `data` as a `part`; where that fails, note every fault and return None.

    What is below a place where a fault is noted already is not told again.
    """
    if not isinstance(data, dict):
        if not report.covers(path):
            like = _example(fields_of(part))
            report.add(path, f"must be a mapping, not {kind_of(data)}{like}")
        return None
    try:
        valid: P = adapter(part).validator.validate_python(data)
    except ValidationError as error:
        details = error.errors(include_url=False)[:MOST_NOTED]
        meant = _meant(part, details)
        for detail in details:
            location = detail["loc"]
            told = detail["type"] == "missing" and location in meant
            if not told and not report.covers((*path, *location)):
                report.add((*path, *location), _message(part, location, detail))
        return None
    return valid


def read_part(part: type[P], path: str | os.PathLike[str], kind: str) -> P:
    """Read a file of JSON as a part; `kind` is as in `mapping_of`.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    name = os.fspath(path)
    data, report = mapping_of(read_text(name), name, kind)
    found = validate(part, data, (), report)
    report.refuse()
    assert found is not None
    return found


def validate_list(
    part: type[P] | Callable[[object], type[P]],
    data: object,
    path: Path,
    report: Report,
    least: int = 1,
) -> list[P | None]:
    """Return each item of a list of at least `least` as a `part`, None where it fails.

    In place of a part, what tells the part of an item.
    """
    if not isinstance(data, list):
        like = _example(fields_of(part if isinstance(part, type) else part({})))
        report.add(path, f"must be a list, not {kind_of(data)}{like and f'{like}, after a dash'}")
        return []
    if len(data) < least:
        report.add(path, "is empty; it needs at least one entry")
    parts: list[P | None] = []
    for index, item in enumerate(data):
        if report.full:
            break
        own = part if isinstance(part, type) else part(item)
        parts.append(validate(own, item, (*path, index), report))
    return parts


def built_list(
    part: type[Part], data: Mapping[str, Any], key: str, report: Report, least: int = 0
) -> list[Any]:
    """Return what the items of a list below a key state, those that are sound."""
    found: list[Any] = []
    items = data.get(key, [])
    if part.core is not None and isinstance(items, list) and len(items) >= least:
        with suppress(ValueError, InputError):  # what is wrong is told item by item
            return made(columns_of(part, items))
    for index, item in enumerate(validate_list(part, items, (key,), report, least)):
        try:
            found += [] if item is None else [item.build()]
        except InputError as error:
            for fault in error.faults:
                field = fault.path.removeprefix(f"{getattr(item, 'name', '')}.")
                report.add((key, index, field), fault.message)
    return found


def columns_of(part: type[Part], items: Sequence[Any]) -> Columns[Any]:
    """Return what items of a list state, column by column, as `Part.build` does item by item.

    Raises
    ------
    ValueError
        One of them is not sound: then `validate` tells what is wrong.
    """
    known, core = fields_of(part), defaults_of(part.core)  # type: ignore[arg-type]  # a dataclass
    used = set(chain.from_iterable(items)) if set(map(type, items)) <= {dict} else {None}
    if not used <= known.keys():
        raise ValueError
    columns: dict[str, Sequence[Any]] = {}
    for key, (name, _, kind, *_) in known.items():
        needed = part.model_fields[name].is_required()
        if key not in used and not needed and (used or columns):  # one tells how many there are
            continue
        rows: Sequence[int] = range(len(items))
        try:
            given = list(map(itemgetter(key), items))
        except KeyError:
            if needed:
                raise ValueError from None
            rows = [row for row, item in enumerate(items) if key in item]
            given = [items[row][key] for row in rows]
        held, *others = get_args(kind) if get_origin(kind) is Annotated else (kind,)
        part_of = isinstance(held, type) and issubclass(held, Part)
        if part_of and all(isinstance(other, Documented) for other in others):
            stated = columns_of(held, given)
            if len(rows) == len(items):
                columns[name] = stated
                continue
            values = made(stated)
        else:
            values = adapter(list[kind]).validate_python(given)  # type: ignore[valid-type]  # made here
            if not PLAIN.issuperset(map(type, values)):
                values = [None if value is None else built(value) for value in values]
        if len(rows) < len(items) or None in values:
            column = [core.get(name)] * len(items)
            for row, value in zip(rows, values, strict=True):
                column[row] = column[row] if value is None else value
            values = column
        columns[name] = values
    return Columns(part.core, columns)  # type: ignore[arg-type]  # a dataclass


def _meant(part: type[Any], details: list[Any]) -> set[Path]:
    """Return the keys that unknown keys were meant to be: they are not missing as well."""
    meant: set[Path] = set()
    for detail in details:
        if detail["type"] in _UNKNOWN:
            *parent, key = detail["loc"]
            close = closest(str(key), _fields_at(part, tuple(parent)))
            if close is not None:
                meant.add((*parent, close))
    return meant


def _message(part: type[Any], location: Path, detail: Any) -> str:
    """Turn one finding of the schema library into a sentence."""
    kind = detail["type"]
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "missing" or kind in _UNKNOWN:
        *above, key = location
        return _wrong_key(kind, str(key), _fields_at(part, tuple(above)))
    if kind in _NO_MAPPING:
        like = _example(_fields_at(part, location))
        return f"must be a mapping, not {kind_of(detail['input'])}{like}"
    if kind in {"tuple_type", "list_type"}:
        return f"must be a list, not {kind_of(detail['input'])}"
    return str(detail["msg"])


def _example(fields: Mapping[str, FieldOf]) -> str:
    """Say how a mapping is written: with what it needs, as far as examples tell."""
    needed = [
        f"{key}: {field.examples[0]}"
        for key, field in fields.items()
        if field.default is MISSING and field.examples
    ]
    return f"; write it like {{{', '.join(needed)}}}" if needed else ""


def _wrong_key(kind: str, key: str, known: Mapping[str, FieldOf]) -> str:
    """Say that a key is missing, with an example, or unknown, with what it may be meant to be."""
    if kind != "missing":
        return f"unknown key {shown(key)}{nearest(key, known)}"
    field = known.get(key)
    example = field.examples[0] if field is not None and field.examples else ""
    return f"is missing; write it like {key}: {example}" if example else "is missing"


def _fields_at(part: type[Any], location: Path) -> Mapping[str, FieldOf]:
    """Return the fields, by their keys, of the part at a location below `part`."""
    for step in location:
        field = fields_of(part).get(str(step))
        part = (_inner_part(field.kind) if field else None) or part
    return fields_of(part)


def _inner_part(kind: Any) -> type[Any] | None:
    """Return the part that a type is or holds, such as that of ``Part | None``."""
    if isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
        return kind
    held = (_inner_part(inner) for inner in get_args(kind))
    return next((inner for inner in held if inner), None)
