"""What rules cost as an assignment changes: the incremental twin of `kvplace.core.rules`.

Each tracker keeps the amount by which its rule fails. A rule says of each move what it would cost
by being told of it and, where the move is refused, of its reversal.
"""

import abc
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.evaluation.constraints import ROUNDING
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.core.rules.places import EVERYWHERE
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.core.rules.topology_rule import TopologyRule

if TYPE_CHECKING:
    from kvplace.solver.instance.cluster import Cluster

__all__ = ["Blueprint", "Copies", "Costs", "Tracker", "blueprints"]

STEPS = 2**52
"""Steps of the largest amount or capacity of a resource."""
AMOUNT_BITS = 26
"""Bits of the amount by which a capacity of 1 or more is exceeded; a smaller one counts as 1."""

Copies = tuple[tuple[int, ...], ...]
"""GPUs of each copy of a model."""


class Tracker(abc.ABC):
    """The amount by which one rule fails.

    Attributes
    ----------
    amount
        As `kvplace.core.rules.rule.Breach.amount`, summed.
    """

    def __init__(self) -> None:
        self.amount: float = 0

    @abc.abstractmethod
    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""


class _Places(Tracker):
    """Shards where they may not be."""

    def __init__(self, bad: list[bool]) -> None:
        super().__init__()
        self._bad = bad

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        bad = self._bad
        self.amount += sum(bad[g] for copy in new for g in copy)
        self.amount -= sum(bad[g] for copy in old for g in copy)


class _Limit(Tracker):
    """Shards above the most in each domain."""

    def __init__(self, domain: Sequence[int], most: int) -> None:
        super().__init__()
        self._domain, self._most = domain, most
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        for copies, step in ((old, -1), (new, 1)):
            for domain in (self._domain[g] for copy in copies for g in copy):
                if domain >= 0:
                    before = self._count[domain]
                    self._count[domain] = before + step
                    self.amount += max(0, before + step - self._most) - max(0, before - self._most)


class _Apart(Tracker):
    """Models above one in each domain."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self._domain = domain
        self._held: dict[int, set[int]] = {}

    def update(self, j: int, old: Copies, new: Copies) -> None:
        gone = {self._domain[g] for copy in old for g in copy} - {-1}
        come = {self._domain[g] for copy in new for g in copy} - {-1}
        for domain in gone - come:
            held = self._held[domain]
            self.amount -= len(held) > 1
            held.remove(j)
        for domain in come - gone:
            held = self._held.setdefault(domain, set())
            self.amount += len(held) > 0
            held.add(j)


class _Together(Tracker):
    """Domains above one."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self._domain = domain
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        for copies, step in ((old, -1), (new, 1)):
            for domain in (self._domain[g] for copy in copies for g in copy):
                self._count[domain] += step
                if not self._count[domain]:
                    del self._count[domain]
        self.amount = max(0, len(self._count) - 1)


class _Spread(Tracker):
    """Skew above the most, over the domains that a model may run in."""

    def __init__(self, domain: Sequence[int], domains: dict[int, set[int]], skew: int) -> None:
        super().__init__()
        self._domain, self._domains, self._skew = domain, domains, skew

    def _excess(self, j: int, copies: Copies) -> int:
        domains = self._domains[j]
        if not copies or not domains:
            return 0
        count = Counter(d for copy in copies for d in {self._domain[g] for g in copy})
        held = [count[domain] for domain in domains]
        return max(0, max(held) - min(held) - self._skew)

    def update(self, j: int, old: Copies, new: Copies) -> None:
        self.amount += self._excess(j, new) - self._excess(j, old)


