"""Shards above the most in each domain."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import EVERYWHERE
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker, Tracker

__all__ = ["KIND", "LimitTracker", "penalty"]

KIND = Limit.kind


class LimitTracker(Tracker):
    """Shards above the most in each domain."""

    def __init__(self, domain: Sequence[int], most: int) -> None:
        super().__init__()
        self._domain, self._most = domain, most
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        """Note that the copies of a model moved from `old` to `new`."""
        for copies, step in ((old, -1), (new, 1)):
            for domain in (self._domain[g] for copy in copies for g in copy):
                if domain >= 0:
                    before = self._count[domain]
                    self._count[domain] = before + step
                    self.amount += max(0, before + step - self._most) - max(0, before - self._most)


def penalty(
    rule: Limit,
    ground: Ground,
    concerned: list[int],  # noqa: ARG001 - all models alike
) -> tuple[Sequence[int], MakeTracker]:
    """Return the domain of each GPU, and the tracker."""
    domain = ground.topology(rule.over)
    if rule.places != EVERYWHERE:
        pairs = zip(domain, ground.gpu_ids, strict=True)
        domain = [d if rule.counts(ground.problem, id_) else -1 for d, id_ in pairs]
    return domain, partial(LimitTracker, domain, rule.most)
