"""Places: some GPUs of a fleet, by name, by node or by label."""

from collections.abc import Iterator
from dataclasses import dataclass

from kvplace.core.hardware import Fleet
from kvplace.errors import InputError
from kvplace.field_types import hold_types


@dataclass(frozen=True, slots=True)
class Places:
    """Some GPUs of a fleet: those named, those of nodes named, and those of nodes so labelled.

    Parameters
    ----------
    gpus, nodes
        Ids and names.
    labels
        Pairs of label and value, all of which a node must have.
    """

    gpus: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        hold_types(self)
        if len(dict(self.labels)) < len(self.labels):
            raise InputError(f"each label once in {_pairs(self.labels)}")

    def __contains__(self, at: tuple[Fleet, str]) -> bool:
        fleet, gpu_id = at
        if gpu_id in self.gpus:
            return True
        node = fleet.node_of(gpu_id)
        if node is None:
            return False
        labelled = bool(self.labels) and all(node.labels.get(k) == v for k, v in self.labels)
        return labelled or node.name in self.nodes

    def of(self, fleet: Fleet) -> frozenset[str]:
        """Return the ids of those that the fleet has."""
        found = {gpu for gpu in self.gpus if fleet.gpu(gpu) is not None}
        named = set(self.nodes)
        for node in fleet.nodes:
            labelled = self.labels and all(node.labels.get(k) == v for k, v in self.labels)
            if labelled or node.name in named:
                found.update(gpu.id for gpu in node.gpus)
        return frozenset(found)

    def unknown(self, fleet: Fleet) -> Iterator[str]:
        """Yield a sentence for each name that the fleet does not have."""
        nodes = {node.name for node in fleet.nodes}
        yield from (f"there is no GPU {gpu!r}" for gpu in self.gpus if fleet.gpu(gpu) is None)
        like = f"; nodes are named like {fleet.nodes[0].name!r}"
        yield from (f"there is no node {node!r}{like}" for node in self.nodes if node not in nodes)
        wanted = dict(self.labels)
        if wanted and not any(wanted.items() <= dict(n.labels).items() for n in fleet.nodes):
            yield f"no node has the labels {_pairs(self.labels)}"

    def __str__(self) -> str:
        parts = [*self.gpus, *(f"node {node}" for node in self.nodes)]
        if self.labels:
            parts.append(f"nodes with {_pairs(self.labels)}")
        return " or ".join(parts) if parts else "everywhere"


EVERYWHERE = Places()
"""No GPUs named, which stands for all of them where a rule may leave its places out."""


def _pairs(labels: tuple[tuple[str, str], ...]) -> str:
    return " and ".join(f"{key}={value}" for key, value in labels)
