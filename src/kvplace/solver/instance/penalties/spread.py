"""Skew above the most, over the domains that a model may run in."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from kvplace.core.rules.spread import Spread
from kvplace.solver.instance.penalties.tracker import Copies, DomainTracker, Ground, MakeTracker


class SpreadTracker(DomainTracker):
    """Skew above the most, over the domains that a model may run in."""

    kind = Spread.kind

    def __init__(self, domain: Sequence[int], domains: dict[int, set[int]], skew: int) -> None:
        super().__init__(domain)
        self._of_model, self._skew = domains, skew

    def _excess(self, j: int, copies: Copies) -> int:
        domains = self._of_model[j]
        if not copies or not domains:
            return 0
        count = Counter(d for copy in copies for d in {self._domain[g] for g in copy})
        held = [count[domain] for domain in domains]
        return max(0, max(held) - min(held) - self._skew)

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        self.amount += self._excess(j, new) - self._excess(j, old)

    @classmethod
    def of(  # noqa: D102 - as of the base
        cls, rule: Spread, ground: Ground, concerned: list[int]
    ) -> tuple[Sequence[int], MakeTracker]:
        domain, _ = super().of(rule, ground, concerned)
        known: dict[int, set[int]] = {}
        domains = {}
        numbers = np.array(domain)
        for j in concerned:
            mask = ground.allowed[j]
            if id(mask) not in known:
                known[id(mask)] = set(numbers[mask].tolist()) - {-1}
            domains[j] = known[id(mask)]
        return domain, partial(cls, domain, domains, rule.max_skew)
