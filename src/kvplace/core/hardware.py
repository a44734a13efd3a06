"""GPU, Node, Fleet: what there is to place on."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain, repeat
from operator import attrgetter, sub

from kvplace.core.columns import filled
from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types


@dataclass(frozen=True, slots=True)
class GPU:
    """A device with usable memory.

    Parameters
    ----------
    id
        Unique in the fleet; files number them ``node/index``, such as ``h200-0/3``.
    type
        Name of the hardware, such as ``H200-SXM-141GB``.
    memory_bytes
        What a process can allocate, not the size on the box.
    reserve_bytes
        Kept for others; not used for weights nor for KV cache.
    link
        Name of its link domain within the node; all GPUs of a node are one by default.
    resources
        Further additive capacities that its shards share, by name.
    price_per_hour
        What it costs while it is in use, in any one currency; None where not given.
    watts
        What it draws at most; None where not given.
    """

    id: str
    type: str
    memory_bytes: int
    reserve_bytes: int = 0
    link: str = ""
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    price_per_hour: float | None = None
    watts: float | None = None

    def __post_init__(self) -> None:
        hold_types(self)
        if self.memory_bytes <= 0:
            raise InputError(f"GPU {self.id!r} has {self.memory_bytes} bytes; it needs more than 0")
        if not 0 <= self.reserve_bytes < self.memory_bytes:
            raise InputError(
                f"GPU {self.id!r} reserves {self.reserve_bytes} of its {self.memory_bytes} bytes; "
                "the reserve must be at least 0 and less than the memory"
            )
        if self.resources:  # few have any, and there may be a million
            _check_amounts(f"GPU {self.id!r}", self.resources)
        if self.price_per_hour is self.watts is None:
            return
        counted = {"price_per_hour": self.price_per_hour, "watts": self.watts}
        for name, amount in counted.items():
            if amount is not None and not 0 < amount < math.inf:
                raise InputError(f"GPU {self.id!r} has {name} {amount!r}; it must be above 0")

    @property
    def usable_bytes(self) -> int:
        """Memory for weights and KV cache: memory less the reserve."""
        return self.memory_bytes - self.reserve_bytes


def alike(gpu: GPU, ids: Sequence[str]) -> tuple[GPU, ...]:
    """Return GPUs that are like one but for their ids; a million take less than a second."""
    columns = {one.name: repeat(getattr(gpu, one.name)) for one in fields(GPU)}
    # What was checked of one holds of all.
    return tuple(filled(GPU, len(ids), columns | {"id": ids}))


@dataclass(frozen=True, slots=True)
class Node:
    """A host whose GPUs share a fast link.

    Parameters
    ----------
    name
        Unique in the fleet.
    gpus
        Its devices, in the order of the host's own numbering.
    labels
        Topology and other facts, such as ``{"zone": "a"}``.
    resources
        Further additive capacities that the shards on all its GPUs share, by name.
    """

    name: str
    gpus: tuple[GPU, ...]
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        hold_types(self)
        _check_amounts(f"node {self.name!r}", self.resources)

    @property
    def shape(self) -> Hashable:
        """What makes nodes alike: equal GPUs, links and resources. Names and labels may differ."""
        gpus = tuple(
            (g.type, g.memory_bytes, g.reserve_bytes, g.link, tuple(sorted(g.resources.items())))
            for g in self.gpus
        )
        return gpus, tuple(sorted(self.resources.items()))

    @property
    def contents(self) -> str:
        """Its GPUs by type, such as ``8 x H100-SXM-80GB``."""
        types = Counter(gpu.type for gpu in self.gpus)
        return ", ".join(f"{number} x {kind}" for kind, number in types.items())


@dataclass(frozen=True, slots=True)
class Fleet:
    """All nodes.

    Parameters
    ----------
    nodes
        At least one, together with at least one GPU; names and GPU ids are unique.

    Attributes
    ----------
    gpus
        The GPUs of all nodes.
    position
        Position in `gpus` of each GPU, by its id.

    Raises
    ------
    InputError
        A name or an id occurs twice, there is no GPU, or something is no node.
    """

    nodes: tuple[Node, ...]
    gpus: tuple[GPU, ...] = field(init=False, compare=False, repr=False)
    _node_of: dict[str, Node] = field(init=False, compare=False, repr=False)
    position: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        hold_types(self)
        gpus = tuple(chain.from_iterable(node.gpus for node in self.nodes))
        ids = [gpu.id for gpu in gpus]
        position = dict(zip(ids, range(len(ids)), strict=True))
        faults = [f"two nodes are named {name!r}" for name in _twice(n.name for n in self.nodes)]
        if len(position) < len(ids):
            faults += (f"two GPUs have the id {gpu!r}" for gpu in _twice(ids))
        if not gpus:
            faults.append("the fleet has no GPU")
        if faults:
            raise InputError([Fault(f, "nodes") for f in faults])
        object.__setattr__(self, "gpus", gpus)
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "_node_of", {})

    @property
    def usable_bytes(self) -> list[int]:
        """Usable memory of each GPU."""
        whole, kept = attrgetter("memory_bytes"), attrgetter("reserve_bytes")
        return list(map(sub, map(whole, self.gpus), map(kept, self.gpus)))

    def gpu(self, gpu_id: str) -> GPU | None:
        """Return the GPU of that id, or None."""
        at = self.position.get(gpu_id)
        return None if at is None else self.gpus[at]

    def node_of(self, gpu_id: str) -> Node | None:
        """Return the node that holds the GPU of that id, or None."""
        return self._nodes_by_gpu().get(gpu_id)

    def domain(self, gpu_id: str, key: str) -> str | None:
        """Return the topology domain of a GPU, or None where it is in none.

        Parameters
        ----------
        gpu_id
            A GPU of the fleet.
        key
            ``gpu``, ``link``, ``node``, or the name of a label of nodes.
        """
        if key == "gpu":
            return gpu_id
        node = self._nodes_by_gpu()[gpu_id]
        if key == "node":
            return node.name
        if key == "link":
            return f"{node.name}/{self.gpus[self.position[gpu_id]].link}"
        return node.labels.get(key)

    def domains(self, key: str) -> list[str | None]:
        """Return what `domain` returns of each GPU, in the order of `gpus`."""
        if key == "gpu":
            return list(self.position)
        if key == "link":
            return [f"{node.name}/{gpu.link}" for node in self.nodes for gpu in node.gpus]
        names = (node.name if key == "node" else node.labels.get(key) for node in self.nodes)
        counts = (len(node.gpus) for node in self.nodes)
        return [*chain.from_iterable(map(repeat, names, counts))]

    def _nodes_by_gpu(self) -> Mapping[str, Node]:
        """Return the node of each GPU; listed at the first call, since not all fleets are asked."""
        if not self._node_of:
            found = {gpu.id: node for node in self.nodes for gpu in node.gpus}
            self._node_of.update(found)  # in one step, whoever else asks meanwhile
        return self._node_of


def usable(gpu: GPU, types: tuple[str, ...]) -> bool:
    """Whether a GPU is of one of some types, or none is asked for."""
    return not types or gpu.type in types


def _check_amounts(holder: str, resources: Mapping[str, float]) -> None:
    """Refuse capacities that are negative or not finite."""
    for name, amount in resources.items():
        if not 0 <= amount < math.inf:
            raise InputError(f"{holder} has {amount!r} of {name!r}; it must be finite, at least 0")


def _twice(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each one time, in order."""
    count: dict[str, int] = {}
    for name in names:
        count[name] = count.get(name, 0) + 1
    return [name for name, times in count.items() if times > 1]
