"""GPUs in one line of text, for a models table: ``5x8xH100,4x80GiB``."""

import re
from collections import Counter

from kvplace.core.hardware import GPU, Node
from kvplace.errors import Fault, InputError, UnitError
from kvplace.facts.catalogue.gpus import gpu_kind
from kvplace.formats.diagnostics import shown

__all__ = ["parse_gpus"]

_HOSTS = r"(?:([0-9]{1,6})\s*[xX]\s*(?=[0-9]{1,7}\s*[xX]))?"
_GROUP = re.compile(_HOSTS + r"(?:([0-9]{1,7})\s*[xX]\s*)?(\S.*)", re.ASCII)
_MAX_GPUS = 1_000_000


def parse_gpus(text: str) -> tuple[Node, ...]:
    """Read groups of GPUs, such as ``8x80GiB,4xH100-SXM-80GB`` or ``5x8xH100``.

    Parameters
    ----------
    text
        Groups separated by commas; each a number of hosts (1 where left out), ``x``, the GPUs of
        each (1 where left out), ``x``, and what `kvplace.facts.catalogue.gpus.gpu_kind` knows: a
        type, the begin of one, or usable memory. ``5x8xH100`` is five hosts of eight.
        the begin of one, or usable memory. ``5x8xH100`` is five hosts of eight.

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
    faults: list[Fault] = []
    nodes: list[Node] = []
    seen: Counter[str] = Counter()
    total = 0
    for index, group in enumerate(text.split(",")):
        try:
            hosts, count, kind, memory = _group(group.strip())
        except InputError as error:
            if error.source:  # the user's own catalogue is wrong, not this text
                raise
            faults.append(Fault(error.faults[0].message, f"gpus[{index}]"))
            continue
        total += hosts * count
        if total > _MAX_GPUS:
            faults.append(Fault(f"these are more than {_MAX_GPUS:,} GPUs", f"gpus[{index}]"))
            break
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        names = [name] if hosts == 1 else [f"{name}-{host}" for host in range(hosts)]
        for host in names:
            gpus = tuple(GPU(f"{host}/{i}", kind, memory) for i in range(count))
            nodes.append(Node(host, gpus))
    if faults:
        raise InputError(faults)
    return tuple(nodes)


def _group(text: str) -> tuple[int, int, str, int]:
    """Return the hosts, the GPUs of each, their type and memory."""
    match = _GROUP.fullmatch(text)
    if match is None:
        raise InputError(f"{shown(text)} is no group of GPUs; write it like 8x80GiB or 5x8xH100")
    hosts, count = int(match[1] or 1), int(match[2] or 1)
    if not hosts or not count:
        raise InputError(f"{shown(text)} counts no GPU; write at least 1")
    try:
        kind, memory = gpu_kind(match[3])
    except UnitError as error:
        raise InputError(error.faults[0].message) from None
    if memory.value == 0:
        raise InputError(f"{shown(text)} has no memory")
    return hosts, count, kind, memory.value
