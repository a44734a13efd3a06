"""Plain data against a schema model, every fault told in the file's own words."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kvplace.formats.validation.diagnostics import Path, Report, closest, kind_of, nearest, shown

__all__ = ["Part", "validate", "validate_list"]

P = TypeVar("P", bound="Part")


class Part(BaseModel):
    """One mapping of a file: known keys only, values taken as they stand."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


def validate(part: type[P], data: object, path: Path, report: Report) -> P | None:
    """Return `data` as a `part`; where that fails, note every fault and return None.

    What is below a place where a fault is noted already is not told again.
    """
    if not isinstance(data, dict):
        if not report.covers(path):
            report.add(path, f"must be a mapping, not {kind_of(data)}")
        return None
    try:
        return part.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        meant = _meant(part, details)
        for detail in details:
            location = detail["loc"]
            told = detail["type"] == "missing" and location in meant
            if not told and not report.covers((*path, *location)):
                report.add((*path, *location), _message(part, location, detail))
        return None


def _meant(part: type[BaseModel], details: list[Any]) -> set[Path]:
    """Return the keys that unknown keys were meant to be: they are not missing as well."""
    meant: set[Path] = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            *parent, key = detail["loc"]
            close = closest(str(key), _known_keys(part, tuple(parent)))
            if close is not None:
                meant.add((*parent, close))
    return meant


def validate_list(
    part: type[P], data: object, path: Path, report: Report, least: int = 1
) -> list[P | None]:
    """Return each item of a list of at least `least` as a `part`, None where it fails."""
    if not isinstance(data, list):
        report.add(path, f"must be a list, not {kind_of(data)}")
        return []
    if len(data) < least:
        report.add(path, "is empty; it needs at least one entry")
    parts: list[P | None] = []
    for index, item in enumerate(data):
        if report.full:
            break
        parts.append(validate(part, item, (*path, index), report))
    return parts


def _message(part: type[BaseModel], location: Path, detail: Any) -> str:
    """Turn one finding of the schema library into a sentence."""
    kind = detail["type"]
    if kind == "kvplace":
        return str(detail["ctx"]["message"])
    if kind == "missing":
        example = _example(part, location)
        return f"is missing; write it like {location[-1]}: {example}" if example else "is missing"
    if kind == "extra_forbidden":
        known = _known_keys(part, location[:-1])
        return f"unknown key {shown(location[-1])}{nearest(str(location[-1]), known)}"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"must be a mapping, not {kind_of(detail['input'])}"
    if kind in {"tuple_type", "list_type"}:
        return f"must be a list, not {kind_of(detail['input'])}"
    return str(detail["msg"])


def _known_keys(part: type[BaseModel], location: Path) -> list[str]:
    """Return the keys of the part at a location below `part`."""
    at = _part_at(part, location)
    return [field.alias or name for name, field in at.model_fields.items()]


def _example(part: type[BaseModel], location: Path) -> str:
    """Return how the field at a location is written, where the schema has an example."""
    for name, field in _part_at(part, location[:-1]).model_fields.items():
        if location[-1] in (name, field.alias) and field.examples:
            return str(field.examples[0])
    return ""


def _part_at(part: type[BaseModel], location: Path) -> type[BaseModel]:
    """Follow a location down the schema models."""
    for step in location:
        fields = part.model_fields
        field = next((f for n, f in fields.items() if step in (n, f.alias)), None)
        inner = _inner_part(field.annotation) if field else None
        part = inner or part
    return part


def _inner_part(annotation: Any) -> type[BaseModel] | None:
    """Return the part that a type is or holds, such as that of ``Part | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    held = (_inner_part(inner) for inner in getattr(annotation, "__args__", ()))
    return next((inner for inner in held if inner), None)
