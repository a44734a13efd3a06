"""Compose files, read as compose does: variables, profiles, ``extends``, volumes and GPUs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvplace.errors import Fault, InputError
from kvplace.facts.checkpoint.paths import is_there
from kvplace.scaffold.deployments.command_line.commands import (
    EngineCommand,
    NotUnderstoodError,
    read_command,
    split_words,
)
from kvplace.scaffold.deployments.command_line.variables import ABSENT, fill, read_env
from kvplace.scaffold.deployments.deployment import Deployment, Instance, Unread
from kvplace.scaffold.deployments.devices import Devices, devices_of
from kvplace.scaffold.deployments.documents import (
    at,
    documents,
    listed,
    mapping,
    named_file,
    texts,
    whole,
)

_DEEPEST = 20
_LONGEST = 2**22


def read_compose(parsed: Mapping[str, Any], source: str) -> Deployment:
    """Read a compose file.

    Parameters
    ----------
    parsed
        Its content.
    source
        Its path: ``.env``, volumes and ``extends`` are relative to its directory.

    Raises
    ------
    InputError
        A variable that must have a value has none, or a file that it names cannot be read.
    """
    folder = Path(source).parent
    variables = {**read_env(folder / ".env"), **os.environ}
    faults: list[Fault] = []
    services: dict[str, Any] = {}
    for path in (*_included(parsed, folder), None):
        content = parsed if path is None else _read(path)
        services |= _filled(content, variables, faults, "services").get("services") or {}
    active = {word for word in variables.get("COMPOSE_PROFILES", "").split(",") if word}
    instances: list[Instance] = []
    unread: list[Unread] = []
    notes: list[str] = []
    for name, entry in services.items():
        if not isinstance(entry, dict):
            faults.append(Fault("it must be a mapping", f"services.{name}"))
            continue
        service = _extended(str(name), entry, services, folder, variables, faults, 0)
        profiles = set(texts(service.get("profiles")))
        found, held = _service(str(name), service, folder)
        if profiles and not profiles & active and "*" not in active:
            if found or held:
                shown = ", ".join(sorted(profiles))
                notes.append(f"{name} is not started by default (profile {shown}) and left out")
            continue
        instances += found
        unread += held
    if faults:
        raise InputError(faults, source)
    return Deployment("compose", tuple(instances), tuple(unread), tuple(notes))


def environment_of(value: object) -> dict[str, str]:
    """Return an environment, written as a mapping or as a list of NAME=VALUE."""
    if isinstance(value, dict):
        return {
            str(name): "" if content is None else str(content) for name, content in value.items()
        }
    pairs = (text.partition("=") for text in texts(value))
    return {name: content for name, mark, content in pairs if mark}


def _filled(
    content: Mapping[str, Any], variables: Mapping[str, str], faults: list[Fault], path: str
) -> dict[str, Any]:
    """Return the services of a file with variables put in."""
    services = mapping(content.get("services"))
    filled: dict[str, Any] = {}
    for name, entry in services.items():

        def refuse(sentence: str, name: object = name) -> None:
            faults.append(Fault(f"{sentence}; set it, or put it into .env", f"{path}.{name}"))

        filled[str(name)] = fill(entry, variables, refuse)
    return {"services": filled}


def _included(parsed: Mapping[str, Any], folder: Path) -> list[Path]:
    """Return the local files that a compose file includes."""
    names: list[str] = []
    for entry in listed(parsed.get("include")):
        path = at(entry, "path") if isinstance(entry, dict) else entry
        names += [path] if isinstance(path, str) else list(texts(path))
    return [folder / name for name in names[:_DEEPEST]]


def _read(path: Path) -> Mapping[str, Any]:
    """Read another compose file."""
    try:
        text = named_file(path, _LONGEST).decode("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(getattr(error, "strerror", None) or str(error), str(path)) from error
    parsed = documents(text, str(path))
    return mapping(parsed[0]) if parsed else {}


def _extended(
    name: str,
    entry: Mapping[str, Any],
    services: Mapping[str, Any],
    folder: Path,
    variables: Mapping[str, str],
    faults: list[Fault],
    depth: int,
) -> Mapping[str, Any]:
    """Return a service with what it extends merged in."""
    extends = entry.get("extends")
    if not extends:
        return entry
    if depth >= _DEEPEST:
        faults.append(Fault("it extends itself, or too many others", f"services.{name}"))
        return entry
    base_name = extends if isinstance(extends, str) else at(extends, "service")
    file = None if isinstance(extends, str) else at(extends, "file")
    others = services
    if isinstance(file, str):
        path = folder / file
        others = _filled(_read(path), variables, faults, f"{file}: services")["services"]
        folder = path.parent
    base = mapping(others.get(base_name)) if isinstance(base_name, str) else {}
    if not base:
        faults.append(Fault(f"it extends {base_name!r}, which is no service", f"services.{name}"))
        return entry
    whole = _extended(str(base_name), base, others, folder, variables, faults, depth + 1)
    return _merged(whole, {key: value for key, value in entry.items() if key != "extends"})


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a service over another: mappings by key, lists one after the other, else its own."""
    merged: dict[str, Any] = {key: value for key, value in base.items() if key != "profiles"}
    for key, value in own.items():
        before = merged.get(key)
        if key == "environment":
            merged[key] = environment_of(before) | environment_of(value)
        elif key in ("command", "entrypoint", "profiles"):
            merged[key] = value
        elif isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = value if key in ("devices", "device_ids") else [*before, *value]
        else:
            merged[key] = value
    return merged


