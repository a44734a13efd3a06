"""What rules cost as an assignment changes: the incremental twin of `kvplace.core.rules`.

To price a move, apply `Costs.update`, read the amounts, and apply the reverse if the move is
refused.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from kvplace.solver.instance.penalties.excess import ExcessTracker, capacity_tracker
from kvplace.solver.instance.penalties.registry import penalty_kinds
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker

__all__ = ["Blueprint", "Copies", "Costs", "blueprints"]


class Blueprint(NamedTuple):
    """How the tracker of one rule is made, its arrays shared by all assignments of an instance.

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

    make: MakeTracker
    concerned: list[int]
    tier: int
    labels: Sequence[int]


def blueprints(ground: Ground, models: Sequence[int]) -> list[Blueprint]:
    """Return how the trackers of all rules and capacities of a problem are made.

    Parameters
    ----------
    ground
        What they are made from.
    models
        (n,) position of each model in the problem.
    """
    problem, found = ground.problem, []
    # Of a million models under no rule, nobody asks for a number.
    number = {problem.names[i]: j for j, i in enumerate(models)} if problem.rules else {}
    places: dict[object, tuple[Sequence[int], MakeTracker]] = {}
    for rule in problem.rules:
        concerned = [number[name] for name in rule.concerned(problem.index_of)]
        if rule.gpu_by_gpu:
            key = (rule.kind, rule.named_places)
            if key not in places:
                kept = rule.among(problem.fleet, frozenset(ground.gpu_ids))
                bad = [-1 if id_ in kept else 0 for id_ in ground.gpu_ids]
                places[key] = bad, partial(ExcessTracker, bad, 0)
            labels, make = places[key]
        else:
            labels, make = penalty_kinds()[rule.kind].of(rule, ground, concerned)
        found.append(Blueprint(make, concerned, rule.soft or 0, labels))
    for resource, scope in problem.resource_scopes.items():
        taken = [problem.models[i].resources.get(resource, 0.0) for i in models]
        concerned = [j for j, amount in enumerate(taken) if amount]
        holder = ground.topology(scope)
        capacity = _capacity(resource, scope, ground, holder)
        make = partial(capacity_tracker, holder, capacity, taken)
        found.append(Blueprint(make, concerned, 0, holder))
    return found


def _capacity(resource: str, scope: str, ground: Ground, holder: list[int]) -> list[float]:
    """Return what each GPU or node has of a resource."""
    fleet = ground.problem.fleet
    capacity = [0.0] * (max(holder) + 1)
    for g, id_ in enumerate(ground.gpu_ids):
        has = fleet.gpu(id_) if scope == "gpu" else fleet.node_of(id_)
        assert has is not None
        capacity[holder[g]] = float(has.resources.get(resource, 0.0))
    return capacity


class Costs:
    """All rules of an instance.

    Parameters
    ----------
    plans
        What `blueprints` returns.
    of
        Positions in `plans` of those that speak of each model.
    """

    def __init__(self, plans: Sequence[Blueprint], of: list[list[int]]) -> None:
        self.trackers = [plan.make() for plan in plans]
        self._plans, self._of = plans, of
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

    def after(self, j: int, old: Copies, new: Copies) -> tuple[float, tuple[float, ...]]:
        """Return `broken` and `vector` as they were if the copies of a model had moved."""
        self.update(j, old, new)
        found = self.broken, self.vector
        self.update(j, new, old)
        return found

    def spares(self, j: int, old: Copies, new: Copies) -> bool:
        """Whether no more were broken, tier by tier, if the copies of a model had moved."""
        broken, vector = self.after(j, old, new)
        return broken <= self.broken and vector <= self.vector

    def labels(self, j: int, g: int) -> tuple[int, ...]:
        """Return what the rules that speak of a model tell of a GPU: alike, they cost as much."""
        return tuple(self._plans[at].labels[g] for at in self._of[j])

    def free(self, j: int) -> bool:
        """Whether no rule speaks of a model."""
        return not self._of[j]

    def breaking(self, *, soft: bool = False) -> set[int]:
        """Return the models of which rules speak that must hold and do not, or of soft ones too."""
        pairs = zip(self.trackers, self._plans, strict=True)
        return {j for tracker, plan in pairs if (soft or not plan.tier) and tracker.amount > 0
                for j in plan.concerned}  # fmt: skip

    @property
    def vector(self) -> tuple[float, ...]:
        """What is broken, tier by tier; what must hold comes first."""
        return tuple(self._totals)

    @property
    def broken(self) -> float:
        """How much of what must hold is broken."""
        return self._totals[0] if self._hard else 0
