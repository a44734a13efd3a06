"""Orders by way of other GPUs or with stops, for few changes: a search of least cost."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import count, permutations

from kvplace.core.placement import Replica
from kvplace.replan.schedule.changes import Change
from kvplace.replan.schedule.live import Live
from kvplace.replan.schedule.operation import Operation, attempt

_WAYS = 12_000
"""States that a search by way of other GPUs, or with stops, looks at before it gives up."""
_ROOMY = 8
"""GPUs with the most room that a replica may be parked on, in a fleet that is not tiny."""

State = tuple[tuple[str, ...], ...]


class Ways:
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
                if place and not self.live.holds(there):
                    continue  # most do not fit; whatever else may forbid it is looked at next
                operation = Operation((here,) * bool(now), (there,) * bool(place))
                if attempt(self.live, operation, keep=False):
                    size = self.live.footprints.loaded_bytes(there) if place else 0
                    yield operation, (*state[:at], place, *state[at + 1 :]), (0.0, size + 1)
            others = len(self.live.serving.get(change.model, ())) - 1
            if now and change.source and change.target and (self.may_pause or others > 0):
                operation = Operation((here,), (), pause=True)
                if attempt(self.live, operation, keep=False):
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
