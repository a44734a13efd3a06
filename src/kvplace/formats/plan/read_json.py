"""The text of a plan file to a `Plan`."""

from typing import Any

from kvplace.core.models.model import Model
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement, Replica
from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report, kind_of, shown
from kvplace.formats.fleet.asked import WindowPart
from kvplace.formats.fleet.rules import RulePart, build_rule
from kvplace.formats.plan.schema import PlanModelPart, PlanPart, ReplicaPart, plan_of_part
from kvplace.formats.plan.stated import Plan, PlanGPU, PlanNode
from kvplace.formats.text.json_tree import parse_json
from kvplace.formats.validation.models import validate, validate_list
from kvplace.formats.validation.parts import shell

__all__ = ["parse_plan"]

_LISTS = ("gpus", "placement", "models", "nodes", "rules", "windows")


def parse_plan(text: str, source: str = "") -> Plan:
    """Read the JSON of a plan.

    Raises
    ------
    InputError
        With every fault, each with its path and line.
    """
    tree = parse_json(text)
    report = Report(source, tree.line_of)
    for fault in tree.faults:
        report.add(fault.path, fault.message, fault.line)
    if not tree.readable:
        report.refuse()
    data = tree.data
    if not isinstance(data, dict):
        report.stop((), f"a plan file is a mapping of keys, not {kind_of(data)}")
    # The long lists are validated item by item, so that a hostile file costs little.
    head = validate(shell(PlanPart, _LISTS), data, (), report)
    if head is None and "schema" in data and report.covers(("schema",)):
        report.refuse()  # written for another format: nothing else would mean anything
    gpus = validate_list(PlanGPU, data.get("gpus", []), ("gpus",), report, least=0)
    replicas = _replicas(data, report)
    models = _models(data, report)
    nodes = validate_list(PlanNode, data.get("nodes", []), ("nodes",), report, least=0)
    rules = validate_list(RulePart, data.get("rules", []), ("rules",), report, least=0)
    windows = _windows(data, report)
    report.refuse()
    assert head is not None
    return plan_of_part(
        head,
        gpus=tuple(gpus),
        placement=Placement(tuple(replicas)),
        nodes=tuple(nodes),
        models=tuple(models),
        rules=tuple(build_rule(rule) for rule in rules if rule is not None),
        windows=tuple(windows),
        progress=tuple(step.build() for step in head.progress),
    )


def _replicas(data: dict[str, Any], report: Report) -> list[Replica]:
    """Return the replicas that are sound; one that is there twice is noted."""
    parts = validate_list(ReplicaPart, data.get("placements", []), ("placements",), report, least=0)
    seen: dict[tuple[str, int], int] = {}
    for index, part in enumerate(parts):
        if part is None:
            continue
        first = seen.setdefault((part.model, part.index), index)
        if first != index:
            name = f"replica {part.index} of {shown(part.model)}"
            report.add(("placements", index), f"{name} is already placements[{first}]")
    return [Replica(part.model, part.index, part.gpus) for part in parts if part is not None]


def _windows(data: dict[str, Any], report: Report) -> list[Window]:
    """Return the windows that the plan names; what is wrong with one is noted."""
    parts = validate_list(WindowPart, data.get("windows", []), ("windows",), report, least=0)
    windows: list[Window] = []
    for index, part in enumerate(parts):
        try:
            windows += [] if part is None else [part.build()]
        except InputError as error:
            fault = error.faults[0]
            report.add(("windows", index, fault.path), fault.message)
    return windows


def _models(data: dict[str, Any], report: Report) -> list[Model]:
    """Return the models that the plan carries; what is wrong with one is noted."""
    parts = validate_list(PlanModelPart, data.get("models", []), ("models",), report, least=0)
    models: list[Model] = []
    for index, part in enumerate(parts):
        if part is None:
            continue
        try:
            models.append(part.build())
        except InputError as error:
            for fault in error.faults:
                field = fault.path.removeprefix(part.name).lstrip(".")
                report.add(("models", index, field), fault.message)
    return models
