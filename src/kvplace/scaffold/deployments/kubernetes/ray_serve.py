"""Ray Serve configs: the LLMs of their applications, and what else holds GPUs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvplace.errors import InputError
from kvplace.scaffold.deployments.deployment import Deployment, Entry, Unread
from kvplace.scaffold.deployments.documents import at, documents, listed, mapping, named_file, whole
from kvplace.scaffold.deployments.kubernetes.pods import Asked, engine_entries, numbered

_MOST_GPUS = 4096
_LONGEST = 2**20
_MODEL_WORDS = ("llm", "vllm", "sglang", "model")


def is_ray_serve(parsed: object) -> bool:
    """Say whether a file is a Ray Serve config, or that of one of its models."""
    return bool(listed(at(parsed, "applications")) or at(parsed, "model_loading_config"))


def read_ray_serve(parsed: Mapping[str, Any], source: str) -> Deployment:
    """Read a Ray Serve config; files of models that it names are beside it.

    Parameters
    ----------
    parsed
        Its content.
    source
        Its path; empty where it is inside another file.
    """
    if at(parsed, "model_loading_config"):
        return Deployment("Ray Serve", ()).of(_model("model", parsed))
    entries: list[Entry] = []
    for index, application in enumerate(listed(parsed.get("applications"))):
        title = str(at(application, "name") or f"applications[{index}]")
        entries += _application(title, mapping(application), source)
    return Deployment("Ray Serve", ()).of(entries)


def _application(title: str, application: Mapping[str, Any], source: str) -> list[Entry]:
    """Read one application."""
    arguments = mapping(application.get("args"))
    configs = [config for key in ("llm_configs", "models") for config in listed(arguments.get(key))]
    configs += [arguments["llm_config"]] if arguments.get("llm_config") else []
    entries: list[Entry] = []
    for config in configs:
        content, why = _beside(config, source) if isinstance(config, str) else (config, "")
        entries += [Unread(title, why, None, None)] if why else _model(title, content)
    for part in ("prefill", "decode"):
        if arguments.get(f"{part}_config"):
            entries += _model(f"{title}/{part}", arguments[f"{part}_config"])
    return entries or _other(title, application)


def _beside(name: str, source: str) -> tuple[Any, str]:
    """Return the config of a model in a file of its own, or why there is none."""
    path = Path(source).parent / name
    try:
        found = documents(named_file(path, _LONGEST).decode("utf-8"), str(path))
    except (OSError, ValueError, InputError):
        return None, f"the file of its model, {name}, cannot be read"
    return (found[0] if found else None), ""


def _model(title: str, config: Any) -> list[Entry]:
    """Read the config of an LLM."""
    loading = mapping(at(config, "model_loading_config"))
    name, model = loading.get("model_id"), loading.get("model_source")
    model = model if isinstance(model, str) else name
    half = title.rpartition("/")[2]
    label = str(name or model or title)
    label = f"{label}/{half}" if half in ("prefill", "decode") else label
    kwargs = mapping(at(config, "engine_kwargs"))
    flags = [
        f"--{key}={value}"
        for key, value in kwargs.items()
        if isinstance(value, (str, int)) and value is not False
    ]
    copies = _copies(mapping(at(config, "deployment_config")))
    chips = str(at(config, "accelerator_type") or "")
    if chips.startswith("TPU"):
        why = f"it runs on {chips}, which is no GPU"
        return [Unread(numbered(label, i, copies), why, None, None) for i in range(copies)]
    if not isinstance(model, str):
        why = "it names no model"
        return [Unread(numbered(label, i, copies), why, None, None) for i in range(copies)]
    found = engine_entries(label, ["vllm", "serve", model, *flags], Asked(None), copies)
    ranks = whole(kwargs.get("tensor_parallel_size"), 1)
    ranks *= whole(kwargs.get("pipeline_parallel_size"), 1)
    return [
        Unread(e.name, e.reason, None, ranks, command=e.command) if isinstance(e, Unread) else e
        for e in found
    ]


def _other(title: str, application: Mapping[str, Any]) -> list[Entry]:
    """Return an application that states no LLM config, where it holds GPUs or names a model."""
    stated = [
        at(deployment, "ray_actor_options", "num_gpus")
        for deployment in listed(application.get("deployments"))
    ]
    gpus = [n for n in stated if isinstance(n, (int, float)) and 0 <= n < _MOST_GPUS]
    names = [*mapping(at(application, "runtime_env", "env_vars")), application.get("import_path")]
    served = any(word in str(name).casefold() for name in names for word in _MODEL_WORDS)
    if not any(gpus) and (gpus or not served):
        return []
    why = "an application that is not of ray.serve.llm"
    return [Unread(title, why, None, max(1, round(sum(gpus))) if gpus else None)]


def _copies(config: Mapping[str, Any]) -> int:
    """Return the replicas of a deployment: a number, or the least that scaling keeps."""
    if config.get("num_replicas") == "auto" or config.get("autoscaling_config"):
        return whole(at(config, "autoscaling_config", "min_replicas"), 1) or 1
    return whole(config.get("num_replicas"), 1)
