"""The placement that a deployment runs now, as the CSV form of a plan."""

import csv
import io
from collections import Counter
from collections.abc import Mapping

from kvplace.errors import Fault, InputError
from kvplace.formats.plan.csv import COLUMNS
from kvplace.scaffold.deployment import Deployment
from kvplace.scaffold.fleet_text import InitNodes

__all__ = ["running_table"]


def running_table(deployment: Deployment, host: InitNodes, names: Mapping[str, str]) -> str:
    """Return one row per shard that runs now; what it takes is left empty.

    Parameters
    ----------
    deployment
        What runs, on one host.
    host
        The group whose first host that is.
    names
        Name in the fleet file of each of the deployment's models.

    Raises
    ------
    InputError
        An instance does not tell its GPUs, or names one that the host lacks.
    """
    node = f"{host.name}-0"
    faults: list[Fault] = []
    copies: Counter[str] = Counter()
    rows = []
    for instance in deployment.instances:
        if instance.model not in names:
            continue
        name = names[instance.model]
        outside = [gpu for gpu in instance.gpus or () if gpu >= host.gpus]
        if instance.gpus is None:
            message = "it does not say on which GPUs it runs, so its place is not known"
            faults.append(Fault(message, instance.name))
        elif outside:
            message = f"it uses GPU {outside[0]}, and {node!r} has {host.gpus} from 0"
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
    writer.writerows(sorted(rows))
    return text.getvalue()
