"""Which replicas stay, move, start and stop, with numbers that stay where the replica stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kvplace.core.hardware import Fleet
from kvplace.core.placement import Assigned, Placement, Replica, copies_by_model


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One replica that moves, starts or stops; its number tells which.

    Parameters
    ----------
    model, index
        The replica.
    source, target
        GPUs in rank order before and after; empty where it does not run.
    """

    model: str
    index: int
    source: tuple[str, ...]
    target: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``"move"``, ``"start"`` or ``"stop"``."""
        if not self.source:
            return "start"
        return "move" if self.target else "stop"


def renumbered(before: Placement, after: Placement, fleet: Fleet | None = None) -> Placement:
    """Return `after` with the numbers and rank orders that `before` gives the same replicas.

    A copy on GPUs that held a copy of its model before is that copy; copies that are left on both
    sides are paired as moves, those with the most GPUs in common first, then those on one node
    where the fleet is given; what starts takes the smallest numbers that are free.
    """
    if isinstance(after.replicas, Assigned):
        return after  # one copy of each model, number 0 as ever
    old, new = copies_by_model(before), copies_by_model(after)
    found: list[Replica] = []
    for model, wanted in new.items():
        found.extend(_numbered(model, old.get(model, []), wanted, fleet))
    return Placement(tuple(found))


def _numbered(
    model: str, old: list[Replica], wanted: list[Replica], fleet: Fleet | None
) -> list[Replica]:
    """Return the copies of one model with the numbers of the copies that they are."""
    left: dict[frozenset[str], list[Replica]] = {}
    for replica in sorted(old):
        left.setdefault(frozenset(replica.gpus), []).append(replica)
    kept: list[Replica] = []
    open_: list[tuple[str, ...]] = []
    for copy in sorted(wanted):
        same = left.get(frozenset(copy.gpus))
        if same:
            kept.append(same.pop(0))
        else:
            open_.append(copy.gpus)
    gone = sorted(replica for rest in left.values() for replica in rest)
    pairs = sorted(
        (
            (-len(set(replica.gpus) & set(gpus)), not _on_one_node(fleet, replica.gpus, gpus)),
            replica,
            gpus,
        )
        for replica in gone
        for gpus in open_
    )
    waiting, idle = Counter(open_), set(gone)
    for _, replica, gpus in pairs:
        if replica in idle and waiting[gpus]:
            idle.discard(replica)
            waiting[gpus] -= 1
            kept.append(Replica(model, replica.index, gpus))
    taken = {replica.index for replica in kept}
    number = 0
    for gpus in sorted(waiting.elements()):
        while number in taken:
            number += 1
        taken.add(number)
        kept.append(Replica(model, number, gpus))
    return kept


def _on_one_node(fleet: Fleet | None, first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two groups of GPUs are of one node."""
    return fleet is not None and fleet.node_of(first[0]) is fleet.node_of(second[0])


def changes(before: Placement, after: Placement) -> list[Change]:
    """Return what turns `before` into `after`, where numbers say which replica is which.

    See Also
    --------
    renumbered : gives `after` the numbers that make these as few as they can be.
    """
    old = {(replica.model, replica.index): replica.gpus for replica in before}
    new = {(replica.model, replica.index): replica.gpus for replica in after}
    found = []
    for key in sorted(old.keys() | new.keys()):
        source, target = old.get(key, ()), new.get(key, ())
        if source != target:
            found.append(Change(*key, source, target))
    return found
