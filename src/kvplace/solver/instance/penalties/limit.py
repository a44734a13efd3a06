"""Shards above the most in each domain."""

from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import EVERYWHERE
from kvplace.solver.instance.penalties.excess import ExcessTracker
from kvplace.solver.instance.penalties.tracker import DomainTracker, Ground, MakeTracker


class LimitPenalty(DomainTracker):
    """Shards above the most in each domain."""

    kind = Limit.kind

    @classmethod
    def of(  # noqa: D102 - as of the base
        cls, rule: Limit, ground: Ground, concerned: list[int]
    ) -> tuple[Sequence[int], MakeTracker]:
        domain, _ = super().of(rule, ground, concerned)
        if rule.places != EVERYWHERE:
            pairs = zip(domain, ground.gpu_ids, strict=True)
            domain = [d if rule.counts(ground.problem, id_) else -1 for d, id_ in pairs]
        return domain, partial(ExcessTracker, domain, rule.most)
