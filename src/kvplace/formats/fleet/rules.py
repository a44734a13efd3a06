"""Rules in files: what each kind takes, and the way to and from `kvplace.core.rules`."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from kvplace.core.rules.places import Places
from kvplace.core.rules.registry import rule_kinds
from kvplace.core.rules.rule import Rule
from kvplace.formats.validation.fields import Count, Integer, Name, Text, kind, word
from kvplace.formats.validation.json_text import stated
from kvplace.formats.validation.parts import Part, Written, built, fields_of
from kvplace.formats.validation.values import name, refuse_value

_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pin": (("models", "places", "soft"), ("models", "places")),
    "forbid": (("models", "places", "soft"), ("models", "places")),
    "reserve": (("places",), ("places",)),
    "together": (("models", "over", "soft"), ("models", "over")),
    "apart": (("models", "over", "soft"), ("models", "over")),
    "spread": (("models", "over", "max_skew", "soft"), ("models", "over")),
    "limit": (("models", "places", "over", "most", "soft"), ("most",)),
}
"""Keys that each kind takes, in the order in which they are written, and those it needs."""


def _names(value: object) -> tuple[str, ...]:
    """Accept a name or a list of names."""
    listed = value if isinstance(value, list) else [value]
    if not listed:
        refuse_value("is empty; name at least one")
    return tuple(name(entry) for entry in listed)


_NAME = {"type": "string", "minLength": 1}
_NAMES = [_NAME, {"type": "array", "items": _NAME, "minItems": 1}]
Names = Annotated[tuple[str, ...], *kind(_names, None, tuple[Name, ...], anyOf=_NAMES)]


class PlacesPart(Part):
    """GPUs by id, by node, or by all of some labels of their node."""

    core = Places

    gpus: Names | None = Field(default=None, examples=["[h200-0/3]"])
    nodes: Names | None = Field(default=None, examples=["[h200-0]"])
    labels: Annotated[
        dict[Name, Text], AfterValidator(lambda labels: tuple(labels.items())), Written(dict)
    ] = Field(default={}, validate_default=True, examples=["{zone: a}"])

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.gpus and not self.nodes and not self.labels:
            refuse_value("names no places; give gpus, nodes or labels")
        return self


class RulePart(Part):
    """One rule; which keys it takes depends on its kind."""

    rule: Annotated[str, *word(*_KEYS)] = Field(examples=["spread"])
    models: Names | None = Field(default=None, examples=['["org/*"]'])
    """Names of models; * and ? stand for any letters and any letter."""
    places: PlacesPart | None = Field(default=None, examples=["{nodes: [h200-0]}"])
    over: Name | None = Field(default=None, examples=["zone"])
    """gpu, link, node, or a label of nodes, whose values are then the domains."""
    most: Integer | None = Field(default=None, examples=["4"])
    """Engine processes in one domain at most."""
    max_skew: Count | None = None
    """Most copies that one domain may have above another; 1."""
    soft: Count | None = None
    """Tier of a rule that is kept where possible; 1 weighs most."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        given = self.model_fields_set - {"rule"}
        takes, needs = _KEYS[self.rule]
        article = "an" if self.rule == "apart" else "a"
        for key in sorted(given.difference(takes)):
            known = ", ".join(sorted(takes))
            refuse_value(f"{article} {self.rule} rule takes no {key}; it takes {known}")
        missing = sorted(set(needs) - given)
        if missing:
            examples = (f"{key}: {fields_of(RulePart)[key].examples[0]}" for key in missing)
            needed = f"{' and '.join(missing)}; write it like {', '.join(examples)}"
            refuse_value(f"{article} {self.rule} rule needs {needed}")
        return self

    def build(self) -> Rule:
        """Return the rule."""
        given = {key: built(value) for key, value in self if key != "rule" and value is not None}
        return rule_kinds()[self.rule](**given)


def rule_data(rule: Rule) -> dict[str, Any]:
    """Return a rule as a file states it."""
    data: dict[str, Any] = {"rule": rule.kind}
    for key in _KEYS[rule.kind][0]:
        value = getattr(rule, key)
        if isinstance(value, Places):
            value = stated(PlacesPart, value) or None
        if value is not None:
            data[key] = list(value) if isinstance(value, tuple) else value
    return data
