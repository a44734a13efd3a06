"""A `Problem` as a fleet file that reads back equal."""

import json
import re
from itertools import groupby

from kvplace.core.hardware import GPU, Node
from kvplace.core.launch import Launch
from kvplace.core.model import Attention, Model, Replicas, Split
from kvplace.core.objective import default_objective
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.units import GIB

__all__ = ["bytes_text", "write_fleet"]

_PLAIN = re.compile(r"[A-Za-z][\w./+-]*", re.ASCII)
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
_MIB = 2**20


def bytes_text(count: int) -> str:
    """Write bytes exactly, in the largest of GiB, MiB and B that has no fraction."""
    if count % GIB == 0 and count:
        return f"{count // GIB}GiB"
    return f"{count // _MIB}MiB" if count % _MIB == 0 and count else f"{count}B"


def write_fleet(problem: Problem) -> str:
    """Return the YAML of a fleet file; reading it gives a problem equal to `problem`.

    Raises
    ------
    InputError
        A GPU's id is not its node's name and its number, which a fleet file cannot say.
    """
    lines = ["schema: kvplace.fleet/v1"]
    if problem.goal is not default_objective(problem.models):
        lines.append(f"objective: {problem.goal.value}")
    lines.append("nodes:")
    for node in problem.fleet.nodes:
        lines += _node(node)
    lines.append("models:")
    for model in problem.models:
        lines += _model(model)
    if problem.rules:
        from kvplace.formats.fleet.rules import rule_data  # noqa: PLC0415 - needs the schema library

        lines.append("rules:")
        lines += [f"  - {json.dumps(rule_data(r), ensure_ascii=False)}" for r in problem.rules]
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
    lines = [f"  - name: {_text(node.name)}"]
    if len(kinds) == 1:
        lines += [f"    gpus: {kinds[0][1]}", f"    gpu: {kinds[0][0]}"]
    else:
        lines.append("    gpus:")
        lines += [f"      - {kind}" for kind, count in kinds for _ in range(count)]
    if node.labels:
        labels = ", ".join(f"{_text(key)}: {_text(value)}" for key, value in node.labels.items())
        lines.append(f"    labels: {{{labels}}}")
    links = [gpu.link for gpu in node.gpus]
    if any(links):
        size = links.count(links[0])
        if links != [str(i // size) for i in range(len(links))]:
            raise InputError(f"a fleet file cannot say how the GPUs of {node.name!r} are linked")
        lines.append(f"    link_size: {size}")
    if node.resources:
        lines.append(f"    resources: {json.dumps(dict(node.resources), ensure_ascii=False)}")
    return lines


def _gpu(gpu: GPU) -> str:
    """Return the mapping of one GPU."""
    reserve = f", reserve: {bytes_text(gpu.reserve_bytes)}" if gpu.reserve_bytes else ""
    resources = (
        f", resources: {json.dumps(dict(gpu.resources), ensure_ascii=False)}"
        if gpu.resources
        else ""
    )
    memory = bytes_text(gpu.memory_bytes)
    return f"{{type: {_text(gpu.type)}, memory: {memory}{reserve}{resources}}}"


def _model(model: Model) -> list[str]:
    """Return the lines of one model."""
    demand = {
        "requests_per_second": model.demand.requests_per_second,
        "prompt_tokens": model.demand.prompt_tokens,
        "output_tokens": model.demand.output_tokens,
    }
    slo = {
        "ttft": model.slo.ttft_seconds,
        "tpot": model.slo.tpot_seconds,
        "latency": model.slo.latency_seconds,
    }
    fields: dict[str, str] = {
        "name": _text(model.name),
        "weights": bytes_text(model.weights_bytes),
        "overhead": bytes_text(model.overhead_bytes),
    }
    if model.min_kv_bytes:
        fields["min_kv"] = bytes_text(model.min_kv_bytes)
    if model.kv_bytes_per_token is not None:
        fields["kv_bytes_per_token"] = str(model.kv_bytes_per_token)
    if model.kv_bytes_per_sequence:
        fields["kv_bytes_per_sequence"] = bytes_text(model.kv_bytes_per_sequence)
    if model.tensor_parallel != (1,):
        fields["tensor_parallel"] = str(list(model.tensor_parallel))
    if model.replicas != Replicas():
        copies = model.replicas
        split = f", split: {copies.split}" if copies.split is not Split.EVEN else ""
        fields["replicas"] = f"{{min: {copies.min}, max: {copies.max}{split}}}"
    if model.attention is not Attention.GROUPED:
        fields["attention"] = model.attention.value
    if model.kv_heads is not None:
        fields["kv_heads"] = str(model.kv_heads)
    if model.gpu_types:
        fields["gpu_types"] = json.dumps(list(model.gpu_types), ensure_ascii=False)
    if model.resources:
        fields["resources"] = json.dumps(dict(model.resources), ensure_ascii=False)
    fields["demand"] = _mapping(demand, "")
    if any(value is not None for value in slo.values()):
        fields["slo"] = _mapping(slo, "s")
    if model.launch != Launch():
        from kvplace.formats.fleet.launch import launch_data  # noqa: PLC0415 - needs the schema library

        fields["launch"] = json.dumps(launch_data(model.launch), ensure_ascii=False)
    (first, value), *rest = fields.items()
    return [f"  - {first}: {value}", *(f"    {key}: {value}" for key, value in rest)]


def _mapping(fields: dict[str, float | None], unit: str) -> str:
    """Return the numbers that are given, each with its unit."""
    pairs = (f"{key}: {value!r}{unit}" for key, value in fields.items() if value is not None)
    return f"{{{', '.join(pairs)}}}"


def _text(text: str) -> str:
    """Return a text that YAML reads back as the same text."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
