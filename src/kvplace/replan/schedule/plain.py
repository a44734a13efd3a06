"""The steps that operations consist of, and which copies sleep instead of being stopped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.replan.schedule.live import Footprints
from kvplace.replan.schedule.operation import Operation
from kvplace.replan.schedule.steps import Pricing, Step, StepKind

_SWITCH_SECONDS = 1.0


def plain_steps_of(
    operations: Iterable[Operation],
    footprints: Footprints,
    pricing: Pricing,
    sleepers: Collection[Replica] = (),
) -> Iterator[Step]:
    """Yield the steps of operations one by one, without what they wait for.

    Parameters
    ----------
    operations
        In order.
    footprints
        What each shard takes.
    pricing
        What steps take.
    sleepers
        Replicas that sleep where they would be stopped, and wake where they come back.
    """
    asleep: set[Replica] = set()
    for operation in operations:
        for replica in operation.come:
            gpus = len(replica.gpus)
            size = footprints.loaded_bytes(replica)
            if replica in asleep:
                asleep.discard(replica)
                seconds = pricing.waking_seconds(size // gpus, gpus)
                read = size if pricing.sleep > 1 else 0
                wake = Step(0, StepKind.WAKE, (replica,), seconds=seconds, level=pricing.sleep)
                yield replace(wake, loaded_bytes=read)
            else:
                seconds = pricing.load_seconds(size // gpus, gpus)
                yield Step(0, StepKind.LOAD, (replica,), seconds=seconds, loaded_bytes=size)
        if operation.come:
            gone = operation.gone
            yield Step(0, StepKind.SWITCH, operation.come, gone, seconds=_SWITCH_SECONDS)
        for replica in operation.gone:
            yield Step(0, StepKind.DRAIN, (replica,), seconds=pricing.drain_seconds)
            if replica in sleepers:
                asleep.add(replica)
                size = footprints.loaded_bytes(replica) // len(replica.gpus)
                seconds = pricing.sleep_seconds(size)
                yield Step(0, StepKind.SLEEP, (replica,), seconds=seconds, level=pricing.sleep)
            else:
                yield Step(0, StepKind.UNLOAD, (replica,), seconds=pricing.unload_seconds)


def sleepers_of(
    problem: Problem, footprints: Footprints, before: Placement, after: Placement
) -> frozenset[Replica]:
    """Return the replicas that may sleep: what they keep of their memory fits beside the target.

    Replicas that stay may, too: where something has to be stopped for a while, they wake again.
    """
    stays = set(after)
    room = {gpu.id: gpu.usable_bytes for gpu in problem.fleet.gpus}
    for replica in after:
        size, kept = footprints.shard(replica)
        for gpu in replica.gpus:
            room[gpu] -= size + kept
    found = {replica for replica in before if replica in stays}
    for replica in sorted(set(before) - stays):
        asleep = footprints.asleep_bytes(replica)
        if all(room[gpu] > asleep for gpu in replica.gpus):
            found.add(replica)
            for gpu in replica.gpus:
                room[gpu] -= asleep
    return frozenset(found)


def stops_at_last(steps: Sequence[Step], pricing: Pricing) -> list[Step]:
    """Return the steps that stop what still sleeps, once all others are done."""
    asleep: dict[Replica, None] = {}
    for step in steps:
        if step.kind is StepKind.SLEEP:
            asleep |= dict.fromkeys(step.replicas)
        elif step.kind is StepKind.WAKE:
            for replica in step.replicas:
                asleep.pop(replica)
    waited_for = {number for step in steps for number in step.after}
    last = tuple(step.number for step in steps if step.number not in waited_for)
    end = max((step.ends_seconds for step in steps), default=0.0)
    plain = Step(0, StepKind.UNLOAD, (), after=last, seconds=pricing.unload_seconds)
    return [
        replace(plain, number=len(steps) + at, replicas=(replica,), begins_seconds=end)
        for at, replica in enumerate(asleep, 1)
    ]
