"""Runtimes that start several engines as one: a pod of a group of GPUs, a node, a configuration.

A unit changes at one time: whatever runs in it stops, then whatever is to run there starts. So
the order of a proposal becomes an order of units, and what serves nobody meanwhile is named.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kvplace.core.placement import Replica
from kvplace.export.layout import Engine, Host, group_label, tied
from kvplace.export.runbook.transition import Running, Transition


@dataclass(frozen=True, slots=True)
class Unit:
    """Engines that start and stop together.

    Parameters
    ----------
    label
        As the export of a layout names it.
    host
        Where it is.
    gpus
        Ids of its GPUs.
    engines
        What is to run there; empty where nothing is.
    running
        What runs there.
    """

    label: str
    host: Host
    gpus: tuple[str, ...]
    engines: tuple[Engine, ...] = ()
    running: tuple[Running, ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """A change of one unit.

    Parameters
    ----------
    unit
        What is to be.
    replaced
        Units of now whose GPUs it takes, itself included where it is one of them.
    down
        Models of which nobody serves from here until they are started, here or later.
    """

    unit: Unit
    replaced: tuple[Unit, ...]
    down: tuple[str, ...] = field(default=())


def restarts_by_group(transition: Transition, *, parts: bool) -> list[Restart]:
    """Return the changes of groups of GPUs, in order.

    Parameters
    ----------
    transition
        From what to what.
    parts
        Whether another part of the KV memory is another engine.
    """
    old = [unit for host in transition.hosts.values() for unit in _old_groups(transition, host)]
    new = [
        Unit(group.label, host, tuple(gpu.id for gpu in group.gpus), group.engines)
        for host in transition.target.hosts
        for group in host.groups
    ]
    return _ordered(transition, old, new, parts=parts)


def restarts_by_node(transition: Transition, *, parts: bool) -> list[Restart]:
    """Return the changes of nodes, in order; parameters as of `restarts_by_group`."""
    old, new = [], []
    for host in transition.hosts.values():
        gpus = tuple(gpu.id for gpu in host.node.gpus)
        running = tuple(r for r in transition.running.values() if r.node == host.node.name)
        if running:
            old.append(Unit(host.label, host, gpus, running=running))
        if host.engines:
            new.append(Unit(host.label, host, gpus, host.engines))
    return _ordered(transition, old, new, parts=parts)


def _old_groups(transition: Transition, host: Host) -> Iterator[Unit]:
    """Yield the groups of GPUs of a node that engines which run tie together."""
    here = [r for r in transition.running.values() if r.node == host.node.name]
    number = {gpu.id: at for at, gpu in enumerate(host.node.gpus)}
    for ids in tied(list(number), [running.part.gpus for running in here]):
        held = tuple(running for running in here if running.part.gpus[0] in ids)
        if held:
            label = group_label(host.label, [number[gpu] for gpu in ids])
            yield Unit(label, host, tuple(ids), running=held)


def _ordered(
    transition: Transition, old: list[Unit], new: list[Unit], *, parts: bool
) -> list[Restart]:
    """Return what changes: what gains by its first step that starts something, then the rest."""
    first: dict[str, int] = {}
    for step in transition.proposal.steps:
        if step.kind == "load":
            for replica in step.replicas:
                for gpu in replica.gpus:
                    first.setdefault(gpu, step.number)
    found = []
    for unit in new:
        replaced = tuple(o for o in old if set(o.gpus) & set(unit.gpus))
        if len(replaced) == 1 and _same(replaced[0], unit, parts=parts):
            continue
        found.append(Restart(unit, replaced))
    taken = {gpu for unit in new for gpu in unit.gpus}
    empty = [o for o in old if not taken & set(o.gpus)]
    found += [Restart(Unit(o.label, o.host, o.gpus), (o,)) for o in empty]
    last = len(transition.proposal.steps) + 1
    found.sort(
        key=lambda r: (min((first.get(g, last) for g in r.unit.gpus), default=last), r.unit.label)
    )
    return list(_with_downtime(transition, found))


def _same(old: Unit, new: Unit, *, parts: bool) -> bool:
    """Whether what runs in a unit is what is to run there."""

    def key(replica: Replica, label: str, port: int, part: int) -> tuple[object, ...]:
        return (replica.model, replica.gpus, label, port, part if parts else 0)

    before = {
        key(Replica(r.part.model, r.part.index, r.part.gpus), r.label, r.port, r.part.kv_bytes)
        for r in old.running
    }
    return before == {key(e.replica, e.label, e.port, e.kv_bytes) for e in new.engines}


def _with_downtime(transition: Transition, restarts: Iterable[Restart]) -> Iterator[Restart]:
    """Yield changes with the models of which nobody serves during each."""
    serving = [(r.part.model, r.part.gpus) for r in transition.running.values()]
    wanted = transition.target.problem.index_of
    for restart in restarts:
        stopped = {(r.part.model, r.part.gpus) for u in restart.replaced for r in u.running}
        serving = [one for one in serving if one not in stopped]
        left = {model for model, _ in serving}
        down = sorted({model for model, _ in stopped if model in wanted} - left)
        yield Restart(restart.unit, restart.replaced, tuple(down))
        serving += [(e.model.name, e.gpus) for e in restart.unit.engines]
