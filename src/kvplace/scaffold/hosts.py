"""Hosts in one line of text, for a new fleet file: ``4x8xH100,2x4x80GiB``."""

import re

from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.gpus import gpu_kind
from kvplace.scaffold.fleet_text import InitNodes

__all__ = ["gather_nodes"]

_GROUP = re.compile(r"(?:(\d{1,5})\s*[xX]\s*)?(\d{1,3})\s*[xX]\s*(\S.*)", re.ASCII)


def gather_nodes(text: str) -> list[InitNodes]:
    """Read hosts from a line such as ``4x8xH100,2x4x80GiB``.

    A group is a number of hosts (1 where left out), the GPUs in each, and a type of the
    catalogue, the begin of one, or bare memory. A begin that fits several types is taken only
    where all of them have the same memory.

    Raises
    ------
    InputError
        With every fault, its path the group, such as ``nodes[1]``.
    """
    groups: list[InitNodes] = []
    faults: list[Fault] = []
    for index, part in enumerate(text.split(",")):
        match = _GROUP.fullmatch(part.strip())
        if match is None or not int(match[2]) or match[1] == "0":
            message = f"{part.strip()!r} is no group of hosts; write it like 4x8xH100-SXM-80GB"
            faults.append(Fault(message, f"nodes[{index}]"))
            continue
        try:
            kind, memory = gpu_kind(match[3])
        except InputError as error:
            faults.append(Fault(error.faults[0].message, f"nodes[{index}]"))
            continue
        name = kind.partition("-")[0].lower()
        taken = sum(group.name.partition("-")[0] == name for group in groups)
        name = f"{name}-{taken + 1}" if taken else name
        groups.append(InitNodes(name, int(match[1] or 1), int(match[2]), kind, memory))
    if faults:
        raise InputError(faults)
    return groups
