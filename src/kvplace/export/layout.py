"""Layout: a placement as engine processes on hosts, the same for every runtime."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import GPUEvaluation, evaluate
from kvplace.core.evaluation.static_split import kv_parts
from kvplace.core.hardware import Node
from kvplace.core.launch import ENGINES
from kvplace.core.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.names import check_text, digits_of, labels, unique_names

__all__ = ["BASE_PORT", "Engine", "Group", "Host", "Layout", "kept_parts", "lay_out"]

BASE_PORT = 20000
"""First port of the engines of a host."""
_PORTS = 1000


@dataclass(frozen=True, slots=True)
class Engine:
    """One replica as a process: what every runtime needs to know to start it.

    Parameters
    ----------
    label
        Unique in the layout, a DNS label.
    served_name
        What clients call it: the model's name, and for further copies one of their own.
    model, replica
        What it runs.
    gpus
        Ids of its GPUs in rank order.
    indices
        Their numbers on the host, in rank order.
    port
        Unique on its host.
    footprint_bytes
        Weights and overhead on each of its GPUs.
    kv_bytes
        Its part of each GPU's KV memory under a static split.
    memory_bytes
        Usable memory of the smallest of its GPUs.
    """

    label: str
    served_name: str
    model: Model
    replica: Replica
    gpus: tuple[str, ...]
    indices: tuple[int, ...]
    port: int
    footprint_bytes: int
    kv_bytes: int
    memory_bytes: int

    @property
    def degree(self) -> int:
        """Tensor parallel degree."""
        return len(self.gpus)

    @property
    def source(self) -> str:
        """Where its weights come from; never taken for an option of a command line."""
        source = self.model.launch.source or self.model.name
        return f"./{source}" if source.startswith("-") else source


@dataclass(frozen=True, slots=True)
class Group:
    """GPUs of one host that share engines, directly or through others: the unit of a pod.

    Parameters
    ----------
    label
        Unique in the layout.
    gpus
        Evaluations of its GPUs, in the host's order.
    indices
        Their numbers on the host.
    engines
        In the order in which they start.
    """

    label: str
    gpus: tuple[GPUEvaluation, ...]
    indices: tuple[int, ...]
    engines: tuple[Engine, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """A node that runs something.

    Parameters
    ----------
    label
        Unique in the layout.
    node
        The node.
    groups
        Its groups, by their first GPU.
    """

    label: str
    node: Node
    groups: tuple[Group, ...]

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines, group by group, in the order in which they start."""
        return tuple(engine for group in self.groups for engine in group.engines)

    def waves(self) -> list[list[Engine]]:
        """Return engines that may start together: no two of a wave share a GPU."""
        next_wave: dict[str, int] = {}
        waves: list[list[Engine]] = []
        for engine in self.engines:
            at = max(next_wave.get(gpu, 0) for gpu in engine.gpus)
            while len(waves) <= at:
                waves.append([])
            waves[at].append(engine)
            next_wave |= dict.fromkeys(engine.gpus, at + 1)
        return waves


