"""From the validated parts of a fleet file to a `Problem`: defaults, counts, cross-checks."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

from kvplace.core.hardware import Fleet, Node
from kvplace.core.models.demand import Demand
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.problem import Problem
from kvplace.core.scenarios import imagined, robust_windows, with_scenarios
from kvplace.errors import InputError
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.memory.estimated_table import models_with_estimates
from kvplace.facts.memory.estimates import Estimates
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.diagnostics import Report, shown
from kvplace.formats.fleet.asked import WindowDemandPart, WindowPart
from kvplace.formats.fleet.checks import core_faults, cross_check, with_degrees
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.rules import RulePart, build_rule
from kvplace.formats.fleet.schema import (
    DefaultsPart,
    FleetPart,
    KnownModelPart,
    ModelPart,
    NodePart,
)
from kvplace.formats.validation.models import built_list, columns_of, validate, validate_list
from kvplace.formats.validation.parts import shell

__all__ = ["Assembly"]

MANY = 500
"""Models from which they are built together, which takes a third of the time."""
_LISTS = ("nodes", "models", "rules", "windows")
_PLAIN = Launch()
_DEMAND = {field.name: field.default for field in fields(Demand)}
"""Names of what is asked of a model, in order, each with its default."""


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
        self._assumed: list[str] = []

    def problem(self) -> Problem:
        """Return the problem.

        Raises
        ------
        InputError
            Every fault noted.
        """
        data, report = self._data, self._report
        head = validate(shell(FleetPart, _LISTS), data, (), report)
        if head is None and "schema" in data and report.covers(("schema",)):
            report.refuse()  # written for another format: nothing else would mean anything
        nodes = self._nodes
        if nodes is None:
            nodes = self._built_nodes()
        windows: list[Window] = []
        if "windows" in data:
            named = built_list(WindowPart, data, "windows", report, least=1)
            windows = [window for window in named if window is not None]
        models = self._models(head, windows, nodes)
        rules = []
        if "rules" in data:
            stated = validate_list(RulePart, data["rules"], ("rules",), report, least=0)
            rules = [build_rule(part) for part in stated if part is not None]
        objective = self._objective
        if objective is None and head is not None and head.objective is not None:
            objective = Objective(head.objective)
        items = data.get("models")
        names = (
            item.get("name", item.get("model")) if isinstance(item, dict) else None
            for item in (items if isinstance(items, list) else ())
        )
        cross_check(names, models, objective, report)
        report.refuse()
        with core_faults(report):
            placed = tuple(m for m in models if m is not None)
            # Who asks for pressure by name gets it, with guesses that the answer names.
            timing = ShareTiming(guess=objective is Objective.PRESSURE)
            stretches = _completed(placed, windows)
            asked = imagined(placed, stretches)
            quantile = None if head is None else head.quantile
            found = Problem(
                asked,
                Fleet(nodes),
                objective,
                tuple(rules),
                stretches,
                timing,
                tuple(self._assumed),
                quantile,
            )
            if quantile is not None and found.goal is not Objective.PRESSURE:
                message = f"needs the objective pressure, not {found.goal.value}"
                report.add(("quantile",), message)
                report.refuse()
            if head is None or head.robust is None:
                return found
            return with_scenarios(found, robust_windows(found, head.robust, together=True))

    def _built_nodes(self) -> tuple[Node, ...]:
        """Build the nodes: of a list, or of groups in one line of text."""
        listed, report = self._data.get("nodes", []), self._report
        if isinstance(listed, str):
            try:
                return parse_gpus(listed)
            except InputError as error:
                if error.source:  # the user's own catalogue is wrong, not this file
                    raise
                for fault in error.faults:
                    report.add(("nodes",), fault.message)
                return ()
        given = "nodes" in self._data
        parts = validate_list(NodePart, listed, ("nodes",), report) if given else []
        return build_nodes(parts, report)

    def _models(
        self, head: FleetPart | None, windows: list[Window], nodes: tuple[Node, ...]
    ) -> list[Model | None]:
        """Build the models; None where one is faulty."""
        if "models" not in self._data:
            return []
        items = self._data["models"]
        if isinstance(items, list):
            weights = {window.name: window.weight for window in windows}
            what_ifs = {window.name for window in windows if window.like}
            items = [self._with_mean(at, item, weights, what_ifs) for at, item in enumerate(items)]
            for at, item in enumerate(items):
                self._hint(at, item)
            if len(items) >= MANY and head is not None:
                many = self._many(items, nodes)
                if many is not None:
                    return list(map(self._with_degrees, range(len(many)), many))
        parts = validate_list(_part_of, items, ("models",), self._report)
        estimates = Estimates(nodes, sum(map(_shards, parts)))
        defaults = head.defaults if head is not None else DefaultsPart()
        known = None
        if any(isinstance(part, KnownModelPart) for part in parts):
            from kvplace.formats.fleet.known import Known  # noqa: PLC0415 - only for named models

            known = Known(nodes, defaults, self._report, self._assumed)
        models: list[Model | None] = []
        for index, part in enumerate(parts):
            whole, called = part, ""
            if known and isinstance(part, KnownModelPart):
                whole, called = known.filled(part, ("models", index)), part.model
            model = None if whole is None else _model(whole, defaults, estimates, called)
            models.append(None if model is None else self._with_degrees(index, model))
        return models

    def _with_degrees(self, index: int, model: Model) -> Model:
        """Return a model without the degrees that engines refuse."""
        return with_degrees(index, model, self._report, self._assumed)

    def _many(self, items: list[Any], nodes: tuple[Node, ...]) -> list[Model] | None:
        """Build many models column by column; None where one needs a closer look."""
        if defaults := self._data.get("defaults"):
            kept = (type(item) is dict and "launch" not in item for item in items)
            if not all(kept) or any(None in item.values() for item in items):
                return None  # what a launch leaves out is filled in model by model
            items = [{**defaults, **item} for item in items]
        stated = columns_of(ModelPart, items)
        if stated is None:
            return None
        bare = [row for row, item in enumerate(items) if item.get("overhead") is None]
        unsure = [row for row in bare if not items[row].get("resident")]
        short = [row for row, item in enumerate(items) if item.get("min_kv") is None]
        with suppress(InputError):  # what contradicts each other is told model by model
            return models_with_estimates(stated, nodes, overhead=unsure, least=short)
        return None

    def _hint(self, index: int, item: object) -> None:
        """Say of a model without weights that the catalogue knows them."""
        if not isinstance(item, dict) or "weights" in item or "model" in item:
            return
        name = item.get("name")
        if isinstance(name, str) and known_model(name) is not None:
            self._report.add(
                ("models", index, "weights"),
                f"is missing; the catalogue knows this model: write model: {name} in place of "
                "name, or its weights",
            )

    def _with_mean(
        self, index: int, item: object, weights: dict[str, float], what_ifs: set[str]
    ) -> object:
        """Return a model whose list of demands is stated as their mean, with each beside it."""
        if not isinstance(item, dict) or not isinstance(item.get("demand"), list):
            return item
        path = ("models", index, "demand")
        parts = validate_list(WindowDemandPart, item["demand"], path, self._report)
        found: dict[str, Demand] = {}
        for at, part in enumerate(parts):
            if part is not None and part.window in found:
                self._report.add((*path, at, "window"), f"{shown(part.window)} is stated twice")
            elif part is not None and part.window in what_ifs:
                message = f"{shown(part.window)} is a what-if; its demand follows from its `like`"
                self._report.add((*path, at, "window"), message)
            elif part is not None:
                asked = (getattr(part, name) for name in _DEMAND)
                found[part.window] = Demand(*asked)
        mean = Demand(0.0)
        if found:
            shares = [weights.get(window, 1.0) for window in found]
            mean = mean_demand(list(found.values()), shares)
        windows = {window: _told(demand) for window, demand in found.items()}
        return {**item, "demand": _told(mean), "windows": windows}


def _told(demand: Demand) -> dict[str, float]:
    """Return what is not as it is by default."""
    values = ((name, getattr(demand, name), default) for name, default in _DEMAND.items())
    return {name: value for name, value, default in values if value not in (None, default)}


def _completed(models: Sequence[Model], windows: Sequence[Window]) -> tuple[Window, ...]:
    """Return windows; where a file names what-ifs alone, with those that they are like."""
    if not windows or any(not window.like for window in windows):
        return tuple(windows)
    named = dict.fromkeys(name for model in models for name in model.windows)
    return (*(map(Window, named) if named else (ALWAYS,)), *windows)


def _part_of(item: object) -> type[ModelPart]:
    """Return the part of an item of ``models``."""
    return KnownModelPart if isinstance(item, dict) and "model" in item else ModelPart


def _shards(part: ModelPart | None) -> int:
    """Return the fewest shards of a model; 1 where it is faulty."""
    return 1 if part is None else min(part.tensor_parallel) * part.replicas.min


def _model(part: ModelPart, defaults: DefaultsPart, estimates: Estimates, called: str) -> Model:
    """Turn a validated part into a model; what it leaves out is estimated.

    The catalogue knows it as `called`, or else by its own name.
    """
    own = defaults.launch if part.launch is None else part.launch.filled_from(defaults.launch)
    launch: Launch = _PLAIN if own is None else own.build()
    given: dict[str, Any] = {"launch": launch}
    overhead = defaults.overhead if part.overhead_bytes is None else part.overhead_bytes
    if overhead is not None:
        given["overhead_bytes"] = overhead
    unsure = overhead is None and not part.resident
    called = called or part.name
    given |= estimates.left_out(
        part, launch, called, memory=unsure, length=part.min_kv_bytes is None
    )
    model: Model = part.build(**given)
    return model
