"""Configs of llama-swap and Prism, and scripts that start engines."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kvplace.scaffold.deployments.commands import (
    EngineCommand,
    NotUnderstoodError,
    read_command,
)
from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.deployment import Deployment, Entry, Instance, Unread
from kvplace.scaffold.deployments.devices import devices_of
from kvplace.scaffold.deployments.documents import at, listed, mapping, texts, whole
from kvplace.scaffold.deployments.shell import container_of
from kvplace.scaffold.deployments.variables import fill

__all__ = ["read_llama_swap", "read_prism", "read_script"]

_START = re.compile(
    r"\b(vllm serve|api_server|sglang\.launch_server|trtllm-serve|lmdeploy serve|llama-server|"
    r"text-generation-launcher|ollama serve|aphrodite run|(docker|podman|nerdctl) run)\b"
)
_CONTINUED = "\ue002"
"""In the place of the end of a line that goes on in the next."""
_BEFORE = ("env", "exec", "nohup", "sudo", "time", "numactl")
_DECLARE = ("export", "readonly", "local", "declare")
_ASSIGNED = re.compile(r"\s*(?:export\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)", re.ASCII)


def read_llama_swap(parsed: Mapping[str, Any]) -> Deployment:
    """Read a llama-swap config: the commands of its models, macros put in."""
    entries: list[Entry] = []
    macros = mapping(parsed.get("macros"))
    for name, entry in mapping(parsed.get("models")).items():
        own = {str(k): str(v) for k, v in {**macros, **mapping(at(entry, "macros"))}.items()}
        own["MODEL_ID"] = str(name)
        environment = environment_of(at(entry, "env"))
        try:
            words = shlex.split(_with_macros(str(at(entry, "cmd") or ""), own), comments=True)
        except ValueError as error:
            entries.append(Unread(str(name), str(error), None, None))
            continue
        entries += _started(str(name), words, environment, gpu=True)
    note = "llama-swap starts a model when it is asked for; all are taken as running"
    return Deployment("llama-swap", (), notes=(note,)).of(entries)


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
    entries: list[Entry] = []
    known: dict[str, str] = {}
    number = 1
    for whole_line in re.sub(r"\\\r?\n", _CONTINUED, text).splitlines():
        name, line = f"line {number}", whole_line.replace(_CONTINUED, " ")
        number += 1 + whole_line.count(_CONTINUED)
        starts = _START.search(line) and not line.lstrip().startswith("#")
        try:
            words = shlex.split(re.split(r" \d?>", line.rstrip().rstrip("&"))[0], comments=True)
        except ValueError as error:
            entries += [Unread(name, str(error), None, None)] if starts else []
            continue
        words = [fill(word, known, lambda _: None) if "$" in word else word for word in words]
        if not starts:
            pairs = [_ASSIGNED.fullmatch(word) for word in words if word not in _DECLARE]
            known |= {pair[1]: pair[2] for pair in pairs if pair} if all(pairs) else {}
            continue
        environment: dict[str, str] = {}
        while words and (words[0] in _BEFORE or "=" in words[0]):
            key, mark, value = words[0].partition("=")
            if mark:
                environment[key] = value
            words = words[1:]
        entries += _started(name, words, environment, gpu=False, first=True)
    return Deployment("script", ()).of(entries) if entries else None


def _started(
    name: str,
    words: list[str],
    environment: Mapping[str, str],
    *,
    gpu: bool,
    first: bool = False,
) -> list[Entry]:
    """Read a command, also one of ``docker run``.

    Parameters
    ----------
    name
        What it is called in messages.
    words, environment
        The command, and what is set for it.
    gpu
        Whether a container must be an engine although it asks for no GPU.
    first
        Whether a command that names no devices has the first ones of its host.
    """
    container = container_of(words)
    service = mapping(container)
    own = environment_of(service.get("environment")) if container is not None else environment
    devices = devices_of(service, own)
    image = str(service.get("image") or "")
    if container is not None:
        words = [*texts([service.get("entrypoint")]), *service["command"]]
    try:
        command = read_command(words, image, own, gpu=gpu or container is None or devices.any)
        if command is None:
            return []
        command.check(None if devices.gpus is None else len(devices.gpus))
    except (NotUnderstoodError, ValueError) as error:
        held = error.command if isinstance(error, NotUnderstoodError) else None
        return [Unread(name, str(error), devices.gpus, devices.count, command=held)]
    gpus = devices.gpus or devices.first(command.gpus)
    if gpus is None and first and not devices.any:
        gpus = tuple(range(command.gpus))
    return list(_instances(name, command, gpus))


def _instances(name: str, command: EngineCommand, gpus: tuple[int, ...] | None) -> list[Instance]:
    """Return one instance per copy, each on its own GPUs."""
    size = command.tensor
    return [
        Instance(
            name if command.copies == 1 else f"{name}-{part}",
            command.model,
            size,
            gpus[part * size : (part + 1) * size] if gpus is not None else None,
            served=command.served,
        )
        for part in range(command.copies)
    ]
