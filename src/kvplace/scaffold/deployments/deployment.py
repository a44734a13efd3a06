"""A deployment that exists: what of it is understood, and what is not and yet holds GPUs."""

from dataclasses import dataclass

__all__ = ["Deployment", "Instance", "Unread"]


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
    """

    name: str
    model: str
    degree: int
    gpus: tuple[int, ...] | None
    host: str | None = None


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
    """

    name: str
    reason: str
    gpus: tuple[int, ...] | None
    count: int | None
    host: str | None = None

    def describe(self) -> str:
        """Say in one line what it is and which GPUs it holds."""
        if self.gpus:
            held = f"GPU{'s' * (len(self.gpus) > 1)} {', '.join(map(str, self.gpus))}"
        elif self.count:
            held = f"{self.count} GPU{'s' * (self.count > 1)}, it is not known which"
        else:
            held = "GPUs, it is not known which"
        return f"{self.name} ({held}): {self.reason}"


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
