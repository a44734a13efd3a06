"""Shards where they may not be, for every rule that says it of each GPU by itself."""

from collections.abc import Sequence
from functools import partial

from kvplace.core.rules.rule import Rule
from kvplace.solver.instance.penalties.tracker import Copies, Ground, MakeTracker, Tracker

__all__ = ["PlacesTracker", "penalty"]


class PlacesTracker(Tracker):
    """Shards where they may not be."""

    def __init__(self, bad: list[bool]) -> None:
        super().__init__()
        self._bad = bad

    def update(self, j: int, old: Copies, new: Copies) -> None:  # noqa: ARG002 - all models alike
        """Note that the copies of a model moved from `old` to `new`."""
        bad = self._bad
        self.amount += sum(bad[g] for copy in new for g in copy)
        self.amount -= sum(bad[g] for copy in old for g in copy)


def penalty(
    rule: Rule,
    ground: Ground,
    concerned: list[int],  # noqa: ARG001 - all models alike
) -> tuple[Sequence[int], MakeTracker]:
    """Return 1 for each GPU that the rule forbids and 0 for the others, and the tracker."""
    kept = rule.among(ground.problem.fleet, frozenset(ground.gpu_ids))
    bad = [id_ not in kept for id_ in ground.gpu_ids]
    return bad, partial(PlacesTracker, bad)
