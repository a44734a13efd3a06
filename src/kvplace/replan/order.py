"""The order in which replicas change places: direct, by way of another GPU, or stopped first.

The linear order that comes out is a list of operations on whole replicas. Done one after the
other it is safe at every instant, and undone one after the other as well: on the way back the
same things are resident together as on the way there.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, permutations

from kvplace.core.placement import Replica
from kvplace.core.rules.together import Together
from kvplace.replan.changes import Change
from kvplace.replan.live import Live

__all__ = ["Found", "Operation", "find_order"]

_TRIES = 50_000
"""Operations that a search for a direct order tries before it gives up."""
_DEEP = 200
"""Operations up to which that search goes back on what it did."""
_WAYS = 12_000
"""States that a search by way of other GPUs, or with stops, looks at before it gives up."""
_SMALL = 10
"""Changes up to which ways round are searched for the one that costs least."""
_ROOMY = 8
"""GPUs with the most room that a replica may be parked on, in a fleet that is not tiny."""


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


Unit = tuple[Change, ...]


def find_order(
    live: Live,
    wanted: Sequence[Change],
    seconds: Callable[[Replica], float],
    *,
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
    may_pause
        Whether a replica may be stopped before it is started elsewhere.
    """
    units = _units(live, wanted)
    direct, proved = _direct(live, units)
    if direct is None and any(live.at_once(change.model) for change in wanted):
        # Copies that are spread may have to be switched at one time.
        proved = False
        units = _by_model(live, units)
        direct, _ = _direct(live, units)
    if direct is not None:
        return Found(tuple(direct), complete=True)
    stuck = _blocked(live, units, proved=proved)
    small = all(len(unit) == 1 for unit in units) and len(wanted) <= _SMALL
    found, none = None, False
    if small:
        ways = _Ways(live, wanted, seconds, may_pause=False)
        found, ended = ways.search()
        none = ended and ways.everything and proved
    if found is None and not none:
        found = _by_turns(live, units, seconds, pause=False)
    if found is not None:
        return Found(tuple(found), complete=True, reason=stuck)
    if none:
        stuck += "; by way of other GPUs there is none either: every order was tried"
    if not may_pause:
        return Found((), complete=False, reason=stuck, proved=none)
    if small:
        found, _ = _Ways(live, wanted, seconds, may_pause=True).search()
    if found is None:
        found = _by_turns(live, units, seconds, pause=True)
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


def _direct(live: Live, units: Sequence[Unit]) -> tuple[list[Operation] | None, bool]:
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
            if mask >> at & 1 or next(tries) >= _TRIES or not attempt(live, operation):
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
    return (done if found else None), next(tries) < _TRIES


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


State = tuple[tuple[str, ...], ...]


