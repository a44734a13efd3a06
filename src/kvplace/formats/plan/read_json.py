"""The text of a plan file to a `Plan`."""

from typing import Any

from kvplace.core.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.errors import InputError
from kvplace.formats.fleet.rules import RulePart, build_rule
from kvplace.formats.plan.problem import PlanModelPart, PlanNodePart, build_model, build_node
from kvplace.formats.plan.schema import (
    CertificatePart,
    PlacementPart,
    PlanGPUPart,
    PlanPart,
)
from kvplace.formats.plan.stated import Plan, PlanCertificate, PlanGPU, PlanShard, PlanStep
from kvplace.formats.text.json_tree import parse_json
from kvplace.formats.validation.diagnostics import Report, kind_of, shown
from kvplace.formats.validation.models import validate, validate_list

__all__ = ["parse_plan"]


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
    part, gpus, placements = _parts(data, report)
    models = _models(data, report)
    nodes = validate_list(PlanNodePart, data.get("nodes", []), ("nodes",), report, least=0)
    rules = validate_list(RulePart, data.get("rules", []), ("rules",), report, least=0)
    report.refuse()
    assert part is not None
    return Plan(
        kvplace_version=part.kvplace_version,
        problem_digest=part.problem_digest,
        status=part.status,
        stop=part.stop,
        proof=part.proof,
        objective=part.objective.name,
        value=part.objective.value,
        bound=part.objective.bound,
        gap=part.objective.gap,
        bound_method=part.objective.bound_method,
        gpus=tuple(_gpu(gpu) for gpu in gpus if gpu is not None),
        placement=Placement(
            tuple(Replica(p.model, p.replica, tuple(p.gpus)) for p in placements if p is not None)
        ),
        certificate=_certificate(part.certificate),
        solver=part.solver,
        seed=part.seed,
        iterations=part.iterations,
        seconds=part.seconds,
        nodes=tuple(build_node(node) for node in nodes if node is not None),
        models=tuple(model for model in models if model is not None),
        rules=tuple(build_rule(rule) for rule in rules if rule is not None),
        progress=tuple(PlanStep(s.seconds, s.value, s.bound) for s in part.progress),
    )


def _parts(
    data: dict[str, Any], report: Report
) -> tuple[PlanPart | None, list[PlanGPUPart | None], list[PlacementPart | None]]:
    """Validate the long lists item by item, so that a hostile file costs little."""
    lists = ("gpus", "placements", "models", "nodes", "rules")
    shell = {key: [] if key in lists else value for key, value in data.items()}
    part = validate(PlanPart, shell, (), report)
    if part is None and "schema" in data and report.covers(("schema",)):
        report.refuse()  # written for another format: nothing else would mean anything
    gpus = validate_list(PlanGPUPart, data.get("gpus", []), ("gpus",), report, least=0)
    placements = validate_list(
        PlacementPart, data.get("placements", []), ("placements",), report, least=0
    )
    seen: dict[tuple[str, int], int] = {}
    for index, placed in enumerate(placements):
        if placed is None:
            continue
        first = seen.setdefault((placed.model, placed.replica), index)
        if first != index:
            name = f"replica {placed.replica} of {shown(placed.model)}"
            report.add(("placements", index), f"{name} is already placements[{first}]")
    return part, gpus, placements


def _models(data: dict[str, Any], report: Report) -> list[Model | None]:
    """Return the models that the plan carries, None where one is faulty."""
    parts = validate_list(PlanModelPart, data.get("models", []), ("models",), report, least=0)
    models: list[Model | None] = []
    for index, part in enumerate(parts):
        models.append(None)
        if part is None:
            continue
        try:
            models[-1] = build_model(part)
        except InputError as error:
            for fault in error.faults:
                field = fault.path.removeprefix(part.name).lstrip(".")
                report.add(("models", index, field), fault.message)
    return models


def _gpu(part: PlanGPUPart) -> PlanGPU:
    shards = tuple(
        PlanShard(s.model, s.replica, s.shard, s.weights_bytes, s.load) for s in part.shards
    )
    return PlanGPU(
        id=part.id,
        type=part.type,
        memory_bytes=part.memory_bytes,
        weights_bytes=part.weights_bytes,
        free_bytes=part.free_bytes,
        load=part.load,
        kvpr=part.kvpr,
        shards=shards,
    )


def _certificate(part: CertificatePart | None) -> PlanCertificate | None:
    if part is None:
        return None
    worths = tuple((worth.memory_bytes, worth.worth) for worth in part.worths)
    prices = {
        name: tuple(price) if isinstance(price, list) else price
        for name, price in part.prices.items()
    }
    return PlanCertificate(part.method, part.threshold, prices, worths, tuple(part.scope))
