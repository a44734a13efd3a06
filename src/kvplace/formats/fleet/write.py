"""A `Problem` as a fleet file that reads back equal."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

from kvplace.core.hardware import Node
from kvplace.core.models.model import Model
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.fleet.asked import DemandPart, WindowPart
from kvplace.formats.fleet.rules import rule_data
from kvplace.formats.fleet.schema import FLEET_SCHEMA, GPUPart, ModelPart
from kvplace.formats.text.yaml_writer import flow, json_line, quoted
from kvplace.formats.validation.json_text import stated, stated_all
from kvplace.units import bytes_text

__all__ = ["write_fleet"]

_AS_JSON = ("gpu_types", "resources", "launch", "placed_on", "move")
"""Keys whose texts are the user's own: in quotes, whatever they are."""


def write_fleet(problem: Problem) -> str:
    """Return the YAML of a fleet file; reading it gives a problem equal to `problem`.

    Raises
    ------
    InputError
        A GPU's id is not its node's name and its number, which a fleet file cannot say.
    """
    lines = [f"schema: {FLEET_SCHEMA}"]
    if problem.goal is not replace(problem, objective=None, timing=ShareTiming()).goal:
        lines.append(f"objective: {problem.goal.value}")
    if problem.quantile is not None:
        lines.append(f"quantile: {problem.quantile!r}")
    lines.append("nodes:")
    gpus = iter(stated_all(GPUPart, problem.fleet.gpus))
    for node in problem.fleet.nodes:
        lines += _node(node, gpus)
    lines.append("models:")
    own = tuple(window for window in problem.windows if not window.like)
    models = [_with_own_windows(model, own) for model in problem.models]
    for model, data in zip(models, stated_all(ModelPart, models), strict=True):
        lines += _model(model, data, own)
    what_ifs = {window.name for window in problem.windows if window.like}
    named = dict.fromkeys(name for model in problem.models for name in model.windows)
    if what_ifs or problem.windows != (tuple(map(Window, named)) or (ALWAYS,)):
        lines.append("windows:")
        lines += [f"  - {json_line(stated(WindowPart, window))}" for window in problem.windows]
    if problem.rules:
        lines.append("rules:")
        lines += [f"  - {json_line(rule_data(rule))}" for rule in problem.rules]
    return "\n".join(lines) + "\n"


def _node(node: Node, gpus: Iterator[dict[str, Any]]) -> list[str]:
    """Return the lines of one node, whose GPUs are the next that are stated."""
    for index, gpu in enumerate(node.gpus):
        if gpu.id != f"{node.name}/{index}":
            raise InputError(
                f"the GPU {gpu.id!r} would be {node.name}/{index} in a fleet file, which numbers "
                "the GPUs of a node from 0"
            )
    texts = map(_gpu, islice(gpus, len(node.gpus)))
    kinds = [(kind, len(list(alike))) for kind, alike in groupby(texts)]
    lines = [f"  - name: {quoted(node.name)}"]
    if len(kinds) == 1:
        lines += [f"    gpus: {kinds[0][1]}", f"    gpu: {kinds[0][0]}"]
    else:
        lines.append("    gpus:")
        lines += [f"      - {kind}" for kind, count in kinds for _ in range(count)]
    if node.labels:
        labels = ", ".join(f"{quoted(key)}: {quoted(value)}" for key, value in node.labels.items())
        lines.append(f"    labels: {{{labels}}}")
    links = [gpu.link for gpu in node.gpus]
    if any(links):
        size = links.count(links[0])
        if links != [str(i // size) for i in range(len(links))]:
            raise InputError(f"a fleet file cannot say how the GPUs of {node.name!r} are linked")
        lines.append(f"    link_size: {size}")
    if node.resources:
        lines.append(f"    resources: {json_line(dict(node.resources))}")
    return lines


def _gpu(data: dict[str, Any]) -> str:
    """Return the mapping of one GPU."""
    return f"{{{', '.join(f'{key}: {_value(key, value)}' for key, value in data.items())}}}"


def _value(key: str, value: Any) -> str:
    """Return the value of a key in one line."""
    return json_line(value) if key in _AS_JSON else flow(value)


def _with_own_windows(model: Model, windows: tuple[Window, ...]) -> Model:
    """Return a model with the demand of windows that are no what-ifs, if they say anything."""
    found = {w.name: model.windows[w.name] for w in windows if w.name in model.windows}
    if all(demand == model.demand for demand in found.values()):
        found = {}  # what-ifs alone made it state every window
    return replace(model, windows=found)


def _model(model: Model, data: dict[str, Any], windows: tuple[Window, ...]) -> list[str]:
    """Return the lines of one model; its demand in a list where its mean follows from that."""
    demands = list(model.windows.values())
    if model.max_model_len is None:
        data.setdefault("min_kv", bytes_text(0))  # else the longest request would be estimated
    weights = [window.weight for window in windows]
    listed = bool(demands) and mean_demand(demands, weights) == model.demand
    (first, named), *rest = data.items()
    lines = [f"  - {first}: {flow(named)}"]
    for key, value in rest:
        if listed and key == "demand":
            lines.append("    demand:")
            every = zip(model.windows, stated_all(DemandPart, demands), strict=True)
            lines += [f"      - {json_line({'window': name, **own})}" for name, own in every]
            continue
        if key == "windows":
            if not listed:
                lines.append(f"    windows: {json_line(value)}")
            continue
        lines.append(f"    {key}: {_value(key, value)}")
    return lines
