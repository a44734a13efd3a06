"""A `Problem` as a fleet file that reads back equal."""

from dataclasses import replace
from itertools import groupby
from typing import Any

from kvplace.core.hardware import GPU, Node
from kvplace.core.models.model import Model
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.fleet.asked import DemandPart, WindowPart
from kvplace.formats.fleet.rules import rule_data
from kvplace.formats.fleet.schema import FLEET_SCHEMA, GPUPart, ModelPart
from kvplace.formats.text.yaml_writer import flow, json_line, quoted
from kvplace.formats.validation.parts import stated
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
    for node in problem.fleet.nodes:
        lines += _node(node)
    lines.append("models:")
    for model in problem.models:
        lines += _model(model, problem.windows)
    what_ifs = {window.name for window in problem.windows if window.like}
    named = dict.fromkeys(name for model in problem.models for name in model.windows)
    if what_ifs or problem.windows != (tuple(map(Window, named)) or (ALWAYS,)):
        lines.append("windows:")
        lines += [f"  - {json_line(stated(WindowPart, window))}" for window in problem.windows]
    if problem.rules:
        lines.append("rules:")
        lines += [f"  - {json_line(rule_data(rule))}" for rule in problem.rules]
    return "\n".join(lines) + "\n"


def _node(node: Node) -> list[str]:
    """Return the lines of one node."""
    for index, gpu in enumerate(node.gpus):
        if gpu.id != f"{node.name}/{index}":
            raise InputError(
                f"the GPU {gpu.id!r} would be {node.name}/{index} in a fleet file, which numbers "
                "the GPUs of a node from 0"
            )
    kinds = [(kind, len(list(alike))) for kind, alike in groupby(node.gpus, key=_gpu)]
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


def _gpu(gpu: GPU) -> str:
    """Return the mapping of one GPU."""
    pairs = stated(GPUPart, gpu).items()
    return f"{{{', '.join(f'{key}: {_value(key, value)}' for key, value in pairs)}}}"


def _value(key: str, value: Any) -> str:
    """Return the value of a key in one line."""
    return json_line(value) if key in _AS_JSON else flow(value)


def _model(model: Model, windows: tuple[Window, ...]) -> list[str]:
    """Return the lines of one model; its demand in a list where its mean follows from that."""
    windows = tuple(window for window in windows if not window.like)
    names = [window.name for window in windows if window.name in model.windows]
    demands = [model.windows[name] for name in names]
    if all(demand == model.demand for demand in demands):
        names, demands = [], []  # what-ifs alone made it state every window
    model = replace(model, windows=dict(zip(names, demands, strict=True)))
    data = stated(ModelPart, model)
    if model.max_model_len is None:
        data.setdefault("min_kv", bytes_text(0))  # else the longest request would be estimated
    weights = [window.weight for window in windows]
    listed = bool(demands) and mean_demand(demands, weights) == model.demand
    (first, name), *rest = data.items()
    lines = [f"  - {first}: {flow(name)}"]
    for key, value in rest:
        if listed and key == "demand":
            lines.append("    demand:")
            for window, demand in zip(windows, demands, strict=True):
                of_window = {"window": window.name, **stated(DemandPart, demand)}
                lines.append(f"      - {json_line(of_window)}")
            continue
        if key == "windows":
            if not listed:
                lines.append(f"    windows: {json_line(value)}")
            continue
        lines.append(f"    {key}: {_value(key, value)}")
    return lines