def _service(
    name: str, service: Mapping[str, Any], folder: Path
) -> tuple[list[Instance], list[Unread]]:
    """Read one service: engines that are understood, or GPUs that something else holds."""
    environment: dict[str, str] = {}
    files = service.get("env_file")
    for file in [files] if isinstance(files, str) else listed(files):
        path = at(file, "path") if isinstance(file, dict) else file
        if isinstance(path, str):
            environment |= read_env(folder / path)
    environment |= environment_of(service.get("environment"))
    devices = devices_of(service, environment)
    copies = _copies(service)
    command: EngineCommand | None = None
    model = ""
    try:
        command = _command(service, environment, gpu=devices.any)
        if command is not None:
            command.check(None if devices.gpus is None else len(devices.gpus), paths=True)
            model = _on_host(command, service, folder)
    except NotUnderstoodError as error:
        return [], _held(name, error, devices, command) * copies
    if command is None:
        return [], []
    gpus = devices.first(command.gpus)
    instances = []
    for copy in range(copies):
        for part in range(command.copies):
            begin = part * command.tensor
            own = gpus[begin : begin + command.tensor] if gpus is not None else None
            number = copy * command.copies + part
            label = f"{name}-{number}" if copies * command.copies > 1 else name
            instances.append(
                Instance(
                    label, model, command.tensor, own,
                    served=command.served, memory=command.memory,
                )
            )  # fmt: skip
    return instances, []


def _command(
    service: Mapping[str, Any], environment: Mapping[str, str], *, gpu: bool
) -> EngineCommand | None:
    """Read the command of a service; None where it starts no engine and uses no GPUs."""
    image = service.get("image")
    try:
        words = [*split_words(service.get("entrypoint")), *split_words(service.get("command"))]
    except ValueError as error:
        if not gpu and "--model" not in str(service.get("command")):
            return None
        raise NotUnderstoodError(f"its command is not understood: {error}") from error
    return read_command(words, image if isinstance(image, str) else "", environment, gpu=gpu)


def _held(
    name: str, error: NotUnderstoodError, devices: Devices, command: EngineCommand | None
) -> list[Unread]:
    """Return a service that is not understood, with its GPUs as far as they are."""
    clean = str(error).replace(ABSENT[0], "${").replace(ABSENT[1], "}")
    gpus, count = devices.gpus, devices.count
    if gpus is None and command is not None:
        gpus, count = devices.first(command.gpus), command.gpus
    return [Unread(name, clean, gpus, count, command=error.command)]


def _copies(service: Mapping[str, Any]) -> int:
    """Return how many containers a service has."""
    for stated in (at(service, "deploy", "replicas"), service.get("scale")):
        if stated is not None:
            return whole(stated, 1)
    return 1


def _on_host(command: EngineCommand, service: Mapping[str, Any], folder: Path) -> str:
    """Return a model's path on the host, where it is a path that a volume brings in."""
    model = command.model
    if not model.startswith(("/", "./", "../", "~")):
        return model
    best = ""
    host = ""
    for volume in listed(service.get("volumes")):
        if isinstance(volume, dict):
            source, target = volume.get("source"), volume.get("target")
        else:
            source, _, rest = str(volume).partition(":")
            target = rest.partition(":")[0]
        if not isinstance(source, str) or not isinstance(target, str) or not target:
            continue
        target = target.rstrip("/") or "/"
        inside = model == target or model.startswith(target.rstrip("/") + "/")
        if inside and len(target) > len(best):
            best, host = target, source
    if host.startswith(("/", ".", "~")):
        path = Path(os.path.expanduser(host))  # noqa: PTH111 - an unknown user is no error here
        path = path if path.is_absolute() else folder / path
        path = path / model[len(best) :].lstrip("/")
        if path == Path(model):  # brought in under its own name, which may be written oddly
            return model
        if is_there(path):
            return str(path)
        raise command.elsewhere(f"its model {model} is {path} on the host, which is not here")
    if is_there(model):
        return model
    raise command.elsewhere(f"its model {model} is a path in the container, which is not here")
