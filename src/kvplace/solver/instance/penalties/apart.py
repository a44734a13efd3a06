"""Models above one in each domain."""

from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.apart import Apart
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker, Tracker

__all__ = ["KIND", "ApartTracker", "penalty"]

KIND = Apart.kind


class ApartTracker(Tracker):
    """Models above one in each domain."""

    def __init__(self, domain: Sequence[int]) -> None:
        super().__init__()
        self._domain = domain
        self._held: dict[int, set[int]] = {}

    def update(self, j: int, old: Copies, new: Copies) -> None:
        """Note that the copies of a model moved from `old` to `new`."""
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


def penalty(
    rule: Apart,
    ground: Ground,
    concerned: list[int],  # noqa: ARG001 - all models alike
) -> tuple[Sequence[int], MakeTracker]:
    """Return the domain of each GPU, and the tracker."""
    domain = ground.topology(rule.over)
    return domain, partial(ApartTracker, domain)
