"""The order in which replicas change places: direct, by way of another GPU, or stopped first.

The linear order that comes out is a list of operations on whole replicas. Done one after the
other it is safe at every instant, and undone one after the other as well: on the way back the
same things are resident together as on the way there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from kvplace.core.placement import Replica
from kvplace.core.rules.together import Together
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.live import Live
from kvplace.replan.schedule.operation import Found, Operation, Unit, attempt, operation_of, undo
from kvplace.replan.schedule.turns import by_turns
from kvplace.replan.schedule.ways import Ways
from kvplace.solver.clock import Watch

_TRIES = 50_000
"""Operations that a search for a direct order tries before it gives up."""
_DEEP = 200
"""Operations up to which that search goes back on what it did."""
_SMALL = 10
"""Changes up to which ways round are searched for the one that costs least."""


def find_order(
    live: Live,
    wanted: Sequence[Change],
    seconds: Callable[[Replica], float],
    *,
    watch: Watch,
    may_pause: bool = True,
) -> Found:
    """Find a safe order of changes.

    Parameters
    ----------
    live
        The fleet before; it is as it was afterwards.
    wanted
        What is to change.
    seconds
        How long a replica takes to start.
    watch
        When no more orders are tried.
    may_pause
        Whether the last serving replica of a model may be stopped before it is started elsewhere.
    """
    units = _units(live, wanted)
    direct, proved = _direct(live, units, watch)
    if direct is None and any(live.at_once(change.model) for change in wanted):
        # Copies that are spread may have to be switched at one time.
        proved = False
        units = _by_model(live, units)
        direct, _ = _direct(live, units, watch)
    if direct is not None:
        return Found(tuple(direct), complete=True)
    stuck = _blocked(live, units, proved=proved)
    small = all(len(unit) == 1 for unit in units) and len(wanted) <= _SMALL
    found, none = None, False
    if small:
        ways = Ways(live, wanted, seconds, may_pause=False)
        found, ended = ways.search()
        none = ended and ways.everything and proved
    if found is None and not none:
        found = by_turns(live, units, seconds, pause=False)
    if found is not None:
        return Found(tuple(found), complete=True, reason=stuck)
    if none:
        stuck += "; by way of other GPUs there is none either: every order was tried"
    if not may_pause:
        return Found((), complete=False, reason=stuck, proved=none)
    if small:
        found, _ = Ways(live, wanted, seconds, may_pause=True).search()
    if found is None:
        found = by_turns(live, units, seconds, pause=True)
    if found is None:
        stuck += "; no way was found to stop some of them first either"
        return Found((), complete=False, reason=stuck)
    return Found(tuple(found), complete=True, reason=stuck, proved=none)


def _units(live: Live, wanted: Sequence[Change]) -> list[Unit]:
    """Return the changes that have to be made at one time: those that a rule ties together."""
    root = {change: change for change in wanted}

    def find(change: Change) -> Change:
        while root[change] != change:
            change = root[change]
        return change

    for rule in live.problem.rules:
        if isinstance(rule, Together) and rule.soft is None:
            names = set(rule.concerned(live.problem.index_of))
            tied = [change for change in wanted if change.model in names]
            if live.broken(rule) or not any(_leaves(live, rule, change) for change in tied):
                continue  # nothing has to be at once
            for change in tied[1:]:
                root[find(change)] = find(tied[0])
    units: dict[Change, list[Change]] = {}
    for change in wanted:
        units.setdefault(find(change), []).append(change)
    return [tuple(unit) for unit in units.values()]


def _by_model(live: Live, units: Sequence[Unit]) -> list[Unit]:
    """Return units in which all changes of a model that a rule about what serves concerns are."""
    joined: dict[object, list[Change]] = {}
    for unit in units:
        tied = next((c.model for c in unit if live.at_once(c.model)), None)
        joined.setdefault(unit if tied is None else tied, []).extend(unit)
    return [tuple(unit) for unit in joined.values()]


def _leaves(live: Live, rule: Together, change: Change) -> bool:
    """Whether a replica moves from one domain to another."""
    fleet = live.problem.fleet
    before = {fleet.domain(gpu, rule.over) for gpu in change.source}
    return bool(before and change.target) and before != {
        fleet.domain(gpu, rule.over) for gpu in change.target
    }


def _direct(live: Live, units: Sequence[Unit], watch: Watch) -> tuple[list[Operation] | None, bool]:
    """Return an order in which every change is made at once, and whether none was ruled out."""
    operations = [operation_of(unit) for unit in units]
    order, waiting = _greedy(live, operations)
    if not waiting:
        return order, True
    if len(operations) > _DEEP:
        return None, False
    serving = live.serving
    done: list[Operation] = []
    seen: set[int] = set()
    tries = count()

    def extend(mask: int) -> bool:
        if len(done) == len(operations):
            return True
        if mask in seen:
            return False
        seen.add(mask)
        for at, operation in enumerate(operations):
            before = live.serving
            if mask >> at & 1:
                continue
            if next(tries) >= _TRIES or watch.stop:
                return False
            if not attempt(live, operation):
                continue
            done.append(operation)
            if extend(mask | 1 << at):
                return True
            done.pop()
            undo(live, operation, before)
        return False

    found = extend(0)
    for operation in reversed(done):
        undo(live, operation, serving)
    return (done if found else None), next(tries) < _TRIES and not watch.stop


def _greedy(live: Live, operations: Sequence[Operation]) -> tuple[list[Operation], list[Operation]]:
    """Do whatever is possible, what makes room for others first; return what was and what was not.

    The fleet is as it was afterwards.
    """
    serving = live.serving
    order: list[Operation] = []
    waiting = sorted(operations, key=_urgency(live, operations))
    while waiting:
        rest = []
        for operation in waiting:
            if attempt(live, operation):
                order.append(operation)
            else:
                rest.append(operation)
        if len(rest) == len(waiting):
            break
        waiting = rest
    for operation in reversed(order):
        undo(live, operation, serving)
    return order, waiting


def _urgency(
    live: Live, operations: Sequence[Operation]
) -> Callable[[Operation], tuple[int, int, tuple[Replica, ...], tuple[Replica, ...]]]:
    """Return a key that puts first what frees memory that others wait for and takes none of it."""
    wanted: dict[str, int] = {}
    for operation in operations:
        for replica in operation.come:
            size = sum(live.footprints.shard(replica))
            for gpu in replica.gpus:
                wanted[gpu] = wanted.get(gpu, 0) + size
    short = {
        gpu
        for gpu, size in wanted.items()
        if live.weights[gpu] + live.kept[gpu] + size > live.memory[gpu]
    }

    def key(
        operation: Operation,
    ) -> tuple[int, int, tuple[Replica, ...], tuple[Replica, ...]]:
        takes = sum(gpu in short for replica in operation.come for gpu in replica.gpus)
        frees = sum(gpu in short for replica in operation.gone for gpu in replica.gpus)
        return (takes, -frees, operation.gone, operation.come)

    return key


def _blocked(live: Live, units: Sequence[Unit], *, proved: bool) -> str:
    """Return a sentence that says what waits for what."""
    _, stuck = _greedy(live, [operation_of(unit) for unit in units])
    waits = [
        f"{replica.model!r} waits for {', '.join(replica.gpus)}"
        for operation in stuck
        for replica in operation.come
    ]
    few = "; ".join(waits[:3]) + (f" and {len(waits) - 3} more" if len(waits) > 3 else "")
    if proved:
        return f"there is no order in which every replica goes straight to its place: {few}"
    return f"no order was found in which every replica goes straight to its place: {few}"
