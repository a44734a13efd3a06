"""Small problems in whole GiB, for hand-derived answers."""

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.formats.plan.rows import table_text
from kvplace.formats.plan.table import table_of
from tiny import GIB


def fleet(*memories_gib, gpus=1, labels=None):
    """Nodes h0, h1, ... of so many GPUs of that memory, whose type is its size."""
    nodes = []
    for k, gib in enumerate(memories_gib):
        devices = tuple(GPU(f"h{k}/{i}", f"{gib}GiB", gib * GIB) for i in range(gpus))
        nodes.append(Node(f"h{k}", devices, labels[k] if labels else {}))
    return Fleet(tuple(nodes))


def model(name, gib, rate=1.0, **fields):
    """A model of so many GiB without overhead, whose requests load is its rate."""
    fields = {"overhead_bytes": 0, **fields}
    return Model(name, int(gib * GIB), Demand(rate), SLO(latency_seconds=1.0), **fields)


def problem(models, where, *rules):
    """A problem with the load requests."""
    return Problem(tuple(models), where, Objective.REQUESTS, rules)


def rows_of(result):
    """The CSV of a result: one row per shard."""
    return table_text(table_of(result))
