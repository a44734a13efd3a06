"""Engines that stay where they are and start again because of what changes beside them.

Some runtimes start several engines as one: a pod with all the engines of its GPUs, a node with
all of its own, an application of Ray Serve with all there are. And an engine that holds a fixed
part of a GPU's KV memory gives none of it back to whoever comes: it starts again with less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kvplace.core.hardware import Fleet
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.live import Footprints
from kvplace.replan.schedule.steps import Pricing, Restarts, Unit


def restarts_of(
    problem: Problem,
    before: Placement,
    wanted: Sequence[Change],
    footprints: Footprints,
    pricing: Pricing,
) -> Restarts:
    """Say which engines start again although they stay, and what that costs.

    A unit that changes stops as a whole and starts as a whole, its engines one after the other on
    each GPU; a neighbour with a fixed part starts again by itself.

    Parameters
    ----------
    problem
        What is to be served.
    before
        What runs, on GPUs that there are.
    wanted
        What changes.
    footprints
        What each shard takes.
    pricing
        What steps take, and what starts and stops as one.
    """
    plain = pricing.unit is Unit.ENGINE and not pricing.fixed_parts and not pricing.in_place
    if not wanted or plain:
        return Restarts()
    gone = {(c.model, c.index) for c in wanted}
    stay = [r for r in before if (r.model, r.index) not in gone]
    come = [Replica(c.model, c.index, c.target) for c in wanted if c.target]
    if pricing.unit is Unit.ENGINE:
        gained = {gpu for replica in come for gpu in replica.gpus if pricing.fixed_parts}
        again = [r for r in stay if gained & set(r.gpus)]
        times = {r: pricing.load_seconds(*_load(footprints, r)) for r in again}
    else:
        unit_of = _units(problem.fleet, pricing.unit, [*before, *come])
        changed = {unit_of[g] for c in wanted for g in (*c.source, *c.target) if g in unit_of}
        again = [r for r in stay if unit_of[r.gpus[0]] in changed]
        after = [r for r in (*again, *come) if r.gpus]
        whole = _together(after, unit_of, footprints, pricing)
        times = {r: whole[unit_of[r.gpus[0]]] for r in again}
    copies = Counter(replica.model for replica in before)
    if pricing.in_place:
        moved = [Replica(c.model, c.index, c.target) for c in wanted if c.source and c.target]
        times |= {r: pricing.load_seconds(*_load(footprints, r)) for r in moved}
    stopped = Counter(replica.model for replica in times)
    down = {
        r: seconds
        for r, seconds in times.items()
        if r.model in problem.index_of and copies[r.model] <= stopped[r.model]
    }
    return Restarts(
        tuple(sorted(again)),
        sum(footprints.loaded_bytes(r) for r in again),
        sum(max(s for r, s in down.items() if r.model == m) for m in {r.model for r in down}),
        tuple(sorted({r.model for r in down})),
    )


def _load(footprints: Footprints, replica: Replica) -> tuple[int, int]:
    """Return the weights that each GPU of a replica loads, and how many GPUs there are."""
    gpus = max(1, len(replica.gpus))
    return footprints.loaded_bytes(replica) // gpus, gpus


def _units(fleet: Fleet, unit: Unit, replicas: Iterable[Replica]) -> dict[str, str]:
    """Return the unit of each GPU: its node, or the GPUs that engines tie together, now or then."""
    if unit is Unit.FLEET:
        return {gpu.id: "" for gpu in fleet.gpus}
    if unit is Unit.NODE:
        return {gpu.id: node.name for node in fleet.nodes for gpu in node.gpus}
    root = {gpu.id: gpu.id for gpu in fleet.gpus}

    def find(gpu: str) -> str:
        while root[gpu] != gpu:
            root[gpu] = root[root[gpu]]
            gpu = root[gpu]
        return gpu

    for replica in replicas:
        for gpu in replica.gpus[1:]:
            root[find(gpu)] = find(replica.gpus[0])
    return {gpu: find(gpu) for gpu in root}


def _together(
    replicas: Iterable[Replica],
    unit_of: Mapping[str, str],
    footprints: Footprints,
    pricing: Pricing,
) -> dict[str, float]:
    """Return how long each unit takes to start: on each GPU one engine after the other."""
    on_gpu: dict[str, float] = {}
    for replica in dict.fromkeys(replicas):
        seconds = pricing.load_seconds(*_load(footprints, replica))
        for gpu in replica.gpus:
            on_gpu[gpu] = on_gpu.get(gpu, 0.0) + seconds
    found: dict[str, float] = {}
    for gpu, seconds in on_gpu.items():
        unit = unit_of[gpu]
        found[unit] = max(found.get(unit, 0.0), pricing.unload_seconds + seconds)
    return found
