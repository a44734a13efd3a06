"""One operation on whole replicas: done where it is safe, and taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kvplace.core.placement import Replica
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.live import Live

Unit = tuple[Change, ...]
"""Changes that are made at one time."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Replicas that change places at one time.

    Parameters
    ----------
    gone, come
        Replicas that end and that begin to run. With both, what comes is loaded, then requests
        are switched, then what goes is drained and unloaded. With `gone` alone it is drained and
        unloaded, with `come` alone loaded and switched to.
    pause
        Whether what goes comes back later and serves nobody until then.
    """

    gone: tuple[Replica, ...]
    come: tuple[Replica, ...]
    pause: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Operations in order, or why there are none.

    Parameters
    ----------
    operations
        In order.
    complete
        Whether they lead to the goal.
    reason
        Why not, or why something pauses or takes a way round.
    proved
        Whether `reason` is proved.
    """

    operations: tuple[Operation, ...]
    complete: bool
    reason: str = ""
    proved: bool = False


def operation_of(unit: Iterable[Change]) -> Operation:
    """Return the operation that makes changes at one time."""
    unit = tuple(unit)
    return Operation(
        tuple(Replica(c.model, c.index, c.source) for c in unit if c.source),
        tuple(Replica(c.model, c.index, c.target) for c in unit if c.target),
    )


def attempt(live: Live, operation: Operation, *, keep: bool = True) -> bool:
    """Do an operation where it is safe; say whether it was.

    Parameters
    ----------
    live
        The fleet; it is as it was where the operation is not safe, or is not to be kept.
    operation
        What to do.
    keep
        Whether it stays done.
    """
    loaded: list[Replica] = []
    safe = True
    for replica in operation.come:
        if not live.may_load(replica):
            safe = False
            break
        live.load(replica)
        loaded.append(replica)
    serving = live.serving
    gone = [r for r in operation.gone if r in serving.get(r.model, ())]
    safe = safe and live.may_switch(operation.come, gone)
    safe = safe and (operation.pause or _still_served(live, operation))
    if not safe or not keep:
        for replica in reversed(loaded):
            live.unload(replica)
        return safe
    live.switch(operation.come, gone)
    for replica in operation.gone:
        live.unload(replica)
    return True


def undo(live: Live, operation: Operation, serving: dict[str, list[Replica]]) -> None:
    """Take an operation back; `serving` is what served before."""
    for replica in operation.gone:
        live.load(replica)
    for replica in operation.come:
        live.unload(replica)
    live.serving = serving


def _still_served(live: Live, operation: Operation) -> bool:
    """Whether every model that loses a copy keeps one, or is no longer wanted."""
    come = {replica.model for replica in operation.come}
    return all(
        r.model in come
        or r.model not in live.problem.index_of
        or any(other not in operation.gone for other in live.serving.get(r.model, ()))
        for r in operation.gone
    )
