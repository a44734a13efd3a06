"""Values of vLLM's production-stack chart, and the runtimes of its operator."""

from collections.abc import Mapping
from typing import Any

from kvplace.scaffold.deployments.command_line.commands import split_words
from kvplace.scaffold.deployments.deployment import Deployment, Entry, Unread
from kvplace.scaffold.deployments.documents import at, listed, mapping, whole
from kvplace.scaffold.deployments.kubernetes.pods import Asked, engine_entries, numbered

_FLAGS = {
    "tensorParallelSize": "tensor-parallel-size",
    "pipelineParallelSize": "pipeline-parallel-size",
}


def read_production_stack(values: Mapping[str, Any]) -> Deployment:
    """Read the values of vLLM's production-stack chart."""
    entries: list[Entry] = []
    notes: list[str] = []
    for index, spec in enumerate(listed(at(values, "servingEngineSpec", "modelSpec"))):
        name = str(at(spec, "name") or f"modelSpec[{index}]")
        copies, gpus = whole(at(spec, "replicaCount"), 1), whole(at(spec, "requestGPU"), 1)
        if not gpus:
            notes.append(f"{name} asks for no GPU and is left out")
            continue
        config = mapping(at(spec, "vllmConfig"))
        entries += _entries(name, at(spec, "modelURL"), config, gpus, copies)
    return Deployment("production-stack", (), notes=tuple(notes)).of(entries)


def runtime_entries(name: str, spec: Mapping[str, Any]) -> list[Entry]:
    """Read the specification of a VLLMRuntime."""
    deployment = mapping(spec.get("deploymentConfig"))
    gpus = whole(at(deployment, "resources", "gpu"), 0) or None
    copies = whole(deployment.get("replicas"), 1)
    model, config = at(spec, "model", "modelURL"), mapping(spec.get("vllmConfig"))
    return _entries(name, model, config, gpus, copies) if gpus or isinstance(model, str) else []


def _entries(
    name: str, model: object, config: Mapping[str, Any], gpus: int | None, copies: int
) -> list[Entry]:
    """Read what both say of an engine."""
    if not isinstance(model, str):
        why = "it names no modelURL"
        return [Unread(numbered(name, i, copies), why, None, gpus) for i in range(copies)]
    words = [f"--{flag}={config[key]}" for key, flag in _FLAGS.items() if config.get(key)]
    try:
        words += split_words(config.get("extraArgs"))
    except ValueError as error:
        why = f"its extraArgs are not understood: {error}"
        return [Unread(numbered(name, i, copies), why, None, gpus) for i in range(copies)]
    return engine_entries(name, ["vllm", "serve", model, *words], Asked(gpus), copies)
