"""What rules cost as an assignment changes: the incremental twin of `kvplace.core.rules`.

Each tracker keeps the amount by which its rule fails. A rule says of each move what it would cost
by being told of it and, where the move is refused, of its reversal.
"""

import abc
from collections import Counter

from kvplace.core.constraints import ROUNDING
from kvplace.core.rules.places import PlaceRule
from kvplace.core.rules.rule import EVERYWHERE, Rule
from kvplace.core.rules.topology import Apart, Limit, Spread, Together, TopologyRule
from kvplace.solver.cluster import Cluster, Copies

__all__ = ["Costs", "Tracker"]


class Tracker(abc.ABC):
    """The amount by which one rule fails.

    Attributes
    ----------
    tier
        0 for a rule that must hold, else the tier of the soft rule.
    amount
        As `kvplace.core.rules.rule.Breach.amount`, summed.
    """

    def __init__(self, tier: int) -> None:
        self.tier = tier
        self.amount: float = 0

    @abc.abstractmethod
    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""


class _Places(Tracker):
    """Shards where they may not be."""

    def __init__(self, tier: int, bad: list[bool]) -> None:
        super().__init__(tier)
        self._bad = bad

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        bad = self._bad
        self.amount += sum(bad[g] for copy in new for g in copy)
        self.amount -= sum(bad[g] for copy in old for g in copy)


class _Limit(Tracker):
    """Shards above the most in each domain."""

    def __init__(self, tier: int, domain: list[int], most: int) -> None:
        super().__init__(tier)
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

    def __init__(self, tier: int, domain: list[int]) -> None:
        super().__init__(tier)
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

    def __init__(self, tier: int, domain: list[int]) -> None:
        super().__init__(tier)
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

    def __init__(
        self, tier: int, domain: list[int], domains: dict[int, set[int]], skew: int
    ) -> None:
        super().__init__(tier)
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
    """What shards take of a capacity above what there is."""

    def __init__(self, holder: list[int], capacity: list[float], taken: list[float]) -> None:
        super().__init__(0)
        self._holder, self._capacity, self._taken = holder, capacity, taken
        self._total = [0.0] * len(capacity)

    def update(self, j: int, old: Copies, new: Copies) -> None:
        taken = self._taken[j]
        if not taken:
            return
        for copies, step in ((old, -taken), (new, taken)):
            for holder in (self._holder[g] for copy in copies for g in copy):
                most = self._capacity[holder] * (1 + ROUNDING / 2)
                before = self._total[holder]
                after = before + step
                self._total[holder] = 0.0 if abs(after) < taken * ROUNDING / 4 else after
                self.amount += max(0.0, after - most) - max(0.0, before - most)
        if self.amount < taken * ROUNDING:
            self.amount = 0.0  # what is left of rounding


class Costs:
    """All rules of a cluster.

    Parameters
    ----------
    cluster
        The problem.
    """

    def __init__(self, cluster: Cluster) -> None:
        problem = cluster.problem
        self.trackers: list[Tracker] = []
        self._of: list[list[Tracker]] = [[] for _ in range(cluster.n)]
        for rule in problem.rules:
            concerned = [cluster.model_at[name] for name in rule.concerned(problem.index_of)]
            self._watch(_tracker(rule, cluster, concerned), concerned)
        for resource, scope in problem.resource_scopes.items():
            taken = [problem.models[i].resources.get(resource, 0.0) for i in cluster.model_index]
            concerned = [j for j, amount in enumerate(taken) if amount]
            self._watch(_resource(resource, scope, cluster, taken), concerned)
        self._tiers = sorted({tracker.tier for tracker in self.trackers})

    def _watch(self, tracker: Tracker, concerned: list[int]) -> None:
        self.trackers.append(tracker)
        for j in concerned:
            self._of[j].append(tracker)

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        for tracker in self._of[j]:
            tracker.update(j, old, new)

    def free(self, j: int) -> bool:
        """Whether no rule speaks of a model."""
        return not self._of[j]

    @property
    def vector(self) -> tuple[float, ...]:
        """What is broken, tier by tier; what must hold comes first."""
        if not self.trackers:
            return ()
        return tuple(
            sum(tracker.amount for tracker in self.trackers if tracker.tier == tier)
            for tier in self._tiers
        )

    @property
    def broken(self) -> float:
        """How much of what must hold is broken."""
        return sum(tracker.amount for tracker in self.trackers if tracker.tier == 0)


def _tracker(rule: Rule, cluster: Cluster, concerned: list[int]) -> Tracker:
    """Return the tracker of a rule."""
    problem, tier = cluster.problem, rule.soft or 0
    if isinstance(rule, PlaceRule):
        return _Places(tier, [not rule.allows(problem.fleet, id_) for id_ in cluster.gpu_ids])
    assert isinstance(rule, TopologyRule)
    domain = cluster.topology(rule.over)
    if isinstance(rule, Limit):
        if rule.places != EVERYWHERE:
            for g, id_ in enumerate(cluster.gpu_ids):
                if not rule.counts(problem, id_):
                    domain[g] = -1
        return _Limit(tier, domain.tolist(), rule.most)
    if isinstance(rule, Apart):
        return _Apart(tier, domain.tolist())
    if isinstance(rule, Together):
        return _Together(tier, domain.tolist())
    assert isinstance(rule, Spread)
    known: dict[int, set[int]] = {}
    domains = {}
    for j in concerned:
        mask = cluster.allowed[j]
        if id(mask) not in known:
            known[id(mask)] = set(domain[mask].tolist()) - {-1}
        domains[j] = known[id(mask)]
    return _Spread(tier, domain.tolist(), domains, rule.max_skew)


def _resource(resource: str, scope: str, cluster: Cluster, taken: list[float]) -> Tracker:
    """Return the tracker of a further capacity."""
    fleet = cluster.problem.fleet
    holder = cluster.topology(scope).tolist()
    capacity = [0.0] * (max(holder) + 1)
    for g, id_ in enumerate(cluster.gpu_ids):
        gpu, node = fleet.gpu(id_), fleet.node_of(id_)
        assert gpu is not None
        assert node is not None
        has = gpu.resources if scope == "gpu" else node.resources
        capacity[holder[g]] = float(has.get(resource, 0.0))
    return _Resource(holder, capacity, taken)