@dataclass(frozen=True, slots=True)
class Layout:
    """All hosts that run something.

    Parameters
    ----------
    problem
        What is served.
    hosts
        In the order of the fleet.
    """

    problem: Problem
    hosts: tuple[Host, ...]

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines."""
        return tuple(engine for host in self.hosts for engine in host.engines)


def lay_out(
    problem: Problem,
    placement: Placement,
    base_port: int = BASE_PORT,
    kept: Mapping[tuple[str, int], int] | None = None,
) -> Layout:
    """Evaluate a placement again and lay it out as processes.

    Parameters
    ----------
    problem, placement
        What was decided.
    base_port
        First port of the engines of each host.
    kept
        KV bytes that replicas have now, by model and number: they keep them where that holds, as
        in `kvplace.core.evaluation.static_split.kv_parts`.

    Raises
    ------
    InputError
        The placement is not valid, a name cannot be launched, or there are too few ports.
    """
    evaluation = evaluate(problem, placement)
    if not evaluation.valid:
        raise InputError([violation.message for violation in evaluation.violations], "placement")
    for model in problem.models:
        check_text(model.name, "a model's name")
        check_text(model.launch.source or model.name, f"the source of {model.name!r}")
        if model.launch.engine not in ENGINES:
            raise InputError(f"{model.name!r} asks for the unknown engine {model.launch.engine!r}")
    gpus = {gpu.id: gpu for gpu in evaluation.gpus}
    kv_bytes = kv_parts(evaluation.gpus, kept)
    footprint = {
        (shard.model, shard.replica): shard.weights_bytes
        for gpu in evaluation.gpus
        for shard in gpu.shards
    }
    replicas = list(placement)
    # By number, so that a copy keeps its name while others come and go; one always bears the
    # model's own.
    first = {replica.model: replica.index for replica in reversed(replicas)}
    wanted = [(r.model, 0 if r.index == first[r.model] else r.index) for r in replicas]
    served = unique_names(wanted, problem.index_of)
    label_of = labels(served)
    node_labels = labels(check_text(node.name, "a node's name") for node in problem.fleet.nodes)
    hosts = []
    for node in problem.fleet.nodes:
        here = [
            (replica, name)
            for replica, name in zip(replicas, served, strict=True)
            if problem.fleet.node_of(replica.gpus[0]) is node
        ]
        if not here:
            continue
        ports = _ports([name for _, name in here], base_port, node.name)
        index = {gpu.id: number for number, gpu in enumerate(node.gpus)}
        engines = []
        for replica, name in here:
            engines.append(
                Engine(
                    label=label_of[name],
                    served_name=name,
                    model=problem.models[problem.index_of[replica.model]],
                    replica=replica,
                    gpus=replica.gpus,
                    indices=tuple(index[gpu] for gpu in replica.gpus),
                    port=ports[name],
                    footprint_bytes=footprint[replica.model, replica.index],
                    kv_bytes=kv_bytes[replica.model, replica.index],
                    memory_bytes=min(gpus[gpu].memory_bytes for gpu in replica.gpus),
                )
            )
        groups = _groups(node_labels[node.name], node, engines, gpus)
        hosts.append(Host(node_labels[node.name], node, groups))
    return Layout(problem, tuple(hosts))


def kept_parts(running: Layout, placement: Placement) -> dict[tuple[str, int], int]:
    """Return the KV bytes of engines that run and stay where they are under a placement."""
    stays = set(placement)
    return {
        (engine.replica.model, engine.replica.index): engine.kv_bytes
        for engine in running.engines
        if engine.replica in stays
    }


def _groups(
    label: str, node: Node, engines: list[Engine], gpus: Mapping[str, GPUEvaluation]
) -> tuple[Group, ...]:
    """Return the GPUs that engines tie together; within a group the largest engine starts first."""
    root = {gpu.id: gpu.id for gpu in node.gpus}

    def find(gpu: str) -> str:
        while root[gpu] != gpu:
            root[gpu] = root[root[gpu]]
            gpu = root[gpu]
        return gpu

    for engine in engines:
        for gpu in engine.gpus[1:]:
            root[find(gpu)] = find(engine.gpus[0])
    number = {gpu.id: index for index, gpu in enumerate(node.gpus)}
    members: dict[str, list[str]] = {}
    for device in node.gpus:
        members.setdefault(find(device.id), []).append(device.id)
    groups = []
    for ids in members.values():
        held = [engine for engine in engines if engine.gpus[0] in ids]
        if not held:
            continue
        held.sort(key=lambda engine: (-engine.degree, -engine.footprint_bytes, engine.label))
        indices = tuple(number[gpu] for gpu in ids)
        # Numbers of the GPUs name the group; long lists of them are told apart by a digest.
        text = "-".join(map(str, indices))
        text = text if len(text) <= 18 else f"{indices[0]}-{digits_of(text)}"
        groups.append(
            Group(f"{label}-g{text}", tuple(gpus[gpu] for gpu in ids), indices, tuple(held))
        )
    return tuple(groups)


def _ports(names: list[str], base: int, node: str) -> dict[str, int]:
    """Return a port per served name, from the name alone as far as it goes.

    So an engine keeps its port while others come and go, and a plan that moves one model restarts
    no other.
    """
    span = max(_PORTS, 2 * len(names))
    if base < 1024 or base + span > 65536:
        raise InputError(
            f"{len(names)} engines on {node!r} need the ports {base} to {base + span - 1}; "
            "they must be from 1024 to 65535"
        )
    taken: dict[int, str] = {}
    for name in names:
        port = int(digits_of(name), 16) % span
        while port in taken:
            port = (port + 1) % span
        taken[port] = name
    return {name: base + port for port, name in taken.items()}
