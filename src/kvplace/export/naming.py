"""What engines are called and where they listen: the same for a replica while it stays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvplace.core.hardware import Fleet
from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Replica
from kvplace.errors import InputError
from kvplace.export.names import LABEL_LIMIT, digits_of, labels, unique_names

BASE_PORT = 20000
"""First port of the engines of a host."""
_PORTS = 1000
_LAST_PORT = 65535

Key = tuple[str, int]
"""A model and the number of its copy."""


@dataclass(frozen=True, slots=True)
class Named:
    """A replica with the names of its engine.

    Parameters
    ----------
    served
        What clients call it.
    engine
        Its label and port.
    """

    served: str
    engine: EngineName


def name_engines(
    fleet: Fleet,
    replicas: Iterable[Replica],
    models: Iterable[str],
    base_port: int = BASE_PORT,
    kept: Mapping[Key, EngineName] | None = None,
    others: Iterable[tuple[str, EngineName]] = (),
) -> dict[Key, Named]:
    """Name the engines of replicas.

    Parameters
    ----------
    fleet
        Whose GPUs they are on; replicas on other GPUs are left out.
    replicas
        In any order.
    models
        Names that no further copy may be served under.
    base_port
        First port of the engines of each host.
    kept
        Names that engines have and keep, by model and number, with ports counted from
        `BASE_PORT`; they are shifted to `base_port`.
    others
        Nodes and names of engines that run beside them, with ports in the same way: nobody else
        gets these.

    Raises
    ------
    InputError
        There are too few ports, or two engines are to keep one label, or one port of a node.
    """
    kept = kept or {}
    here = [r for r in replicas if all(map(fleet.gpu, r.gpus))]
    # By number, so that a copy keeps its name while others come and go; one always bears the
    # model's own.
    first = {replica.model: replica.index for replica in reversed(here)}
    wanted = [(r.model, 0 if r.index == first[r.model] else r.index) for r in here]
    served = unique_names(wanted, models)
    others = list(others)
    label_of = _labels(here, served, kept, {name.label for _, name in others})
    by_node: dict[str, list[tuple[Replica, str]]] = {}
    for replica, name in zip(here, served, strict=True):
        by_node.setdefault(_node(fleet, replica), []).append((replica, name))
    found: dict[Key, Named] = {}
    for node, mine in by_node.items():
        held = {name.port for at, name in others if at == node}
        ports = _ports(mine, base_port, node, kept, held)
        for replica, name in mine:
            key = (replica.model, replica.index)
            found[key] = Named(name, EngineName(label_of[key], ports[key] + base_port))
    return found


def beside(
    fleet: Fleet,
    running: Mapping[Replica, EngineName],
    wanted: Sequence[Replica],
    models: Iterable[str],
    base_port: int = BASE_PORT,
) -> dict[Key, Named]:
    """Name the engines of a placement that are started while those of another still run.

    Who stays keeps its names; who comes gets none that an engine beside it has.
    """
    kept = {(r.model, r.index): running[r] for r in wanted if r in running}
    others = [
        (_node(fleet, replica), name)
        for replica, name in running.items()
        if (replica.model, replica.index) not in kept and fleet.gpu(replica.gpus[0])
    ]
    return name_engines(fleet, wanted, models, base_port, kept, others)


def _node(fleet: Fleet, replica: Replica) -> str:
    return fleet.domain(replica.gpus[0], "node") or ""


def _labels(
    replicas: Sequence[Replica],
    served: Sequence[str],
    kept: Mapping[Key, EngineName],
    others: set[str],
) -> dict[Key, str]:
    """Return a label for each replica; one that is taken gets a further letter."""
    plain = labels(served)
    keys = [(replica.model, replica.index) for replica in replicas]
    found = {key: kept[key].label for key in keys if key in kept}
    _refuse_twins(found, "the label")
    taken = others | set(found.values())
    for key, name in zip(keys, served, strict=True):
        if key in found:
            continue
        label, number = plain[name], ord("b")
        while label in taken:
            end = f"-{chr(number)}" if number <= ord("z") else f"-{digits_of(f'{label}{number}')}"
            label = plain[name][: LABEL_LIMIT - len(end)].rstrip("-") + end
            number += 1
        taken.add(label)
        found[key] = label
    return found


def _ports(
    replicas: Sequence[tuple[Replica, str]],
    base: int,
    node: str,
    kept: Mapping[Key, EngineName],
    held: set[int],
) -> dict[Key, int]:
    """Return a port per replica, less the first, from its served name alone as far as it goes.

    So an engine keeps its port while others come and go, and a plan that moves one model restarts
    no other.
    """
    span = max(_PORTS, 2 * (len(replicas) + len(held)))
    if base < 1024 or base + span > _LAST_PORT + 1:
        raise InputError(
            f"{len(replicas)} engines on {node!r} need the ports {base} to {base + span - 1}; "
            "they must be from 1024 to 65535"
        )
    found = {(r.model, r.index): kept[r.model, r.index].port - BASE_PORT
             for r, _ in replicas if (r.model, r.index) in kept}  # fmt: skip
    _refuse_twins({key: port + BASE_PORT for key, port in found.items()}, f"on {node!r} the port")
    taken = {port - BASE_PORT for port in held} | set(found.values())
    for replica, name in replicas:
        key = (replica.model, replica.index)
        if key in found:
            continue
        offset = int(digits_of(name), 16) % span
        while offset in taken:
            offset = (offset + 1) % span
        found[key] = offset
        taken.add(offset)
    return found


def _refuse_twins(kept: Mapping[Key, str | int], what: str) -> None:
    """Refuse names that several engines are to keep, each of which must be one engine's."""
    first: dict[str | int, Key] = {}
    for key, name in kept.items():
        other = first.setdefault(name, key)
        if other != key:
            pair = " and ".join(f"copy {index} of {model!r}" for model, index in (other, key))
            raise InputError(f"engine_names: {pair} are both to keep {what} {name}")
