"""The text of a plan file to a `Plan`."""

from typing import Any

from kvplace.core.placement import Placement, Replica
from kvplace.formats.diagnostics import Report, shown
from kvplace.formats.fleet.asked import WindowPart
from kvplace.formats.fleet.rules import RulePart
from kvplace.formats.plan.schema import PlanModelPart, PlanPart, ReplicaPart, plan_of_part
from kvplace.formats.plan.stated import Plan, PlanGPU, PlanNode
from kvplace.formats.text.document import mapping_of
from kvplace.formats.validation.models import built_list, validate, validate_list
from kvplace.formats.validation.parts import shell

__all__ = ["parse_plan", "replicas_of"]

_LISTS = ("gpus", "placement", "models", "nodes", "rules", "windows")


def parse_plan(text: str, source: str = "") -> Plan:
    """Read the JSON of a plan.

    Raises
    ------
    InputError
        With every fault, each with its path and line.
    """
    data, report = mapping_of(text, source, "a plan file is a mapping of keys", "plan")
    # The long lists are validated item by item, so that a hostile file costs little.
    head = validate(shell(PlanPart, _LISTS), data, (), report)
    if head is None and "schema" in data and report.covers(("schema",)):
        report.refuse()  # written for another format: nothing else would mean anything
    if head is not None and head.prices is not None and head.rule is not None:
        report.add(("rule",), "is given beside a certificate; a bound has one of them")
    gpus = validate_list(PlanGPU, data.get("gpus", []), ("gpus",), report, least=0)
    replicas = replicas_of(data, report)
    models = built_list(PlanModelPart, data, "models", report)
    nodes = validate_list(PlanNode, data.get("nodes", []), ("nodes",), report, least=0)
    rules = built_list(RulePart, data, "rules", report)
    windows = built_list(WindowPart, data, "windows", report)
    report.refuse()
    assert head is not None
    return plan_of_part(
        head,
        gpus=tuple(gpus),
        placement=Placement(tuple(replicas)),
        nodes=tuple(nodes),
        models=tuple(models),
        rules=tuple(rules),
        windows=tuple(windows),
        progress=tuple(step.build() for step in head.progress),
    )


def replicas_of(data: dict[str, Any], report: Report, *above: str) -> list[Replica]:
    """Return the replicas of a plan that are sound; one that is there twice is noted.

    Parameters
    ----------
    data, above
        The plan, and the path to it.
    report
        For what is wrong.
    """
    path = (*above, "placements")
    parts = validate_list(ReplicaPart, data.get("placements", []), path, report, least=0)
    seen: dict[tuple[str, int], int] = {}
    for index, part in enumerate(parts):
        if part is None:
            continue
        first = seen.setdefault((part.model, part.index), index)
        if first != index:
            name = f"replica {part.index} of {shown(part.model)}"
            report.add((*path, index), f"{name} is already placements[{first}]")
    return [Replica(part.model, part.index, part.gpus) for part in parts if part is not None]