class _Resource(Tracker):
    """What shards take of a capacity above what there is.

    Counted in whole steps, so that what is taken and given back leaves nothing of rounding, and
    the amount is rounded up to a power of two times a whole number, so that sums of the amounts
    of several rules leave nothing either.
    """

    def __init__(self, holder: list[int], capacity: list[float], taken: list[float]) -> None:
        super().__init__()
        largest = max(*capacity, *taken, 1e-300)
        step = largest / STEPS
        self._holder = holder
        self._most = [int(amount * (1 + ROUNDING / 2) / step) for amount in capacity]
        self._taken = [round(amount / step) for amount in taken]
        self._total = [0] * len(capacity)
        self._above = 0
        self._unit = 2.0 ** max(math.frexp(largest)[1] - AMOUNT_BITS, -AMOUNT_BITS)
        self._units = step / self._unit

    def update(self, j: int, old: Copies, new: Copies) -> None:
        taken = self._taken[j]
        if not taken:
            return
        for copies, step in ((old, -taken), (new, taken)):
            for holder in (self._holder[g] for copy in copies for g in copy):
                most, before = self._most[holder], self._total[holder]
                self._total[holder] = before + step
                self._above += max(0, before + step - most) - max(0, before - most)
        self.amount = math.ceil(self._above * self._units) * self._unit


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How the tracker of one rule is made, its arrays shared by all boards of a cluster.

    Parameters
    ----------
    make
        Returns a new tracker.
    concerned
        Models of which the rule speaks.
    tier
        0 for a rule that must hold, else the tier of the soft rule.
    labels
        Per GPU; between GPUs of one label a shard moves without a change to the rule.
    """

    make: Callable[[], Tracker]
    concerned: list[int]
    tier: int
    labels: Sequence[int]


def blueprints(cluster: "Cluster") -> list[Blueprint]:
    """Return how the trackers of all rules and capacities of a cluster are made."""
    problem = cluster.problem
    found = []
    places: dict[object, list[bool]] = {}
    topologies: dict[str, list[int]] = {}

    def topology(key: str) -> list[int]:
        if key not in topologies:
            topologies[key] = cluster.topology(key).tolist()
        return topologies[key]

    for rule in problem.rules:
        concerned = [cluster.model_at[name] for name in rule.concerned(problem.index_of)]
        tier = rule.soft or 0
        if isinstance(rule, PlaceRule):
            key = (rule.kind, rule.places)
            if key not in places:
                kept = rule.among(problem.fleet, frozenset(cluster.gpu_ids))
                places[key] = [id_ not in kept for id_ in cluster.gpu_ids]
            labels: Sequence[int] = places[key]
            make: Callable[[], Tracker] = partial(_Places, places[key])
        else:
            assert isinstance(rule, TopologyRule)
            labels = topology(rule.over)
            if isinstance(rule, Limit) and rule.places != EVERYWHERE:
                labels = [
                    d if rule.counts(cluster.problem, id_) else -1
                    for d, id_ in zip(labels, cluster.gpu_ids, strict=True)
                ]
            make = _topology_tracker(rule, cluster, concerned, labels)
        found.append(Blueprint(make, concerned, tier, labels))
    for resource, scope in problem.resource_scopes.items():
        taken = [problem.models[i].resources.get(resource, 0.0) for i in cluster.model_index]
        concerned = [j for j, amount in enumerate(taken) if amount]
        capacity = _capacity(resource, scope, cluster, topology(scope))
        make = partial(_Resource, topology(scope), capacity, taken)
        found.append(Blueprint(make, concerned, 0, topology(scope)))
    return found


class Costs:
    """All rules of a cluster.

    Parameters
    ----------
    plans
        What `blueprints` returns.
    of
        Positions in `plans` of those that speak of each model.
    """

    def __init__(self, plans: list[Blueprint], of: list[list[int]]) -> None:
        self.trackers = [plan.make() for plan in plans]
        self._of = of
        tiers = sorted({plan.tier for plan in plans})
        self._row = [tiers.index(plan.tier) for plan in plans]
        self._hard = bool(tiers) and tiers[0] == 0
        self._totals: list[float] = [0] * len(tiers)

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        for at in self._of[j]:
            tracker = self.trackers[at]
            before = tracker.amount
            tracker.update(j, old, new)
            if tracker.amount != before:
                self._totals[self._row[at]] += tracker.amount - before

    def free(self, j: int) -> bool:
        """Whether no rule speaks of a model."""
        return not self._of[j]

    @property
    def vector(self) -> tuple[float, ...]:
        """What is broken, tier by tier; what must hold comes first."""
        return tuple(self._totals)

    @property
    def broken(self) -> float:
        """How much of what must hold is broken."""
        return self._totals[0] if self._hard else 0


def _topology_tracker(
    rule: TopologyRule, cluster: "Cluster", concerned: list[int], domain: Sequence[int]
) -> Callable[[], Tracker]:
    """Return what makes the tracker of a rule over topology domains."""
    if isinstance(rule, Limit):
        return partial(_Limit, domain, rule.most)
    if isinstance(rule, Apart):
        return partial(_Apart, domain)
    if isinstance(rule, Together):
        return partial(_Together, domain)
    assert isinstance(rule, Spread)
    known: dict[int, set[int]] = {}
    domains = {}
    numbers = np.array(domain)
    for j in concerned:
        mask = cluster.allowed[j]
        if id(mask) not in known:
            known[id(mask)] = set(numbers[mask].tolist()) - {-1}
        domains[j] = known[id(mask)]
    return partial(_Spread, domain, domains, rule.max_skew)


def _capacity(resource: str, scope: str, cluster: "Cluster", holder: list[int]) -> list[float]:
    """Return what each GPU or node has of a resource."""
    fleet = cluster.problem.fleet
    capacity = [0.0] * (max(holder) + 1)
    for g, id_ in enumerate(cluster.gpu_ids):
        gpu, node = fleet.gpu(id_), fleet.node_of(id_)
        assert gpu is not None
        assert node is not None
        has = gpu.resources if scope == "gpu" else node.resources
        capacity[holder[g]] = float(has.get(resource, 0.0))
    return capacity
