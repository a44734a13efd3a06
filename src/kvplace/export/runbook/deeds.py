"""What a proposal does to processes, engine by engine, for runtimes that start each by itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from kvplace.core.placement import Replica
from kvplace.errors import InputError
from kvplace.export.layout import Engine, Group
from kvplace.export.runbook.transition import Running, Transition
from kvplace.formats.proposal import RunningPart
from kvplace.replan.proposal import steps_of
from kvplace.replan.schedule.steps import StepKind


class DeedKind(StrEnum):
    """As `StepKind`, and ``resize``: an engine is started again with another part of the KV."""

    LOAD = "load"
    SWITCH = "switch"
    DRAIN = "drain"
    UNLOAD = "unload"
    SLEEP = "sleep"
    WAKE = "wake"
    RESIZE = "resize"


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
    again
        The same as engines that can be started, for the way back; None where that is not known.
    leads
        Whether a drain is of engines that requests are still led to.
    slept
        Whether what is stopped sleeps: the way back starts it where it would be woken.
    level
        How deep somebody sleeps.
    """

    kind: DeedKind
    engines: tuple[Engine, ...] = ()
    running: tuple[Running, ...] = ()
    again: tuple[Engine | None, ...] = ()
    leads: bool = False
    slept: bool = False
    level: int = 0


def deeds_of(transition: Transition) -> list[Deed]:
    """Return what the steps of a proposal do, in their order.

    Raises
    ------
    InputError
        A step stops what does not run, or starts what is not in the plan.
    """
    known = dict(transition.running)
    finally_ = {engine.replica: engine for engine in transition.target.engines}
    before = {engine.replica: engine for engine in transition.before.engines}
    started: dict[Replica, Engine] = {}
    led_away: set[Replica] = set()
    asleep: set[Replica] = set()
    deeds = []
    for step in steps_of(transition.proposal):
        starts = (StepKind.LOAD, StepKind.SWITCH)
        come = [r for r in step.replicas if step.kind in starts]
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
                tuple(started.get(r) or before.get(r) for r in gone),
                leads=step.kind is StepKind.DRAIN and not led_away.issuperset(gone),
                level=step.level,
                slept=step.kind is StepKind.UNLOAD and asleep.issuperset(gone),
            )
        )
        if step.kind is StepKind.SLEEP:
            asleep |= set(gone)
        if step.kind is StepKind.SWITCH:
            led_away |= set(step.replaced)
            led_away -= set(come)
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
    if node is None or any(fleet.node_of(gpu) is not node for gpu in replica.gpus):
        where = ", ".join(replica.gpus)
        raise InputError(
            f"{replica.model!r} is started on {where}, no GPUs of one node", "proposal"
        )
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
