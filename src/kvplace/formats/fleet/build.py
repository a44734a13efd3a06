"""From the validated parts of a fleet file to a `Problem`: defaults, counts, cross-checks."""

from typing import Any

from kvplace.core.hardware import Fleet, Node
from kvplace.core.model import (
    DEFAULT_OVERHEAD_BYTES,
    Model,
)
from kvplace.core.objective import Objective, default_objective
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.formats.diagnostics import Path, Report, path_of, shown
from kvplace.formats.fleet.launch import LaunchPart
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.rules import RulePart, build_rule
from kvplace.formats.fleet.schema import FleetPart, ModelPart, NodePart
from kvplace.formats.validation.models import validate, validate_list

__all__ = ["Assembly", "objective_named"]


def objective_named(name: str | None) -> Objective | None:
    """Return the objective of that name, None for None.

    Raises
    ------
    InputError
        There is no such objective.
    """
    if name is None:
        return None
    try:
        return Objective(name)
    except ValueError:
        known = ", ".join(Objective)
        raise InputError(f"there is no objective {shown(name)}; known: {known}") from None


class Assembly:
    """Puts a problem together and notes everything that keeps it from being one.

    Parameters
    ----------
    data
        The whole file as plain data.
    report
        Where faults go.
    objective
        The load asked for; None leaves it to the file.
    nodes
        The nodes, where the file does not hold them.
    """

    def __init__(
        self,
        data: dict[str, Any],
        report: Report,
        objective: Objective | None,
        nodes: tuple[Node, ...] | None = None,
    ) -> None:
        self._data = data
        self._report = report
        self._objective = objective
        self._nodes = nodes

    def problem(self) -> Problem:
        """Return the problem.

        Raises
        ------
        InputError
            Every fault noted.
        """
        data, report = self._data, self._report
        lists = ("nodes", "models", "rules")
        shell = {key: [] if key in lists else value for key, value in data.items()}
        head = validate(FleetPart, shell, (), report)
        if head is None and "schema" in data and report.covers(("schema",)):
            report.refuse()  # written for another format: nothing else would mean anything
        nodes = self._nodes
        if nodes is None:
            parts = validate_list(NodePart, data["nodes"], ("nodes",), report) if (
                "nodes" in data
            ) else []  # fmt: skip
            nodes = build_nodes(parts, report)
        models = self._models(head)
        rules = []
        if "rules" in data:
            stated = validate_list(RulePart, data["rules"], ("rules",), report, least=0)
            rules = [build_rule(part) for part in stated if part is not None]
        objective = self._objective
        if objective is None and head is not None and head.objective is not None:
            objective = Objective(head.objective)
        self._cross_check(models, objective)
        report.refuse()
        try:
            placed = tuple(m for m in models if m is not None)
            return Problem(placed, Fleet(nodes), objective, tuple(rules))
        except InputError as error:  # cross-checks of the core
            for fault in error.faults:
                report.add(path_of(fault.path), fault.message)
            report.refuse()
            raise

    def _models(self, head: FleetPart | None) -> list[Model | None]:
        """Build the models; None where one is faulty."""
        if "models" not in self._data:
            return []
        parts = validate_list(ModelPart, self._data["models"], ("models",), self._report)
        overhead = head.defaults.overhead if head is not None else None
        default = DEFAULT_OVERHEAD_BYTES if overhead is None else overhead
        launch = head.defaults.launch if head is not None else None
        return [None if part is None else _model(part, default, launch) for part in parts]

    def _cross_check(self, models: list[Model | None], objective: Objective | None) -> None:
        """Note names given twice, and fields that the objective lacks."""
        seen: dict[str, int] = {}
        items = self._data.get("models")
        for index, item in enumerate(items if isinstance(items, list) else []):
            name = item.get("name") if isinstance(item, dict) else None
            if isinstance(name, str) and seen.setdefault(name, index) != index:
                message = f"{shown(name)} is already the name of models[{seen[name]}]"
                self._report.add(("models", index, "name"), message)
        complete = [model for model in models if model is not None]
        if objective is None:
            # A faulty model may change the default; what `requests` needs is needed in any case.
            whole = len(complete) == len(models)
            objective = default_objective(complete) if whole else Objective.REQUESTS
        for index, model in enumerate(models):
            if model is not None:
                _check_load(model, objective, ("models", index), self._report)


def _model(part: ModelPart, default_overhead: int, default_launch: LaunchPart | None) -> Model:
    """Turn a validated part into a model."""
    own = LaunchPart() if part.launch is None else part.launch
    given = {} if part.overhead_bytes is not None else {"overhead_bytes": default_overhead}
    model: Model = part.build(launch=own.filled_from(default_launch).build(), **given)
    return model


def _check_load(model: Model, objective: Objective, path: Path, report: Report) -> None:
    """Note what keeps the load of a model from being computed."""
    missing = objective.missing(model)
    for field in missing:
        message = f"{shown(model.name)} needs it for the objective {objective.value}"
        if field == "slo.latency":
            message += "; give it, or ttft and tpot together with demand.output_tokens"
        report.add((*path, *field.split(".")), message)
    if missing:
        return
    try:
        objective.load(model)
    except InputError as error:
        for fault in error.faults:
            field = fault.path.removeprefix(model.name).lstrip(".")
            report.add((*path, *(field.split(".") if field else ())), fault.message)
