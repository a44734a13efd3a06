"""Pods of Kubernetes, wherever an object keeps them: their GPUs, and the engines they start."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kvplace.scaffold.deployments.command_line.commands import (
    NotUnderstoodError,
    read_command,
    split_words,
)
from kvplace.scaffold.deployments.deployment import Entry, Instance, Unread
from kvplace.scaffold.deployments.documents import at, listed, mapping, texts, whole

_GPU = re.compile(
    r"gpu|(nvidia|amd)\.com/(gpu|vgpu|mig-.*|gpu\..*|[A-Z].*)|gpu\.intel\.com/.*|.+/v?gpu(-.*)?"
)
_SLICE = re.compile(r".*/(mig-.*|gpu\.shared|vgpu.*|gpu-(mem|core|percentage).*)")
_OTHER = re.compile(
    r"google\.com/tpu|aws\.amazon\.com/neuron.*|habana\.ai/.*|huawei\.com/.*|qualcomm\.com/.*"
)
_SCHEMES = ("huggingface://", "hf://")
_COPIES = ("replicas", "minReplicas", "parallelism")
_NO_PODS = ("metadata", "status", "selector", "initContainers", "volumes", "affinity")
_PARTS = re.compile(r"(^|[^a-z])(prefill|decode)(er|ers|s)?([^a-z]|$)")
_MOST_COPIES = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """What a container asks for.

    Parameters
    ----------
    gpus
        How many GPUs; None where it asks for some without a number, 0 where it asks for none.
    part
        Resource that is a slice of a GPU, or empty.
    """

    gpus: int | None = 0
    part: str = ""

    @property
    def any(self) -> bool:
        """Whether it uses GPUs."""
        return self.gpus != 0

    @property
    def count(self) -> int | None:
        """How many GPUs, where it tells."""
        return self.gpus or None


@dataclass(frozen=True, slots=True)
class Pods:
    """Equal pods of an object.

    Parameters
    ----------
    label
        The object's name and that of its part.
    containers
        The containers of a pod.
    copies
        How many pods, or groups of pods.
    together
        GPUs of a group of pods that runs one engine; 0 for pods that run engines of their own.
    """

    label: str
    containers: list[Any]
    copies: int
    together: int = 0


def pods_of(value: Any, label: str, copies: int = 1) -> Iterator[Pods]:
    """Yield the pods of an object, at whatever depth, with their numbers of copies."""
    if isinstance(value, list):
        for entry in value:
            part = at(entry, "name") or at(entry, "groupName")
            yield from pods_of(entry, f"{label}/{part}" if isinstance(part, str) else label, copies)
        return
    if not isinstance(value, dict):
        return
    stated = next((value[key] for key in _COPIES if value.get(key) is not None), 1)
    copies = min(copies * whole(stated, 1), _MOST_COPIES)
    group = _group(value)
    if group is not None:
        yield Pods(label, group[0], copies, group[1])
        return
    if isinstance(value.get("containers"), list):
        yield Pods(label, value["containers"], copies)
        return
    for key, inner in value.items():
        if key not in _NO_PODS:
            yield from pods_of(inner, label, copies)


def _group(value: Mapping[str, Any]) -> tuple[list[Any], int] | None:
    """Return the first pod and all GPUs of pods that run one engine; None for other objects.

    The GPUs are 0 where one pod has them all, so that it can be read by itself.
    """
    leader_worker = mapping(value.get("leaderWorkerTemplate"))
    if leader_worker:
        size = whole(leader_worker.get("size"), 1)
        worker = _containers(leader_worker.get("workerTemplate"))
        leader = _containers(leader_worker.get("leaderTemplate")) or worker
        rest = max(size - 1, 0) * _sum(worker)
    elif value.get("headGroupSpec"):
        leader = _containers(at(value, "headGroupSpec", "template"))
        rest = sum(
            whole(at(group, "replicas"), 1)
            * whole(at(group, "numOfHosts"), 1)
            * _sum(_containers(at(group, "template")))
            for group in listed(value.get("workerGroupSpecs"))
        )
    elif whole(value.get("podGroupSize"), 1) > 1:
        leader = _containers(value.get("template"))
        rest = (whole(value.get("podGroupSize"), 1) - 1) * _sum(leader)
    else:
        return None
    return leader, rest + _sum(leader) if rest else 0


def _containers(template: Any) -> list[Any]:
    return listed(at(template, "spec", "containers"))


def _sum(containers: list[Any]) -> int:
    return sum(asked(container).gpus or 0 for container in containers)


def pod_entries(pods: Pods) -> list[Entry]:
    """Read the containers of pods: engines, and what else holds GPUs."""
    if pods.together:
        why = "one engine over several pods, which kvplace does not plan"
        return [
            Unread(numbered(pods.label, i, pods.copies), why, None, pods.together)
            for i in range(pods.copies)
        ]
    several = len(pods.containers) > 1
    return [
        entry
        for container in pods.containers
        if isinstance(container, dict)
        for entry in container_entries(
            f"{pods.label}/{container.get('name', '?')}" if several else pods.label,
            container,
            pods.copies,
        )
    ]


def container_entries(label: str, container: Mapping[str, Any], copies: int) -> list[Entry]:
    """Read one container of a pod; one on chips that are no GPUs is left out."""
    asks = asked(container)
    if not asks.any and others(container):
        return []
    environment = {
        str(at(entry, "name")): str(at(entry, "value") or "")
        for entry in listed(container.get("env"))
    }
    image = container.get("image")
    words = [_expanded(word, environment) for word in arguments(container)]
    name = image if isinstance(image, str) else ""
    return engine_entries(label, words, asks, copies, name, environment)


def engine_entries(
    label: str,
    words: list[str],
    asks: Asked,
    copies: int,
    image: str = "",
    environment: Mapping[str, str] | None = None,
) -> list[Entry]:
    """Read a command into one instance per copy, or into what holds GPUs and is not understood."""
    try:
        _refuse(label, asks)
        command = read_command(words, image, environment or {}, gpu=asks.any)
        if command is None:
            return []
        command = command.of(model_of(command.model)).check(asks.count)
    except (NotUnderstoodError, ValueError) as error:
        held = error.command if isinstance(error, NotUnderstoodError) else None
        return [
            Unread(numbered(label, i, copies), str(error), None, asks.count, command=held)
            for i in range(copies)
        ]
    total = copies * command.copies
    return [
        Instance(
            numbered(label, i, total),
            command.model,
            command.tensor,
            None,
            served=command.served,
            memory=command.memory,
        )
        for i in range(total)
    ]


def _refuse(label: str, asks: Asked) -> None:
    """Refuse what no plan of whole models on whole GPUs can be."""
    if asks.part:
        raise NotUnderstoodError(f"it runs on a slice of a GPU ({asks.part})")
    part = _PARTS.search(label.casefold())
    if part and asks.any:
        raise NotUnderstoodError(
            f"by its name it is the {part[2]} part of a split into prefill and decode, which "
            "kvplace does not plan"
        )


def asked(container: Any) -> Asked:
    """Return the GPUs that a container asks for."""
    found = None
    for part in ("limits", "requests"):
        for key, value in mapping(at(container, "resources", part)).items():
            if found is None and _GPU.fullmatch(str(key)):
                found = Asked(whole(value, 1), str(key) if _SLICE.fullmatch(str(key)) else "")
    shorthand = whole(at(container, "resources", "gpu"), 0)  # of operators
    if found is None and not shorthand and listed(at(container, "resources", "claims")):
        return Asked(None)
    return found or Asked(shorthand)


def others(value: Any) -> list[str]:
    """Return the resources of accelerators that are no GPUs, which an object asks for."""
    keys = (str(key) for entry in _mappings(value) for key in entry)
    return sorted({key for key in keys if _OTHER.fullmatch(key)})


def all_gpus(value: Any) -> int:
    """Return the GPUs that all parts of an object ask for, copies counted."""
    pods = list(pods_of(value, ""))
    found = sum(p.copies * (p.together or _sum(p.containers)) for p in pods)
    if found:
        return found
    stated = [
        max(whole(count, 0) for key, count in entry.items() if _GPU.fullmatch(str(key)))
        for entry in _mappings(value)
        if any(_GPU.fullmatch(str(key)) for key in entry)
    ]
    return max(stated, default=0)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping of an object."""
    stack = [value]
    while stack:
        entry = stack.pop()
        if isinstance(entry, dict):
            yield entry
            stack += entry.values()
        elif isinstance(entry, list):
            stack += entry


def arguments(container: Any) -> list[str]:
    """Return the words of a container; what cannot be split is one word."""
    words: list[str] = []
    for key in ("command", "args"):
        value = at(container, key)
        try:
            words += split_words(value)
        except ValueError:
            words += list(texts(value))
    return words


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    """Put in ``$(NAME)`` of Kubernetes."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), word)


def model_of(url: str) -> str:
    """Return a hub id of a URL, or the URL."""
    for scheme in _SCHEMES:
        if url.startswith(scheme):
            return url.removeprefix(scheme)
    return url


def numbered(name: str, number: int, total: int) -> str:
    """Return the name of one of several."""
    return f"{name}-{number}" if total > 1 else name
