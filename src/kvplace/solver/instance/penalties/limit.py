"""Shards above the most in each domain."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import EVERYWHERE
from kvplace.solver.instance.penalties.tracker import Copies, DomainTracker, Ground, MakeTracker

__all__ = ["LimitTracker"]


class LimitTracker(DomainTracker):
    """Shards above the most in each domain."""

    kind = Limit.kind

    def __init__(self, domain: Sequence[int], most: int) -> None:
        super().__init__(domain)
        self._most = most
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        """Note that the copies of a model moved from `old` to `new`."""
        for copies, step in ((old, -1), (new, 1)):
            for domain in self._domains(copies):
                if domain >= 0:
                    before = self._count[domain]
                    self._count[domain] = before + step
                    self.amount += max(0, before + step - self._most) - max(0, before - self._most)

    @classmethod
    def of(  # noqa: D102 - as of the base
        cls, rule: Limit, ground: Ground, concerned: list[int]
    ) -> tuple[Sequence[int], MakeTracker]:
        domain, _ = super().of(rule, ground, concerned)
        if rule.places != EVERYWHERE:
            pairs = zip(domain, ground.gpu_ids, strict=True)
            domain = [d if rule.counts(ground.problem, id_) else -1 for d, id_ in pairs]
        return domain, partial(cls, domain, rule.most)
