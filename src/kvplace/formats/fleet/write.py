"""A `Problem` as a fleet file that reads back equal."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from kvplace.core.hardware import Node
from kvplace.core.models.model import Model
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.files import kept
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.fleet.asked import DemandPart, WindowPart
from kvplace.formats.fleet.rules import rule_data
from kvplace.formats.fleet.schema import FLEET_SCHEMA, GPUPart, ModelPart
from kvplace.formats.text.yaml_writer import yaml_text
from kvplace.formats.validation.json_text import stated_all
from kvplace.units import bytes_text


def write_fleet(problem: Problem, path: str | os.PathLike[str] | None = None) -> str:
    """Return the YAML of a fleet file; where there is a path, write it there as well.

    Reading it gives a problem equal to `problem`.

    Raises
    ------
    InputError
        A GPU's id is not its node's name and its number, which a fleet file cannot say, or the file
        cannot be written.
    """
    data: dict[str, Any] = {"schema": FLEET_SCHEMA}
    if problem.goal is not replace(problem, objective=None, timing=ShareTiming()).goal:
        data["objective"] = problem.goal.value
    if problem.quantile is not None:
        data["quantile"] = problem.quantile
    gpus = iter(stated_all(GPUPart, problem.fleet.gpus))
    data["nodes"] = [_node(node, gpus) for node in problem.fleet.nodes]
    own = tuple(window for window in problem.windows if not window.like)
    models = [_with_own_windows(model, own) for model in problem.models]
    every = zip(models, stated_all(ModelPart, models), strict=True)
    data["models"] = [_model(model, stated, own) for model, stated in every]
    what_ifs = {window.name for window in problem.windows if window.like}
    named = dict.fromkeys(name for model in problem.models for name in model.windows)
    if what_ifs or problem.windows != (tuple(map(Window, named)) or (ALWAYS,)):
        data["windows"] = stated_all(WindowPart, problem.windows)
    if problem.rules:
        data["rules"] = list(map(rule_data, problem.rules))
    return kept(yaml_text(data), path)


def _node(node: Node, gpus: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return one node, whose GPUs are the next that are stated."""
    for index, gpu in enumerate(node.gpus):
        if gpu.id != f"{node.name}/{index}":
            raise InputError(
                f"the GPU {gpu.id!r} would be {node.name}/{index} in a fleet file, which numbers "
                "the GPUs of a node from 0"
            )
    kinds = list(islice(gpus, len(node.gpus)))
    data: dict[str, Any] = {"name": node.name, "gpus": kinds}
    if kinds and all(kind == kinds[0] for kind in kinds):
        data |= {"gpus": len(kinds), "gpu": kinds[0]}
    if node.labels:
        data["labels"] = dict(node.labels)
    links = [gpu.link for gpu in node.gpus]
    if any(links):
        size = links.count(links[0])
        if links != [str(i // size) for i in range(len(links))]:
            raise InputError(f"a fleet file cannot say how the GPUs of {node.name!r} are linked")
        data["link_size"] = size
    if node.resources:
        data["resources"] = dict(node.resources)
    return data


def _with_own_windows(model: Model, windows: tuple[Window, ...]) -> Model:
    """Return a model with the demand of windows that are no what-ifs, if they say anything."""
    found = {w.name: model.windows[w.name] for w in windows if w.name in model.windows}
    if all(demand == model.demand for demand in found.values()):
        found = {}  # what-ifs alone made it state every window
    return replace(model, windows=found)


def _model(model: Model, data: dict[str, Any], windows: tuple[Window, ...]) -> dict[str, Any]:
    """Return what is stated of a model, its demand as a list where its mean follows from that."""
    demands = list(model.windows.values())
    if model.max_model_len is None:
        data.setdefault("min_kv", bytes_text(0))  # else the longest request would be estimated
    weights = [window.weight for window in windows]
    if demands and mean_demand(demands, weights) == model.demand:
        every = zip(model.windows, stated_all(DemandPart, demands), strict=True)
        data["demand"] = [{"window": name, **own} for name, own in every]
        del data["windows"]
    return data
