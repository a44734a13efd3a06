"""Rules in files: what each kind takes, and the way to and from `kvplace.core.rules`."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.rule import Rule
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.core.rules.topology_rule import TopologyRule
from kvplace.formats.validation.fields import Count, Integer, Name, Text, name, refuse_value, word
from kvplace.formats.validation.models import Part

__all__ = ["Names", "PlacesPart", "RulePart", "build_rule", "rule_data"]

_KINDS: dict[str, type[Rule]] = {
    rule.kind: rule for rule in (Pin, Forbid, Reserve, Together, Apart, Spread, Limit)
}
_TAKES = {
    "pin": {"models", "places", "soft"},
    "forbid": {"models", "places", "soft"},
    "reserve": {"places"},
    "together": {"models", "over", "soft"},
    "apart": {"models", "over", "soft"},
    "spread": {"models", "over", "max_skew", "soft"},
    "limit": {"models", "over", "most", "places", "soft"},
}
_NEEDS = {
    "pin": {"models", "places"},
    "forbid": {"models", "places"},
    "reserve": {"places"},
    "together": {"models", "over"},
    "apart": {"models", "over"},
    "spread": {"models", "over"},
    "limit": {"most"},
}


def _names(value: object) -> list[str]:
    """Accept a name or a list of names."""
    listed = value if isinstance(value, list) else [value]
    if not listed:
        refuse_value("is empty; name at least one")
    return [name(entry) for entry in listed]


Names = Annotated[
    list[str],
    BeforeValidator(_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


class PlacesPart(Part):
    """GPUs by id, by node, or by all of some labels of their node."""

    gpus: Names | None = Field(default=None, examples=["[h200-0/3]"])
    nodes: Names | None = Field(default=None, examples=["[h200-0]"])
    labels: dict[Name, Text] = Field(default={}, examples=["{zone: a}"])

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.gpus and not self.nodes and not self.labels:
            refuse_value("names no places; give gpus, nodes or labels")
        return self


class RulePart(Part):
    """One rule; which keys it takes depends on its kind."""

    rule: Annotated[str, *word(*_KINDS)] = Field(examples=["spread"])
    models: Names | None = Field(
        default=None,
        examples=['["org/*"]'],
        description="Names of models; * and ? stand for any letters and any letter.",
    )
    places: PlacesPart | None = Field(default=None, examples=["{nodes: [h200-0]}"])
    over: Name | None = Field(
        default=None,
        examples=["zone"],
        description="gpu, link, node, or a label of nodes, whose values are then the domains.",
    )
    most: Integer | None = Field(
        default=None, examples=["4"], description="Engine processes in one domain at most."
    )
    max_skew: Count | None = Field(
        default=None, description="Most copies that one domain may have above another; 1."
    )
    soft: Count | None = Field(
        default=None, description="Tier of a rule that is kept where possible; 1 weighs most."
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        given = self.model_fields_set - {"rule"}
        for key in sorted(given - _TAKES[self.rule]):
            known = ", ".join(sorted(_TAKES[self.rule]))
            refuse_value(f"a {self.rule} rule takes no {key}; it takes {known}")
        missing = sorted(_NEEDS[self.rule] - given)
        if missing:
            refuse_value(f"a {self.rule} rule needs {' and '.join(missing)}")
        return self


def build_rule(part: RulePart) -> Rule:
    """Return the rule that a part states."""
    fields: dict[str, Any] = {"soft": part.soft}
    if part.models is not None:
        fields["models"] = tuple(part.models)
    if part.places is not None:
        fields["places"] = Places(
            tuple(part.places.gpus or ()),
            tuple(part.places.nodes or ()),
            tuple(part.places.labels.items()),
        )
    for key in ("over", "most", "max_skew"):
        if getattr(part, key) is not None:
            fields[key] = getattr(part, key)
    return _KINDS[part.rule](**fields)


def rule_data(rule: Rule) -> dict[str, Any]:
    """Return a rule as a file states it."""
    takes = _TAKES[rule.kind]
    data: dict[str, Any] = {"rule": rule.kind}
    if "models" in takes:
        data["models"] = list(rule.models)
    if isinstance(rule, PlaceRule | Limit) and rule.places != EVERYWHERE:
        places = {"gpus": list(rule.places.gpus), "nodes": list(rule.places.nodes)}
        labels = {"labels": dict(rule.places.labels)}
        data["places"] = {k: v for k, v in {**places, **labels}.items() if v}
    if isinstance(rule, TopologyRule):
        data["over"] = rule.over
    if isinstance(rule, Limit):
        data["most"] = rule.most
    if isinstance(rule, Spread):
        data["max_skew"] = rule.max_skew
    if rule.soft is not None:
        data["soft"] = rule.soft
    return data
