"""What a proposal does to processes, engine by engine, for runtimes that start each by itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Replica
from kvplace.errors import InputError
from kvplace.export.layout import Engine, Group, Host, Layout
from kvplace.export.names import labels
from kvplace.export.naming import BASE_PORT, name_engines
from kvplace.formats.proposal import Proposal, RunningPart
from kvplace.replan.proposal import steps_of
from kvplace.replan.schedule.steps import StepKind

__all__ = ["Deed", "DeedKind", "Running", "Transition", "deeds_of", "transition_of"]


class DeedKind(StrEnum):
    """As `StepKind`, and ``resize``: an engine is started again with another part of the KV."""

    LOAD = "load"
    SWITCH = "switch"
    DRAIN = "drain"
    UNLOAD = "unload"
    RESIZE = "resize"


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that runs, as far as a runbook needs to know it.

    Parameters
    ----------
    label, port
        What it is called and where it listens.
    node
        Name of its node.
    served_name
        What clients call it.
    part
        What the proposal says of it.
    """

    label: str
    port: int
    node: str
    served_name: str
    part: RunningPart


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do.

    Parameters
    ----------
    kind
        What.
    engines
        Engines that are started, or begin to serve.
    running
        Engines that end to serve or are stopped.
    """

    kind: DeedKind
    engines: tuple[Engine, ...] = ()
    running: tuple[Running, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """A proposal with the layouts on both sides.

    Parameters
    ----------
    proposal
        What was approved.
    target
        What is to run in the end.
    running
        What runs, by replica; only what is on GPUs that there are.
    hosts
        Every node with its label, by name; with the engines of the target where it has any.
    """

    proposal: Proposal
    target: Layout
    running: Mapping[Replica, Running]
    hosts: Mapping[str, Host]


def transition_of(proposal: Proposal, target: Layout) -> Transition:
    """Put a proposal and the layout of its plan together."""
    problem = target.problem
    parts = {
        Replica(part.model, part.index, part.gpus): part
        for part in proposal.current
        if all(map(problem.fleet.gpu, part.gpus))
    }
    shift = target.base_port - BASE_PORT
    kept = {
        (r.model, r.index): EngineName(part.label, part.port)
        for r, part in parts.items()
        if part.label and part.port
    }
    taken = {*problem.index_of, *(replica.model for replica in parts)}
    named = name_engines(problem.fleet, parts, taken, target.base_port, kept)
    running = {}
    for replica, part in parts.items():
        name = named[replica.model, replica.index]
        node = problem.fleet.domain(replica.gpus[0], "node") or ""
        port = part.port + shift if part.port else name.engine.port
        running[replica] = Running(name.engine.label, port, node, name.served, part)
    node_labels = labels(node.name for node in problem.fleet.nodes)
    empty = {n.name: Host(node_labels[n.name], n, ()) for n in problem.fleet.nodes}
    return Transition(
        proposal, target, running, empty | {host.node.name: host for host in target.hosts}
    )


def deeds_of(transition: Transition) -> list[Deed]:
    """Return what the steps of a proposal do, in their order.

    Raises
    ------
    InputError
        A step stops what does not run, or starts what is not in the plan.
    """
    known = dict(transition.running)
    finally_ = {engine.replica: engine for engine in transition.target.engines}
    started: dict[Replica, Engine] = {}
    deeds = []
    for step in steps_of(transition.proposal):
        come = [r for r in step.replicas if step.kind in (StepKind.LOAD, StepKind.SWITCH)]
        gone = step.replaced if step.kind is StepKind.SWITCH else step.replicas
        if step.kind is StepKind.LOAD:
            gone = ()
        for replica in come:
            if replica not in started:
                started[replica] = finally_.get(replica) or _parked(transition, replica)
                known[replica] = _as_running(started[replica], transition)
        missing = [replica for replica in gone if replica not in known]
        if missing:
            raise InputError(
                f"step {step.number} stops {missing[0].model!r} on {', '.join(missing[0].gpus)}, "
                "which does not run there",
                "proposal",
            )
        deeds.append(
            Deed(
                DeedKind(step.kind.value),
                tuple(started[r] for r in come),
                tuple(known[r] for r in gone),
            )
        )
    return deeds


def _parked(transition: Transition, replica: Replica) -> Engine:
    """Return the engine of a replica that is somewhere only for a while."""
    final = next(
        (e for e in transition.target.engines
         if (e.replica.model, e.replica.index) == (replica.model, replica.index)),
        None,
    )  # fmt: skip
    if final is None:
        raise InputError(f"{replica.model!r} is started and is not in the plan", "proposal")
    fleet = transition.target.problem.fleet
    node = fleet.node_of(replica.gpus[0])
    assert node is not None
    numbers = {gpu.id: at for at, gpu in enumerate(node.gpus)}
    others = {r.port for r in transition.running.values()}
    others |= {engine.port for engine in transition.target.engines}
    port = final.port
    while port in others:
        port += 1
    memory = [gpu.usable_bytes for gpu in node.gpus if gpu.id in replica.gpus]
    degree = len(replica.gpus)
    return replace(
        final,
        label=f"{final.label[:34].rstrip('-')}-parked",
        replica=replica,
        gpus=replica.gpus,
        indices=tuple(numbers[gpu] for gpu in replica.gpus),
        port=port,
        kv_bytes=min(final.kv_bytes, max(final.model.least_kv_bytes(degree), 2**30)),
        memory_bytes=min(memory),
    )


def _as_running(engine: Engine, transition: Transition) -> Running:
    """Return an engine that was started as one that runs."""
    node = transition.target.problem.fleet.domain(engine.gpus[0], "node") or ""
    part = RunningPart(
        model=engine.replica.model,
        replica=engine.replica.index,
        gpus=engine.gpus,
        label=engine.label,
        port=engine.port,
        footprint_bytes=engine.footprint_bytes,
        kv_bytes=engine.kv_bytes,
    )
    return Running(engine.label, engine.port, node, engine.served_name, part)


def group_of(transition: Transition, engine: Engine) -> Group | None:
    """Return the group of GPUs of the target that an engine is in."""
    return next(
        (g for host in transition.target.hosts for g in host.groups if engine in g.engines), None
    )


def starts(deeds: Iterable[Deed]) -> list[Engine]:
    """Return the engines that are started, in order."""
    return [engine for deed in deeds if deed.kind is DeedKind.LOAD for engine in deed.engines]