class _Ways:
    """Orders by way of other GPUs or with stops, from the cheapest up: a search of least cost.

    A state says of each replica on which GPUs it is. Cost is downtime first, then what is loaded.
    """

    def __init__(
        self,
        live: Live,
        wanted: Sequence[Change],
        seconds: Callable[[Replica], float],
        *,
        may_pause: bool,
    ) -> None:
        self.live, self.seconds, self.may_pause = live, seconds, may_pause
        touched = {(c.model, c.index) for c in wanted}
        still = [r for held in live.serving.values() for r in held]
        others = [r for r in sorted(still) if (r.model, r.index) not in touched]
        self.changes = [*wanted]
        # Where the fleet is tiny, what is to stay may make room for a while as well.
        shards = sum(max(len(c.source), len(c.target)) for c in wanted)
        shards += sum(len(r.gpus) for r in others)
        self.everything = shards * math.log(max(2, len(live.memory))) <= math.log(_WAYS)
        if self.everything:
            self.changes += [Change(r.model, r.index, r.gpus, r.gpus) for r in others]
        room = sorted(live.memory, key=lambda g: live.weights[g] + live.kept[g] - live.memory[g])
        self._roomy = live.memory if self.everything else dict.fromkeys(room[:_ROOMY])
        self.places = [self._places(change) for change in self.changes]
        self.begin: State = tuple(change.source for change in self.changes)
        self.goal: State = tuple(change.target for change in self.changes)

    def _places(self, change: Change) -> list[tuple[str, ...]]:
        """Return the GPUs on which a replica may be for a while."""
        degree = len(change.target) or len(change.source)
        index = self.live.problem.index_of.get(change.model)
        if index is None or not change.target:
            return [change.source]
        allowed = self.live.problem.allowed(index)
        fleet = self.live.problem.fleet
        found = [change.source, change.target]
        if degree == 1:
            found += [(gpu,) for gpu in self._roomy if gpu in allowed]
            return list(dict.fromkeys(place for place in found if place))
        for node in fleet.nodes:
            domains: dict[str, list[str]] = {}
            for gpu in node.gpus:
                if gpu.id in allowed:
                    domains.setdefault(gpu.link, []).append(gpu.id)
            for ids in domains.values():
                if len(ids) <= 4:
                    found += [tuple(p) for p in permutations(ids, degree) if list(p) == sorted(p)]
                elif len(ids) >= degree:
                    found.append(tuple(ids[:degree]))
                    self.everything = False
        return list(dict.fromkeys(place for place in found if place))

    def search(self) -> tuple[list[Operation] | None, bool]:
        """Return operations of the least cost, and whether the search ended by itself."""
        ticket = count()
        start = (0.0, 0, next(ticket), self.begin)
        queue = [start]
        best: dict[State, tuple[float, int]] = {self.begin: (0.0, 0)}
        came: dict[State, tuple[State, Operation]] = {}
        looked = 0
        while queue:
            downtime, loaded, _, state = heapq.heappop(queue)
            if best[state] < (downtime, loaded):
                continue
            if state == self.goal:
                return self._path(came, state), True
            looked += 1
            if looked > _WAYS:
                return None, False
            for operation, following, cost in self._moves(state):
                total = (downtime + cost[0], loaded + cost[1])
                if following not in best or total < best[following]:
                    best[following] = total
                    came[following] = (state, operation)
                    heapq.heappush(queue, (*total, next(ticket), following))
        return None, True

    def _path(self, came: dict[State, tuple[State, Operation]], state: State) -> list[Operation]:
        operations = []
        while state in came:
            state, operation = came[state]
            operations.append(operation)
        return operations[::-1]

    def _moves(self, state: State) -> Iterable[tuple[Operation, State, tuple[float, int]]]:
        """Yield what may be done in a state, what comes of it, and its cost."""
        serving = self.live.serving
        moved = self._enter(state)
        for at, (change, now) in enumerate(zip(self.changes, state, strict=True)):
            here = Replica(change.model, change.index, now)
            targets: list[tuple[str, ...]]
            if not change.target:
                targets = [()] if now else []
            elif not now and not change.source:
                targets = [change.target]
            else:
                targets = [place for place in self.places[at] if place != now]
                if not now:
                    targets = [change.target]
            for place in targets:
                there = Replica(change.model, change.index, place)
                operation = Operation((here,) * bool(now), (there,) * bool(place))
                if attempt(self.live, operation, keep=False):
                    size = self.live.footprints.loaded_bytes(there) if place else 0
                    yield operation, (*state[:at], place, *state[at + 1 :]), (0.0, size + 1)
            if self.may_pause and now and change.source and change.target:
                operation = Operation((here,), (), pause=True)
                if attempt(self.live, operation, keep=False):
                    others = len(self.live.serving.get(change.model, ())) - 1
                    down = self.seconds(Replica(change.model, change.index, change.target))
                    cost = down if others <= 0 else down * 1e-6
                    yield operation, (*state[:at], (), *state[at + 1 :]), (cost, 1)
        self._leave(moved, serving)

    def _enter(self, state: State) -> list[tuple[Replica | None, Replica | None]]:
        moved = []
        for change, now in zip(self.changes, state, strict=True):
            if now != change.source:
                old = Replica(change.model, change.index, change.source) if change.source else None
                new = Replica(change.model, change.index, now) if now else None
                moved.append((old, new))
        for old, _ in moved:
            if old:
                self.live.unload(old)
        for _, new in moved:
            if new:
                self.live.load(new)
        self.live.switch([n for _, n in moved if n], [o for o, _ in moved if o])
        return moved

    def _leave(
        self,
        moved: list[tuple[Replica | None, Replica | None]],
        serving: dict[str, list[Replica]],
    ) -> None:
        for _, new in moved:
            if new:
                self.live.unload(new)
        for old, _ in moved:
            if old:
                self.live.load(old)
        self.live.serving = serving


def _by_turns(
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
        return
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
