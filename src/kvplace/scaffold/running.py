"""The placement that a deployment runs now, and the GPUs that something else holds."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence

from kvplace.errors import Fault, InputError
from kvplace.formats.plan.table import COLUMNS
from kvplace.formats.text.cells import safe_cell
from kvplace.scaffold.deployments.deployment import Deployment, Instance, Unread
from kvplace.scaffold.fleet_text import InitNodes


def running_table(
    deployment: Deployment, groups: Sequence[InitNodes], names: Mapping[str, str]
) -> str:
    """Return one row per shard that runs now; what it takes is left empty.

    Parameters
    ----------
    deployment
        What runs.
    groups
        The hosts: the first is the one of a file that names none; hosts of other names are
        taken in the order in which the file names them.
    names
        Name in the fleet file of each of the deployment's models.

    Raises
    ------
    InputError
        An instance does not tell its GPUs, or names one that the host lacks.
    """
    hosts = _hosts(deployment, groups)
    faults: list[Fault] = []
    copies: Counter[str] = Counter()
    rows = []
    for instance in deployment.instances:
        if instance.model not in names:
            continue
        name = names[instance.model]
        node, size = hosts.get(instance.host, ("", 0))
        outside = [gpu for gpu in instance.gpus or () if gpu >= size]
        if instance.gpus is None:
            message = "it does not say on which GPUs it runs, so leave out --current"
            faults.append(Fault(message, instance.name))
        elif not node:
            message = f"it runs on the host {instance.host!r}, and --nodes has no host left for it"
            faults.append(Fault(message, instance.name))
        elif outside:
            message = f"it uses GPU {outside[0]}, and {node!r} has {size} from 0"
            faults.append(Fault(message, instance.name))
        else:
            rows += [
                (name, copies[name], shard, node, f"{node}/{gpu}", "", "")
                for shard, gpu in enumerate(instance.gpus)
            ]
            copies[name] += 1
    if faults:
        raise InputError(faults)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([safe_cell(str(cell)) for cell in row] for row in sorted(rows))
    return text.getvalue()


def held_gpus(
    deployment: Deployment, unread: Sequence[Unread], groups: Sequence[InitNodes]
) -> list[str]:
    """Return the ids of the GPUs that are to be kept for what is not understood.

    Where the file does not tell them, the last GPUs that nothing else is known to use are taken,
    as many as are asked for, and one where not even that is told.

    Raises
    ------
    InputError
        The hosts have too few GPUs.
    """
    hosts = _hosts(deployment, groups)
    every = [f"{node}/{gpu}" for node, size in dict.fromkeys(_nodes(groups)) for gpu in range(size)]
    taken = {
        f"{hosts[instance.host][0]}/{gpu}"
        for instance in deployment.instances
        for gpu in instance.gpus or ()
        if instance.host in hosts
    }
    held: dict[str, None] = {}
    for entry in unread:
        node = hosts.get(entry.host, ("", 0))[0]
        for gpu in entry.gpus or ():
            held[f"{node}/{gpu}"] = None
    for entry in (entry for entry in unread if not entry.gpus):
        free = [gpu for gpu in every if gpu not in taken and gpu not in held]
        wanted = entry.count or 1
        if len(free) < wanted:
            raise InputError(
                f"it holds {wanted} GPUs, and only {len(free)} are not known to be in use; "
                "write more hosts into --nodes",
                entry.name,
            )
        held |= dict.fromkeys(free[-wanted:])
    outside = sorted(held.keys() - set(every))
    if outside:
        raise InputError(f"there is no GPU {', '.join(outside)} in --nodes")
    return [gpu for gpu in every if gpu in held]


def _nodes(groups: Sequence[InitNodes]) -> list[tuple[str, int]]:
    """Return name and GPUs of every host."""
    return [(f"{group.name}-{n}", group.gpus) for group in groups for n in range(group.count)]


def _hosts(
    deployment: Deployment, groups: Sequence[InitNodes]
) -> dict[str | None, tuple[str, int]]:
    """Return the host of --nodes that each host of a file is, with its GPUs."""
    nodes = _nodes(groups)
    known = dict(nodes)
    entries: list[Instance | Unread] = [*deployment.instances, *deployment.unread]
    named = [host for host in dict.fromkeys(entry.host for entry in entries) if host is not None]
    found: dict[str | None, tuple[str, int]] = {None: nodes[0]}
    found |= {host: (host, known[host]) for host in named if host in known}
    left = [node for node in nodes if node[0] not in found]
    for host, node in zip((h for h in named if h not in found), left, strict=False):
        found[host] = node
    return found
