"""What one command line starts: an engine, or a container that is one."""

from collections.abc import Mapping

from kvplace.scaffold.deployments.command_line.commands import (
    EngineCommand,
    NotUnderstoodError,
    read_command,
)
from kvplace.scaffold.deployments.command_line.shell import container_of
from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.deployment import Entry, Instance, Unread
from kvplace.scaffold.deployments.devices import devices_of
from kvplace.scaffold.deployments.documents import mapping, texts


def started(
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
        if words[:1] == ["nvidia-smi"]:
            return []  # a look at the GPUs that is over at once
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
            memory=command.memory,
        )
        for part in range(command.copies)
    ]
