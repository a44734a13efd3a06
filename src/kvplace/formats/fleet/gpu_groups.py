"""GPUs in one line of text, for a models table: ``8x80GiB,4xH100-SXM-80GB``."""

import re
from collections import Counter

from kvplace.core.hardware import GPU, Node
from kvplace.errors import Fault, InputError, UnitError
from kvplace.facts.catalogue import gpu_type
from kvplace.formats.diagnostics import shown
from kvplace.units import parse_bytes

__all__ = ["parse_gpus"]

_GROUP = re.compile(r"(?:([0-9]{1,7})\s*[xX]\s*)?(\S.*)", re.ASCII)
_MAX_GPUS = 1_000_000


def parse_gpus(text: str) -> tuple[Node, ...]:
    """Read groups of GPUs, such as ``8x80GiB,4xH100-SXM-80GB``.

    Parameters
    ----------
    text
        Groups apart by commas; each a count, ``x``, and usable memory or a type that the
        catalogue knows. The count may be left out for 1.

    Returns
    -------
    tuple of Node
        One node per group, named after its type; bare memory is a type named after itself. A
        group named again gets a number: ``80GiB``, ``80GiB-2``.

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
            count, kind, memory = _group(group.strip())
        except InputError as error:
            if error.source:  # the user's own catalogue is wrong, not this text
                raise
            faults.append(Fault(error.faults[0].message, f"gpus[{index}]"))
            continue
        total += count
        if total > _MAX_GPUS:
            faults.append(Fault(f"these are more than {_MAX_GPUS:,} GPUs", f"gpus[{index}]"))
            break
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        nodes.append(Node(name, tuple(GPU(f"{name}/{i}", kind, memory) for i in range(count))))
    if faults:
        raise InputError(faults)
    return tuple(nodes)


def _group(text: str) -> tuple[int, str, int]:
    """Return the count, type and memory of one group."""
    match = _GROUP.fullmatch(text)
    if match is None:
        raise InputError(f"{shown(text)} is no group of GPUs; write it like 8x80GiB")
    count, kind = int(match[1] or 1), match[2]
    if count == 0:
        raise InputError(f"{shown(text)} counts no GPU; write at least 1")
    if kind[0].isdigit() or kind[0] in ".+-":
        try:
            memory = parse_bytes(kind)
        except UnitError as error:
            raise InputError(error.faults[0].message) from None
        if memory == 0:
            raise InputError(f"{shown(text)} has no memory")
        return count, kind, memory
    fact = gpu_type(kind)
    return count, fact.name, fact.memory_bytes
