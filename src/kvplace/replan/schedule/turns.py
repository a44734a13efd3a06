"""An order made step by step, for many changes, where no search looks at all orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kvplace.core.placement import Replica
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.live import Live
from kvplace.replan.schedule.operation import Operation, Unit, attempt, operation_of, undo


def by_turns(
    live: Live, units: Sequence[Unit], seconds: Callable[[Replica], float], *, pause: bool
) -> list[Operation] | None:
    """Return an order made step by step: what is possible; else park, or stop, one replica more.

    For many changes, where no search looks at all orders.
    """
    before = live.serving
    order: list[Operation] = []
    undone: list[tuple[Operation, dict[str, list[Replica]]]] = []
    place = {(c.model, c.index): c.source for unit in units for c in unit}
    waiting = list(units)

    def do(operation: Operation) -> bool:
        serving = live.serving
        if not attempt(live, operation):
            return False
        undone.append((operation, serving))
        order.append(operation)
        for replica in operation.gone:
            place[replica.model, replica.index] = ()
        for replica in operation.come:
            place[replica.model, replica.index] = replica.gpus
        return True

    def current(unit: Unit) -> Operation:
        return operation_of(
            Change(c.model, c.index, place[c.model, c.index], c.target) for c in unit
        )

    rounds = 0
    while waiting:
        rest = [unit for unit in waiting if not do(current(unit))]
        if len(rest) < len(waiting):
            waiting = rest
            continue
        rounds += 1
        helped = rounds <= 2 * len(units) + 2 and any(
            do(operation) for operation in _openings(live, rest, place, seconds, pause=pause)
        )
        if not helped:
            break
    for operation, serving in reversed(undone):
        undo(live, operation, serving)
    live.serving = before
    return order if not waiting else None


def _openings(
    live: Live,
    waiting: Sequence[Unit],
    place: dict[tuple[str, int], tuple[str, ...]],
    seconds: Callable[[Replica], float],
    *,
    pause: bool,
) -> Iterable[Operation]:
    """Yield what makes room for something that waits: a replica parked, or one stopped."""
    changes = [c for unit in waiting for c in unit]
    blocked = {gpu for c in changes for gpu in c.target}
    inside = [
        Replica(c.model, c.index, place[c.model, c.index])
        for c in changes
        if c.source and c.target and blocked & set(place[c.model, c.index])
    ]
    if not pause:
        inside.sort(key=lambda r: (live.footprints.loaded_bytes(r), r))
        spare = [gpu for gpu in live.memory if gpu not in blocked]
        spare.sort(key=lambda gpu: live.weights[gpu] + live.kept[gpu] - live.memory[gpu])
        for replica in inside:
            if len(replica.gpus) == 1:
                for gpu in spare[:32]:
                    there = Replica(replica.model, replica.index, (gpu,))
                    operation = Operation((replica,), (there,))
                    if _opens(live, operation, waiting, place):
                        yield operation
        inside = [r for r in inside if len(live.serving.get(r.model, ())) > 1]
    inside.sort(key=lambda r: (len(live.serving.get(r.model, ())) <= 1, seconds(r), r))
    stops = [Operation((replica,), (), pause=True) for replica in inside]
    yield from (stop for stop in stops if _opens(live, stop, waiting, place))
    yield from stops


def _opens(
    live: Live,
    operation: Operation,
    waiting: Sequence[Unit],
    place: dict[tuple[str, int], tuple[str, ...]],
) -> bool:
    """Whether something that waits is possible after an operation."""
    serving = live.serving
    if not attempt(live, operation):
        return False
    moved = {(r.model, r.index) for r in operation.gone}
    freed = {gpu for replica in operation.gone for gpu in replica.gpus}
    possible_now = any(
        attempt(
            live,
            operation_of(Change(c.model, c.index, place[c.model, c.index], c.target) for c in unit),
            keep=False,
        )
        for unit in waiting
        if any(freed & set(c.target) for c in unit)
        and not any((c.model, c.index) in moved for c in unit)
    )
    undo(live, operation, serving)
    return possible_now
