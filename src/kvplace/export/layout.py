"""Layout: a placement as engine processes on hosts, the same for every runtime."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, evaluate
from kvplace.core.evaluation.static_split import kv_parts
from kvplace.core.hardware import Node
from kvplace.core.models.launch import ENGINES, EngineName
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.names import check_text, digits_of, labels
from kvplace.export.naming import BASE_PORT, Named, name_engines


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
    base_port
        First port of the engines of each host.
    """

    problem: Problem
    hosts: tuple[Host, ...]
    base_port: int = BASE_PORT

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines."""
        return tuple(engine for host in self.hosts for engine in host.engines)


def lay_out(
    problem: Problem,
    placement: Placement,
    base_port: int = BASE_PORT,
    kept: Mapping[tuple[str, int], int] | None = None,
    names: Mapping[tuple[str, int], EngineName] | None = None,
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
    names
        Labels and ports that engines have now, by model and number, as in
        `kvplace.export.naming.name_engines`: they keep them.

    Raises
    ------
    InputError
        The placement is not valid, a name cannot be launched, or there are too few ports.
    """
    evaluation = evaluate(problem, placement)
    named, parts = names_and_parts(problem, placement, evaluation, base_port, kept, names)
    return Layout(problem, arrange(problem, evaluation, list(placement), parts, named), base_port)


def names_and_parts(
    problem: Problem,
    placement: Placement,
    evaluation: Evaluation,
    base_port: int = BASE_PORT,
    kept: Mapping[tuple[str, int], int] | None = None,
    names: Mapping[tuple[str, int], EngineName] | None = None,
) -> tuple[dict[tuple[str, int], Named], dict[tuple[str, int], int]]:
    """Return names, and KV bytes on each GPU, of the replicas of a placement.

    Parameters and errors are those of `lay_out`.
    """
    if not evaluation.valid:
        raise InputError([violation.message for violation in evaluation.violations], "placement")
    for model in problem.models:
        check_text(model.name, "a model's name")
        check_text(model.launch.source or model.name, f"the source of {model.name!r}")
        if model.launch.engine not in ENGINES:
            raise InputError(f"{model.name!r} asks for the unknown engine {model.launch.engine!r}")
    named = name_engines(problem.fleet, placement, problem.index_of, base_port, names)
    return named, kv_parts(evaluation.gpus, kept)


def arrange(
    problem: Problem,
    evaluation: Evaluation,
    replicas: Sequence[Replica],
    kv_bytes: Mapping[tuple[str, int], int],
    named: Mapping[tuple[str, int], Named],
) -> tuple[Host, ...]:
    """Return the hosts of replicas that have parts and names.

    Parameters
    ----------
    problem, evaluation
        What is served, and what a placement of it is worth; it need not be valid.
    replicas
        Those of the placement.
    kv_bytes, named
        KV bytes on each GPU, and names, of each replica by model and number.
    """
    gpus = {gpu.id: gpu for gpu in evaluation.gpus}
    footprint = {
        (shard.model, shard.replica): shard.weights_bytes
        for gpu in evaluation.gpus
        for shard in gpu.shards
    }
    node_labels = labels(check_text(node.name, "a node's name") for node in problem.fleet.nodes)
    held: dict[str, list[Replica]] = {}
    for replica in replicas:
        held.setdefault(problem.fleet.domain(replica.gpus[0], "node") or "", []).append(replica)
    hosts = []
    for node in problem.fleet.nodes:
        here = held.get(node.name, [])
        if not here:
            continue
        index = {gpu.id: number for number, gpu in enumerate(node.gpus)}
        engines = []
        for replica in here:
            name = named[replica.model, replica.index]
            engines.append(
                Engine(
                    label=name.engine.label,
                    served_name=name.served,
                    model=problem.models[problem.index_of[replica.model]],
                    replica=replica,
                    gpus=replica.gpus,
                    indices=tuple(index[gpu] for gpu in replica.gpus),
                    port=name.engine.port,
                    footprint_bytes=footprint[replica.model, replica.index],
                    kv_bytes=kv_bytes[replica.model, replica.index],
                    memory_bytes=min(gpus[gpu].memory_bytes for gpu in replica.gpus),
                )
            )
        groups = _groups(node_labels[node.name], node, engines, gpus)
        hosts.append(Host(node_labels[node.name], node, groups))
    return tuple(hosts)


def kept_parts(running: Layout, placement: Placement) -> dict[tuple[str, int], int]:
    """Return the KV bytes of engines that run and stay where they are under a placement."""
    stays = set(placement)
    return {
        (engine.replica.model, engine.replica.index): engine.kv_bytes
        for engine in running.engines
        if engine.replica in stays
    }


def kept_names(running: Layout, placement: Placement) -> dict[tuple[str, int], EngineName]:
    """Return the labels and ports of engines that run and stay where they are.

    Ports are counted from `kvplace.export.naming.BASE_PORT`.
    """
    stays = set(placement)
    shift = BASE_PORT - running.base_port
    return {
        (engine.replica.model, engine.replica.index): EngineName(engine.label, engine.port + shift)
        for engine in running.engines
        if engine.replica in stays
    }


def tied(gpus: Sequence[str], engines: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return GPUs in the groups that engines tie together, directly or through others."""
    root = {gpu: gpu for gpu in gpus}

    def find(gpu: str) -> str:
        while root[gpu] != gpu:
            root[gpu] = root[root[gpu]]
            gpu = root[gpu]
        return gpu

    for first, *others in engines:
        for gpu in others:
            root[find(gpu)] = find(first)
    members: dict[str, list[str]] = {}
    for gpu in gpus:
        members.setdefault(find(gpu), []).append(gpu)
    return list(members.values())


def _groups(
    label: str, node: Node, engines: list[Engine], gpus: Mapping[str, GPUEvaluation]
) -> tuple[Group, ...]:
    """Return the GPUs that engines tie together; within a group the largest engine starts first."""
    number = {gpu.id: index for index, gpu in enumerate(node.gpus)}
    groups = []
    for ids in tied([gpu.id for gpu in node.gpus], [engine.gpus for engine in engines]):
        held = [engine for engine in engines if engine.gpus[0] in ids]
        if not held:
            continue
        held.sort(key=lambda engine: (-engine.degree, -engine.footprint_bytes, engine.label))
        indices = tuple(number[gpu] for gpu in ids)
        name = group_label(label, indices)
        groups.append(Group(name, tuple(gpus[gpu] for gpu in ids), indices, tuple(held)))
    return tuple(groups)


def group_label(host: str, indices: Sequence[int]) -> str:
    """Return the label of a group: numbers of its GPUs name it, a digest where they are many."""
    text = "-".join(map(str, indices))
    return f"{host}-g{text if len(text) <= 18 else f'{indices[0]}-{digits_of(text)}'}"
