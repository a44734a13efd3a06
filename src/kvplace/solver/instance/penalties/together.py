"""Domains above one."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.together import Together
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker, Tracker

__all__ = ["KIND", "TogetherTracker", "penalty"]

KIND = Together.kind


class TogetherTracker(Tracker):
    """Domains above one."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self._domain = domain
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        """Note that the copies of a model moved from `old` to `new`."""
        for copies, step in ((old, -1), (new, 1)):
            for domain in (self._domain[g] for copy in copies for g in copy):
                self._count[domain] += step
                if not self._count[domain]:
                    del self._count[domain]
        self.amount = max(0, len(self._count) - 1)


def penalty(
    rule: Together,
    ground: Ground,
    concerned: list[int],  # noqa: ARG001 - all models alike
) -> tuple[Sequence[int], MakeTracker]:
    """Return the domain of each GPU, and the tracker."""
    domain = ground.topology(rule.over)
    return domain, partial(TogetherTracker, domain)
