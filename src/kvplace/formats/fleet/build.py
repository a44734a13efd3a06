"""From the validated parts of a fleet file to a `Problem`: defaults, counts, cross-checks."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any

from kvplace.core.hardware import Fleet, Node
from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.problem import Problem
from kvplace.core.scenarios import imagined, robust_windows, with_scenarios
from kvplace.errors import InputError
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.memory.estimated_table import models_with_estimates
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.diagnostics import Report, shown
from kvplace.formats.fleet.asked import WindowDemandPart, WindowPart
from kvplace.formats.fleet.checks import core_faults, cross_check, faults_at, with_degrees
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.rules import RulePart
from kvplace.formats.fleet.schema import FleetPart, KnownModelPart, ModelPart, NodePart
from kvplace.formats.validation.models import built_list, columns_of, validate, validate_list
from kvplace.formats.validation.parts import shell

_LISTS = ("nodes", "models", "rules", "windows")
_DEMAND = {of.name: of.default for of in fields(Demand)}
"""Names of what is asked of a model, in order, each with its default."""


@dataclass
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
    assumed
        What is assumed of models, a sentence each.
    """

    data: dict[str, Any]
    report: Report
    objective: Objective | None
    nodes: tuple[Node, ...] | None = None
    assumed: list[str] = field(default_factory=list)

    def problem(self) -> Problem:
        """Return the problem.

        Raises
        ------
        InputError
            Every fault noted.
        """
        data, report = self.data, self.report
        head = validate(shell(FleetPart, _LISTS), data, (), report)
        if head is None and "schema" in data and report.covers(("schema",)):
            report.refuse()  # written for another format: nothing else would mean anything
        nodes = self._built_nodes() if self.nodes is None else self.nodes
        windows = built_list(WindowPart, data, "windows", report, least="windows" in data)
        defaults = data.get("defaults", {}) if head is not None else {}
        models = self._models(defaults, windows, nodes)
        rules = built_list(RulePart, data, "rules", report)
        head = head or FleetPart.model_construct()
        objective = self.objective
        if objective is None and head.objective is not None:
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
            found = Problem(
                asked,
                Fleet(nodes),
                objective,
                tuple(rules),
                stretches,
                timing,
                tuple(self.assumed),
                head.quantile,
            )
            if head.quantile is not None and found.goal is not Objective.PRESSURE:
                message = f"needs the objective pressure, not {found.goal.value}"
                report.add(("quantile",), message)
                report.refuse()
            if head.robust is None:
                return found
            return with_scenarios(found, robust_windows(found, head.robust, together=True))

    def _built_nodes(self) -> tuple[Node, ...]:
        """Build the nodes: of a list, or of groups in one line of text."""
        listed, report = self.data.get("nodes", []), self.report
        if isinstance(listed, str):
            with faults_at(("nodes",), report):
                return parse_gpus(listed)
            return ()
        given = "nodes" in self.data
        parts = validate_list(NodePart, listed, ("nodes",), report) if given else []
        return build_nodes(parts, report)

    def _models(
        self, defaults: dict[str, Any], windows: list[Window], nodes: tuple[Node, ...]
    ) -> Sequence[Model | None]:
        """Build the models; None where one is faulty."""
        if "models" not in self.data:
            return []
        items = self.data["models"]
        if isinstance(items, list):
            weights = {window.name: window.weight for window in windows}
            what_ifs = {window.name for window in windows if window.like}
            items = [self._with_mean(at, item, weights, what_ifs) for at, item in enumerate(items)]
            for at, item in enumerate(items):
                self._hint(at, item)
            if defaults:
                items = [_with_defaults(item, defaults) for item in items]
            named = [isinstance(item, dict) and "model" in item for item in items]
            if items and not any(named):
                with suppress(ValueError, InputError):  # what is wrong is told model by model
                    return self._whole(dict(enumerate(items)), nodes)
        parts = validate_list(_part_of, items, ("models",), self.report)
        sound = {at: items[at] for at, part in enumerate(parts) if part is not None}
        for at, part in enumerate(parts):
            if isinstance(part, KnownModelPart):
                from kvplace.formats.fleet.known import Known  # noqa: PLC0415 - only for these

                known = Known(nodes, self.report, self.assumed)
                whole = known.filled(part, sound.pop(at), ("models", at))
                sound |= {} if whole is None else {at: whole}
        models: list[Model | None] = [None] * len(parts)
        for at, model in zip(sound, self._whole(sound, nodes), strict=True):
            models[at] = model
        return models

    def _whole(self, items: dict[int, Any], nodes: tuple[Node, ...]) -> list[Model]:
        """Return models with what they leave out estimated, without degrees that engines refuse.

        Parameters
        ----------
        items
            Models as a file has them, by their numbers.
        nodes
            Where they go.

        Raises
        ------
        ValueError
            One is not sound.
        InputError
            Values of one contradict each other.
        """
        held, given = list(items.values()), self.data["models"]
        stated = columns_of(ModelPart, held)
        bare = [row for row, item in enumerate(held) if item.get("overhead") is None]
        models = models_with_estimates(
            stated,
            nodes,
            overhead=[row for row in bare if not held[row].get("resident")],
            least=[row for row, item in enumerate(held) if item.get("min_kv") is None],
            called=[given[at].get("model", item["name"]) for at, item in items.items()],
        )
        every = zip(items, models, strict=True)
        return [with_degrees(at, model, self.report, self.assumed) for at, model in every]

    def _hint(self, index: int, item: object) -> None:
        """Say of a model without weights that the catalogue knows them."""
        if not isinstance(item, dict) or "weights" in item or "model" in item:
            return
        name = item.get("name")
        if isinstance(name, str) and known_model(name) is not None:
            self.report.add(
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
        parts = validate_list(WindowDemandPart, item["demand"], path, self.report)
        found: dict[str, Demand] = {}
        for at, part in enumerate(parts):
            if part is not None and part.window in found:
                self.report.add((*path, at, "window"), f"{shown(part.window)} is stated twice")
            elif part is not None and part.window in what_ifs:
                message = f"{shown(part.window)} is a what-if; its demand follows from its `like`"
                self.report.add((*path, at, "window"), message)
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


def _with_defaults(item: Any, defaults: dict[str, Any]) -> Any:
    """Return a model of a file with the file's defaults for what it does not give."""
    if not isinstance(item, dict):
        return item
    given = {key: value for key, value in defaults.items() if item.get(key) is None}
    if isinstance(item.get("launch"), dict):
        given["launch"] = (defaults.get("launch") or {}) | item["launch"]
    return item | given
