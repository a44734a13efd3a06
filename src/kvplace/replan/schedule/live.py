"""What is resident and what serves at one instant, and whether one thing more may be done.

Everything resident is charged: its weights, its overhead and the KV memory it must be left, from
the begin of its load to the end of its unload. Rules that only more replicas can break (places,
apart, limit, further capacities) hold for what is resident; the others (together, spread) for what
serves. What is broken at the start may stay so and not become worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.core.rules.rule import Rule
from kvplace.errors import InputError

_RESIDENT = (Apart, Limit)
_ROUNDING = 1e-9  # as in core: amounts of capacities are decimals in floats


@dataclass(frozen=True, slots=True)
class Footprints:
    """What one shard of each model takes, for models that stay and models that go.

    Parameters
    ----------
    models
        Every model that runs before or after, by name.
    """

    models: Mapping[str, Model]

    @classmethod
    def of(cls, problem: Problem, before: Placement, former: Mapping[str, Model]) -> Footprints:
        """Return those of a problem and of models that it no longer has.

        Raises
        ------
        InputError
            Something runs of which nobody knows what it takes.
        """
        known = {r.model for r in before} - problem.index_of.keys()
        unknown = sorted(known - former.keys())
        if unknown:
            raise InputError(
                [
                    f"{name!r} runs and is neither in the fleet file nor described by the current "
                    "plan; add it to the fleet file, so that its memory is counted"
                    for name in unknown
                ]
            )
        names = {replica.model for replica in before} & former.keys()
        every = {name: former[name] for name in names}
        return cls(every | {model.name: model for model in problem.models})

    def shard(self, replica: Replica) -> tuple[int, int]:
        """Return the bytes that stay resident on each GPU, and the KV bytes to be left there."""
        model = self.models[replica.model]
        degree = max(1, len(replica.gpus))
        return model.resident_bytes(degree), model.least_kv_bytes(degree)

    def asleep_bytes(self, replica: Replica) -> int:
        """Return the bytes that a sleeping replica keeps on each GPU: its overhead."""
        model = self.models[replica.model]
        degree = max(1, len(replica.gpus))
        return model.resident_bytes(degree) - -(-model.weights_bytes // degree)

    def loaded_bytes(self, replica: Replica) -> int:
        """Return the weights that starting a replica reads, over all its GPUs."""
        model = self.models[replica.model]
        return -(-model.weights_bytes // max(1, len(replica.gpus))) * len(replica.gpus)


class Live:
    """A fleet in the middle of a transition.

    Parameters
    ----------
    problem
        What is to be served.
    footprints
        What each shard takes.
    before
        What runs.
    sleepers
        Those of it that sleep once they end to serve, and so keep a part of their memory.
    """

    def __init__(
        self,
        problem: Problem,
        footprints: Footprints,
        before: Placement,
        sleepers: frozenset[Replica] = frozenset(),
    ) -> None:
        self.problem, self.footprints = problem, footprints
        self._shards: dict[tuple[str, int], tuple[int, int]] = {}
        fleet: Fleet = problem.fleet
        self.memory = {gpu.id: gpu.usable_bytes for gpu in fleet.gpus}
        self.sleepers = {replica: footprints.asleep_bytes(replica) for replica in sleepers}
        for replica, kept in self.sleepers.items():
            for gpu in replica.gpus:
                self.memory[gpu] -= kept  # awake or asleep
        self.weights = dict.fromkeys(self.memory, 0)
        self.kept = dict.fromkeys(self.memory, 0)
        self.resident: dict[str, list[Replica]] = {}
        self.serving: dict[str, list[Replica]] = {}
        # Where a model may run is asked of the problem, which knows it of types and rules at once.
        hard = [r for r in problem.rules if r.soft is None and not isinstance(r, PlaceRule)]
        self._standing = [rule for rule in hard if isinstance(rule, _RESIDENT)]
        self._serving_rules = [rule for rule in hard if not isinstance(rule, _RESIDENT)]
        self._concerned = {id(rule): set(rule.concerned(problem.index_of)) for rule in hard}
        self._taken: dict[tuple[str, str], float] = {}
        self._room = {
            (name, holder): most
            for name, scope in problem.resource_scopes.items()
            for holder, most in _capacities(fleet, scope, name)
        }
        for replica in before:
            self._add(replica)
            self.serving.setdefault(replica.model, []).append(replica)
        copies = self._known(self.resident)
        self._allowed = {id(r): _amount(r, problem, copies) for r in self._standing}
        served = self._known(self.serving)
        self._allowed |= {id(r): _amount(r, problem, served) for r in self._serving_rules}

    def may_load(self, replica: Replica) -> bool:
        """Whether a replica fits beside everything that is resident, and no rule forbids it."""
        if not self.holds(replica):
            return False
        gpus = set(replica.gpus)
        if any(gpus & set(other.gpus) for other in self.resident.get(replica.model, ())):
            return False
        return self._capacities_hold(replica) and self._rules_hold(replica)

    def holds(self, replica: Replica) -> bool:
        """Whether GPUs have the memory for one replica more, beside everything resident."""
        size, kept = self._shard(replica.model, len(replica.gpus))
        size -= self.sleepers.get(replica, 0)
        for gpu in replica.gpus:
            weights = self.weights[gpu] + size
            if weights >= self.memory[gpu] or weights + self.kept[gpu] + kept > self.memory[gpu]:
                return False
        return True

    def _shard(self, model: str, degree: int) -> tuple[int, int]:
        """Return what one shard takes, as `Footprints` says, which is asked of few and often."""
        found = self._shards.get((model, degree))
        if found is None:
            found = self.footprints.shard(Replica(model, 0, ("",) * degree))
            self._shards[model, degree] = found
        return found

    def broken(self, rule: Rule) -> bool:
        """Whether a hard rule about what serves was broken at the start."""
        return self._allowed[id(rule)] > 0

    def at_once(self, model: str) -> bool:
        """Whether a rule about what serves concerns a model: switches may have to be one."""
        return any(model in self._concerned[id(rule)] for rule in self._serving_rules)

    def load(self, replica: Replica) -> None:
        """Make a replica resident."""
        self._add(replica)

    def unload(self, replica: Replica) -> None:
        """Take a replica away."""
        size, kept = self._shard(replica.model, len(replica.gpus))
        size -= self.sleepers.get(replica, 0)
        self.resident[replica.model].remove(replica)
        for gpu in replica.gpus:
            self.weights[gpu] -= size
            self.kept[gpu] -= kept
        self._count(replica, -1)

    def may_switch(self, come: Iterable[Replica], gone: Iterable[Replica]) -> bool:
        """Whether replicas may begin and others end to serve at one instant."""
        if not self._serving_rules:
            return True
        served = self._switched(come, gone)
        touched = {replica.model for replica in (*come, *gone)}
        known = self._known(served)
        return all(
            _amount(rule, self.problem, known) <= self._allowed[id(rule)]
            for rule in self._serving_rules
            if touched & self._concerned[id(rule)]
        )

    def switch(self, come: Iterable[Replica], gone: Iterable[Replica]) -> None:
        """Let replicas begin and others end to serve."""
        self.serving = self._switched(come, gone)

    def _switched(
        self, come: Iterable[Replica], gone: Iterable[Replica]
    ) -> dict[str, list[Replica]]:
        served = dict(self.serving)
        for replica in gone:
            served[replica.model] = [r for r in served[replica.model] if r != replica]
        for replica in come:
            served[replica.model] = [*served.get(replica.model, ()), replica]
        return served

    def _add(self, replica: Replica) -> None:
        size, kept = self._shard(replica.model, len(replica.gpus))
        size -= self.sleepers.get(replica, 0)
        self.resident.setdefault(replica.model, []).append(replica)
        for gpu in replica.gpus:
            self.weights[gpu] += size
            self.kept[gpu] += kept
        self._count(replica, 1)

    def _count(self, replica: Replica, sign: int) -> None:
        if self._room:
            for key, amount in self._amounts(replica).items():
                self._taken[key] = self._taken.get(key, 0.0) + sign * amount

    def _amounts(self, replica: Replica) -> dict[tuple[str, str], float]:
        """Return what a replica takes of further capacities, by name and holder."""
        found: dict[tuple[str, str], float] = {}
        for name, amount in self.footprints.models[replica.model].resources.items():
            scope = self.problem.resource_scopes.get(name)
            if scope:
                for gpu in replica.gpus:
                    holder = self.problem.fleet.domain(gpu, scope) or ""
                    found[name, holder] = found.get((name, holder), 0.0) + amount
        return found

    def _capacities_hold(self, replica: Replica) -> bool:
        return not self._room or all(
            self._taken.get(key, 0.0) + amount <= self._room.get(key, 0.0) * (1 + _ROUNDING)
            for key, amount in self._amounts(replica).items()
        )

    def _rules_hold(self, replica: Replica) -> bool:
        index = self.problem.index_of.get(replica.model)
        if index is not None and not self.problem.allowed(index).issuperset(replica.gpus):
            return False
        if not self._standing:
            return True
        held = dict(self.resident)
        held[replica.model] = [*held.get(replica.model, ()), replica]
        known = self._known(held)
        return all(
            _amount(rule, self.problem, known) <= self._allowed[id(rule)]
            for rule in self._standing
            if replica.model in self._concerned[id(rule)]
        )

    def _known(self, copies: Mapping[str, list[Replica]]) -> dict[str, list[Replica]]:
        """Return the copies of models of the problem; rules know no others."""
        return {
            name: held for name, held in copies.items() if held and name in self.problem.index_of
        }


def _amount(rule: Rule, problem: Problem, copies: dict[str, list[Replica]]) -> float:
    """Return by how much a rule is broken."""
    return math.fsum(breach.amount for breach in rule.breaches(problem, copies))


def _capacities(fleet: Fleet, scope: str, name: str) -> Iterable[tuple[str, float]]:
    """Yield each GPU or node with what it has of a capacity."""
    if scope == "node":
        yield from ((node.name, node.resources.get(name, 0.0)) for node in fleet.nodes)
    else:
        yield from ((gpu.id, gpu.resources.get(name, 0.0)) for gpu in fleet.gpus)
