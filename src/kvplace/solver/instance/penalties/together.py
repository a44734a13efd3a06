"""Domains above one."""

from collections import Counter
from collections.abc import Sequence

from kvplace.core.rules.together import Together
from kvplace.solver.instance.penalties.tracker import Copies, DomainTracker


class TogetherTracker(DomainTracker):
    """Domains above one."""

    kind = Together.kind

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__(domain)
        self._count: Counter[int] = Counter()

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        """Note that the copies of a model moved from `old` to `new`."""
        for copies, step in ((old, -1), (new, 1)):
            for domain in self._domains(copies):
                self._count[domain] += step
                if not self._count[domain]:
                    del self._count[domain]
        self.amount = max(0, len(self._count) - 1)
