"""A deployment that exists: what of it is understood, and what is not and yet holds GPUs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kvplace.scaffold.deployments.command_line.commands import EngineCommand
from kvplace.scaffold.deployments.command_line.flags import NOTHING_SAID, Memory


@dataclass(frozen=True, slots=True)
class Instance:
    """One engine process group.

    Parameters
    ----------
    name
        Its name in the deployment.
    model
        Directory, file or hub id of what it serves.
    degree
        Its tensor parallel degree.
    gpus
        Indices of its GPUs on their host, by rank; None where the file does not tell.
    host
        Name of the host; None for the only or first one.
    served
        Name that requests ask for; empty where the file states none.
    memory
        What its command says of the memory that it takes.
    """

    name: str
    model: str
    degree: int
    gpus: tuple[int, ...] | None
    host: str | None = None
    served: str = ""
    memory: Memory = NOTHING_SAID

    @property
    def labels(self) -> tuple[str, ...]:
        """Names under which logs may know it: as it is served, then as the file calls it."""
        own = re.sub(r"-\d+$", "", self.name)
        return tuple(dict.fromkeys(label for label in (self.served, self.name, own) if label))


@dataclass(frozen=True, slots=True)
class Unread:
    """What holds GPUs and is not understood.

    Parameters
    ----------
    name
        Its name in the deployment.
    reason
        Why it is not understood, in a few words.
    gpus
        Indices of its GPUs on their host; None where the file does not tell.
    count
        How many GPUs it holds; None where the file does not tell.
    host
        Name of the host; None for the only or first one.
    command
        Its command, where all that is missing is which model it serves.
    """

    name: str
    reason: str
    gpus: tuple[int, ...] | None
    count: int | None
    host: str | None = None
    command: EngineCommand | None = None

    def describe(self) -> str:
        """Say in one line what it is and which GPUs it holds."""
        if self.gpus:
            held = f"GPU{'s' * (len(self.gpus) > 1)} {', '.join(map(str, self.gpus))}"
        elif self.count:
            held = f"{self.count} GPU{'s' * (self.count > 1)}, it is not known which"
        else:
            held = "GPUs, it is not known which"
        return f"{self.name} ({held}): {self.reason}"


Entry = Instance | Unread


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that a file starts.

    Parameters
    ----------
    kind
        Such as ``compose`` or ``Kubernetes``.
    instances
        What is understood, in the order of the file.
    unread
        What holds GPUs and is not understood.
    notes
        What a reader should know, such as services that are not started by default.
    """

    kind: str
    instances: tuple[Instance, ...]
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Models, each once, in the order of the file."""
        return tuple(dict.fromkeys(instance.model for instance in self.instances))

    def of(self, entries: Iterable[Entry]) -> "Deployment":
        """Return it with other entries."""
        found = list(entries)
        return replace(
            self,
            instances=tuple(entry for entry in found if isinstance(entry, Instance)),
            unread=tuple(entry for entry in found if isinstance(entry, Unread)),
        )

    def with_names(self, aliases: Mapping[str, str]) -> "Deployment":
        """Return it with models put in by their other names, such as a path where they run."""
        found = [named for entry in self.instances for named in _as(entry, aliases)]
        return self.of([*found, *(named for entry in self.unread for named in _as(entry, aliases))])


def _as(entry: Entry, aliases: Mapping[str, str]) -> list[Entry]:
    """Return what an entry is once its model has its other name."""
    if isinstance(entry, Instance):
        return [replace(entry, model=aliases.get(entry.model, entry.model))]
    command = entry.command
    if command is None or command.model not in aliases:
        return [entry]
    gpus = entry.gpus if entry.gpus and len(entry.gpus) >= command.gpus else None
    return [
        Instance(
            entry.name if command.copies == 1 else f"{entry.name}-{part}",
            aliases[command.model],
            command.tensor,
            None if gpus is None else gpus[part * command.tensor : (part + 1) * command.tensor],
            entry.host,
            command.served,
            command.memory,
        )
        for part in range(command.copies)
    ]
