"""The nodes of a fleet file: counts written out, GPU memory from the catalogue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, islice

from kvplace.core.hardware import GPU, Node, alike
from kvplace.core.names import MAX_COUNT
from kvplace.facts.catalogue.gpus import gpu_kind
from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.fleet.checks import faults_at
from kvplace.formats.fleet.schema import GPUPart, NodePart
from kvplace.formats.validation.models import validate_list
from kvplace.units import bytes_text

_Memory = Callable[[str], int]  # of a GPU of that type


def build_nodes(parts: Sequence[NodePart | None], report: Report) -> tuple[Node, ...]:
    """Return the nodes of a fleet; what is wrong is noted in the report."""
    nodes: list[Node] = []
    memory_of = cache(lambda kind: gpu_kind(kind)[1].value)
    names: dict[str, int] = {}
    total = 0
    for index, part in enumerate(parts):
        if part is None or report.full:
            continue
        path: Path = ("nodes", index)
        devices = _devices(part, path, report, memory_of)
        hosts = 1 if part.count is None else part.count
        total += hosts * (len(part.gpus) if isinstance(part.gpus, list) else int(part.gpus))
        if total > MAX_COUNT:
            report.add((*path, "gpus"), f"the fleet has more than {MAX_COUNT:,} GPUs")
            return ()
        hosts_named = (
            [part.name] if part.count is None else [f"{part.name}-{i}" for i in range(hosts)]
        )
        gpus = _gpus(hosts_named, devices, part)
        for name in hosts_named:
            first = names.setdefault(name, index)
            if first != index:
                of = f"nodes[{first}]"
                report.add((*path, "name"), f"{shown(name)} is already the name of {of}")
                break
            held = tuple(islice(gpus, len(devices)))
            nodes.append(Node(name, held, dict(part.labels), dict(part.resources)))
    return tuple(nodes)


def _gpus(hosts: list[str], devices: list[GPU], part: NodePart) -> Iterator[GPU]:
    """Return the GPUs of some hosts alike, host by host."""
    size = part.link_size
    if size:
        devices = [replace(gpu, link=str(i // size)) for i, gpu in enumerate(devices)]
    columns = [alike(gpu, [f"{host}/{i}" for host in hosts]) for i, gpu in enumerate(devices)]
    return chain.from_iterable(zip(*columns, strict=True))


def _devices(part: NodePart, path: Path, report: Report, memory_of: _Memory) -> list[GPU]:
    """Return the GPUs of one node; none where one is faulty."""
    if not isinstance(part.gpus, list):
        if part.gpu is None:
            report.add(
                (*path, "gpu"), "is missing; write it like gpu: H200 or gpu: {memory: 139GiB}"
            )
            return []
        device = _device(part.gpu, (*path, "gpu"), report, memory_of)
        return [] if device is None or part.gpus > MAX_COUNT else [device] * part.gpus
    if part.gpu is not None:
        report.add((*path, "gpu"), "is for a node that counts its GPUs; this one lists them")
    listed = validate_list(GPUPart, part.gpus, (*path, "gpus"), report)
    devices = [
        None if gpu is None else _device(gpu, (*path, "gpus", i), report, memory_of)
        for i, gpu in enumerate(listed)
    ]
    return [] if None in devices else [device for device in devices if device is not None]


def _device(part: GPUPart, path: Path, report: Report, memory_of: _Memory) -> GPU | None:
    """Return a GPU without its name; None, and a fault, where it is wrong."""
    memory = part.memory_bytes
    if memory is None:
        if part.type is None:
            report.add(path, "has neither a type nor memory; write it like {memory: 80GiB}")
            return None
        with faults_at((*path, "type"), report, ", or give its memory"):
            memory = memory_of(part.type)
        if memory is None:
            return None
    if memory == 0:
        report.add((*path, "memory"), "must be above 0B")
        return None
    if part.reserve_bytes >= memory:
        message = (
            f"{bytes_text(part.reserve_bytes)} is not less than the memory, {bytes_text(memory)}"
        )
        report.add((*path, "reserve"), message)
        return None
    type_, resources = part.type or bytes_text(memory), dict(part.resources)
    return GPU(
        "", type_, memory, part.reserve_bytes, "", resources, part.price_per_hour, part.watts
    )
