"""Hosts in one line of text, for a new fleet file: ``4x8xH100,2x4x80GiB``."""

from kvplace.formats.fleet.gpu_groups import gpu_groups
from kvplace.scaffold.fleet_text import InitNodes


def gather_nodes(text: str) -> list[InitNodes]:
    """Read hosts from a line such as ``4x8xH100,2x4x80GiB``.

    Raises
    ------
    InputError
        With every fault, its path the group, such as ``nodes[1]``.
    """
    groups: list[InitNodes] = []
    for group in gpu_groups(text, "nodes"):
        name = group.kind.partition("-")[0].lower()
        taken = sum(known.name.partition("-")[0] == name for known in groups)
        name = f"{name}-{taken + 1}" if taken else name
        groups.append(InitNodes(name, group.hosts, group.gpus, group.kind, group.memory_bytes))
    return groups
