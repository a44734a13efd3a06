"""Configs of Ray Serve, llama-swap and Prism, and scripts that start engines."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kvplace.scaffold.deployments.commands import NotUnderstoodError, read_command
from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.deployment import Deployment, Instance, Unread
from kvplace.scaffold.deployments.devices import devices_of
from kvplace.scaffold.deployments.documents import at, listed, mapping, whole

__all__ = ["read_llama_swap", "read_prism", "read_ray_serve", "read_script"]

_MOST_COPIES = 4096
_START = re.compile(
    r"\b(vllm serve|api_server|sglang\.launch_server|trtllm-serve|lmdeploy serve)\b"
)


def read_ray_serve(parsed: Mapping[str, Any]) -> Deployment:
    """Read a Ray Serve config: the LLMs of its applications."""
    instances: list[Instance] = []
    unread: list[Unread] = []
    for index, application in enumerate(listed(parsed.get("applications"))):
        title = str(at(application, "name") or f"applications[{index}]")
        configs = listed(at(application, "args", "llm_configs"))
        if not configs:
            gpus = [
                at(deployment, "ray_actor_options", "num_gpus")
                for deployment in listed(at(application, "deployments"))
            ]
            held = sum(int(n) for n in gpus if isinstance(n, (int, float)) and 0 < n < _MOST_COPIES)
            if held:
                unread.append(
                    Unread(title, "an application that is not of ray.serve.llm", None, held)
                )
            continue
        for config in configs:
            model = at(config, "model_loading_config", "model_source")
            name = at(config, "model_loading_config", "model_id")
            model = model if isinstance(model, str) else name
            engine = mapping(at(config, "engine_kwargs"))
            tensor = whole(engine.get("tensor_parallel_size"), 1)
            pipeline = whole(engine.get("pipeline_parallel_size"), 1)
            copies = _ray_copies(mapping(at(config, "deployment_config")))
            label = str(name or model or title)
            if not isinstance(model, str) or pipeline > 1:
                why = f"pipeline parallel {pipeline}" if isinstance(model, str) else "no model"
                unread += [
                    Unread(label, f"it has {why}, which is not read here", None, tensor * pipeline)
                ] * copies
                continue
            instances += [
                Instance(label if copies == 1 else f"{label}-{n}", model, tensor, None)
                for n in range(copies)
            ]
    return Deployment("Ray Serve", tuple(instances), tuple(unread))


def _ray_copies(config: Mapping[str, Any]) -> int:
    """Return the replicas of a deployment: a number, or the least that scaling keeps."""
    if config.get("num_replicas") == "auto" or config.get("autoscaling_config"):
        return whole(at(config, "autoscaling_config", "min_replicas"), 1) or 1
    return whole(config.get("num_replicas"), 1)


def read_llama_swap(parsed: Mapping[str, Any]) -> Deployment:
    """Read a llama-swap config: the commands of its models, macros put in."""
    instances: list[Instance] = []
    unread: list[Unread] = []
    macros = {str(k): str(v) for k, v in mapping(parsed.get("macros")).items()}
    for name, entry in mapping(parsed.get("models")).items():
        text = at(entry, "cmd")
        environment = environment_of(at(entry, "env"))
        devices = devices_of({}, environment)
        try:
            words = shlex.split(_with_macros(str(text or ""), macros), comments=True)
            command = read_command(words, "", environment, gpu=True)
            assert command is not None
            command.check(None if devices.gpus is None else len(devices.gpus))
        except (NotUnderstoodError, ValueError) as error:
            unread.append(Unread(str(name), str(error), devices.gpus, devices.count))
            continue
        instances += _instances(
            str(name), command.model, command.tensor, command.copies, devices.gpus
        )
    note = "llama-swap starts a model when it is asked for; all are taken as running"
    return Deployment("llama-swap", tuple(instances), tuple(unread), (note,))


def _with_macros(text: str, macros: Mapping[str, str]) -> str:
    """Put in macros, which may name others, a few times over."""
    for _ in range(8):
        before = text
        for name, value in macros.items():
            text = text.replace("${" + name + "}", value)
            if len(text) > 2**17:
                raise ValueError("its macros are too long")
        if text == before:
            break
    return text


def read_prism(parsed: Sequence[Any]) -> Deployment:
    """Read a list of models with their first placements, as Prism's launcher takes it."""
    instances: list[Instance] = []
    for entry in parsed:
        model, name = at(entry, "model_path"), str(at(entry, "model_name") or "?")
        degree = whole(at(entry, "tp_size"), 1)
        for number, placement in enumerate(listed(at(entry, "init_placements"))):
            ids = listed(at(placement, "gpu_ids"))
            gpus = tuple(gpu for gpu in ids if isinstance(gpu, int) and 0 <= gpu < 1024)
            if isinstance(model, str) and at(placement, "on") is not False:
                label = name if number == 0 else f"{name}-{number}"
                instances.append(Instance(label, model, degree, gpus or None))
    return Deployment("Prism", tuple(instances))


def read_script(text: str) -> Deployment | None:
    """Read a shell script that starts engines; None where it starts none."""
    instances: list[Instance] = []
    unread: list[Unread] = []
    joined = re.sub(r"\\\r?\n", " ", text)
    for number, line in enumerate(joined.splitlines(), start=1):
        if not _START.search(line) or line.lstrip().startswith("#"):
            continue
        name = f"line {number}"
        environment: dict[str, str] = {}
        try:
            words = shlex.split(line.rstrip().rstrip("&").split(" >")[0], comments=True)
            while words and (words[0] in ("env", "exec", "nohup") or "=" in words[0]):
                key, mark, value = words[0].partition("=")
                if mark:
                    environment[key] = value
                words = words[1:]
            devices = devices_of({}, environment)
            command = read_command(words, "", environment, gpu=True)
            assert command is not None
            command.check(None if devices.gpus is None else len(devices.gpus))
        except (NotUnderstoodError, ValueError) as error:
            held = devices_of({}, environment)
            unread.append(Unread(name, str(error), held.gpus, held.count))
            continue
        gpus = devices.gpus
        if gpus is None and not devices.any:
            gpus = tuple(range(command.gpus))
        instances += _instances(name, command.model, command.tensor, command.copies, gpus)
    if not instances and not unread:
        return None
    return Deployment("script", tuple(instances), tuple(unread))


def _instances(
    name: str, model: str, tensor: int, copies: int, gpus: tuple[int, ...] | None
) -> list[Instance]:
    """Return one instance per copy, each on its own GPUs."""
    return [
        Instance(
            name if copies == 1 else f"{name}-{part}",
            model,
            tensor,
            gpus[part * tensor : (part + 1) * tensor] if gpus is not None else None,
        )
        for part in range(copies)
    ]
