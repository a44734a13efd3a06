"""Models above one in each domain."""

from collections.abc import Sequence

from kvplace.core.rules.apart import Apart
from kvplace.solver.instance.penalties.tracker import Copies, DomainTracker


class ApartTracker(DomainTracker):
    """Models above one in each domain."""

    kind = Apart.kind

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__(domain)
        self._held: dict[int, set[int]] = {}

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
        gone, come = set(self._domains(old)) - {-1}, set(self._domains(new)) - {-1}
        for domain in gone - come:
            held = self._held[domain]
            self.amount -= len(held) > 1
            held.remove(j)
        for domain in come - gone:
            held = self._held.setdefault(domain, set())
            self.amount += len(held) > 0
            held.add(j)
