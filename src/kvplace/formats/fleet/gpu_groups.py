"""GPUs in one line of text, for a models table: ``5x8xH100,4x80GiB``."""

import re
from collections import Counter
from itertools import islice
from typing import NamedTuple

from kvplace.core.fact import Fact
from kvplace.core.hardware import GPU, Node, alike
from kvplace.core.names import MAX_COUNT
from kvplace.errors import Fault, InputError, UnitError
from kvplace.facts.catalogue.gpus import gpu_kind
from kvplace.formats.diagnostics import shown

_HOSTS = r"(?:([0-9]{1,20})\s*[xX]\s*(?=[0-9]{1,20}\s*[xX]))?"
_GROUP = re.compile(_HOSTS + r"(?:([0-9]{1,20})\s*[xX]\s*)?(\S.*)", re.ASCII)
_NO_COUNT = re.compile(r"[-+.\d]+(e\d+)?\s*[x*]", re.ASCII | re.IGNORECASE)
"""What begins like a count and is none, such as ``-1x`` and ``1.5x``."""


class GPUGroup(NamedTuple):
    """Hosts alike.

    Parameters
    ----------
    hosts, gpus
        How many, and the GPUs of each.
    kind
        Type of a GPU, or its memory as text.
    memory_bytes
        What a process can allocate on one.
    """

    hosts: int
    gpus: int
    kind: str
    memory_bytes: Fact[int]


def gpu_groups(text: str, name: str) -> list[GPUGroup]:
    """Read groups of GPUs, such as ``8x80GiB,4xH100-SXM-80GB`` or ``5x8xH100``.

    Parameters
    ----------
    text
        Groups separated by commas; each a number of hosts (1 where left out), ``x``, the GPUs of
        each (1 where left out), ``x``, and what `kvplace.facts.catalogue.gpus.gpu_kind` knows: a
        type, a part of its name, or usable memory. ``5x8xH100`` is five hosts of eight.
    name
        What the groups are called in faults, such as ``gpus``.

    Raises
    ------
    InputError
        With every fault, its path the group, such as ``gpus[1]``.
    """
    faults: list[Fault] = []
    groups: list[GPUGroup] = []
    for index, part in enumerate(text.split(",")):
        try:
            groups.append(_group(part.strip()))
        except InputError as error:
            if error.source:  # the user's own catalogue is wrong, not this text
                raise
            faults.append(Fault(error.faults[0].message, f"{name}[{index}]"))
            continue
        if sum(group.hosts * group.gpus for group in groups) > MAX_COUNT:
            faults.append(Fault(f"these are more than {MAX_COUNT:,} GPUs", f"{name}[{index}]"))
            break
    if faults:
        raise InputError(faults)
    return groups


def parse_gpus(text: str) -> tuple[Node, ...]:
    """Return the hosts that a line of groups stands for.

    Parameters
    ----------
    text
        As in `gpu_groups`.

    Returns
    -------
    tuple of Node
        One node per host, named after its type: ``80GiB``, or ``H100-0`` and ``H100-1`` of
        several hosts. A group named again gets a number: ``80GiB``, ``80GiB-2``.

    Raises
    ------
    InputError
        With every fault, its path the group, such as ``gpus[1]``.
    """
    nodes: list[Node] = []
    seen: Counter[str] = Counter()
    for group in gpu_groups(text, "gpus"):
        kind = group.kind
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        names = [name] if group.hosts == 1 else [f"{name}-{host}" for host in range(group.hosts)]
        ids = [f"{host}/{i}" for host in names for i in range(group.gpus)]
        gpus = iter(alike(GPU(ids[0], kind, group.memory_bytes.value), ids))
        nodes += [Node(host, tuple(islice(gpus, group.gpus))) for host in names]
    return tuple(nodes)


def _group(text: str) -> GPUGroup:
    """Read one group."""
    match = _GROUP.fullmatch(text)
    if match is None or _NO_COUNT.match(match[3]):
        raise InputError(f"{shown(text)} is no group of GPUs; write it like 8x80GiB or 5x8xH100")
    hosts, count = int(match[1] or 1), int(match[2] or 1)
    if not hosts or not count:
        raise InputError(f"{shown(text)} counts no GPU; write at least 1")
    if hosts * count > MAX_COUNT:
        raise InputError(f"these are more than {MAX_COUNT:,} GPUs, the most of a fleet")
    try:
        kind, memory = gpu_kind(match[3])
    except UnitError as error:
        raise InputError(error.faults[0].message) from None
    if memory.value == 0:
        raise InputError(f"{shown(text)} has no memory")
    return GPUGroup(hosts, count, kind, memory)
