"""kvcached controller files: ``instances`` with a model, engine arguments and an environment."""

import shlex
from collections.abc import Sequence
from typing import Any

from kvplace.errors import Fault, InputError
from kvplace.scaffold.deployments.command_line.commands import NotUnderstoodError, read_command
from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.deployment import Deployment, Instance, Unread
from kvplace.scaffold.deployments.devices import devices_of


def read_kvcached(instances: Sequence[Any], source: str) -> Deployment:
    """Read the instances of a controller file.

    Raises
    ------
    InputError
        An entry is no instance: every fault at once.
    """
    found: list[Instance] = []
    unread: list[Unread] = []
    faults: list[Fault] = []
    for index, entry in enumerate(instances):
        path = f"instances[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
            faults.append(Fault("it must be a mapping with a model", path))
            continue
        name = str(entry.get("name", index))
        environment = {**environment_of(entry.get("engine_env"))}
        environment |= environment_of(entry.get("kvcached_env"))
        devices = devices_of({}, environment)
        try:
            words = ["vllm", "serve", entry["model"], *_words(entry.get("engine_args"))]
            command = read_command(words, "", environment, gpu=True)
            assert command is not None
            gpus = devices.gpus
            if gpus is None and not devices.any:
                gpus = tuple(range(command.gpus))  # CUDA gives a process the host's first devices
            command.check(None if gpus is None else len(gpus), paths=True)
        except (NotUnderstoodError, ValueError) as error:
            faults.append(Fault(str(error), path))
            continue
        for part in range(command.copies):
            begin = part * command.tensor
            own = gpus[begin : begin + command.tensor] if gpus is not None else None
            label = name if command.copies == 1 else f"{name}-{part}"
            found.append(Instance(label, command.model, command.tensor, own, memory=command.memory))
    if faults:
        raise InputError(faults, source)
    return Deployment("kvcached", tuple(found), tuple(unread))


def _words(value: object) -> list[str]:
    """Return the words of a kvcached command: texts of one or several words, no variables."""
    items = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return [word for item in items for word in shlex.split(str(item))]
