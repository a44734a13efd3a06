"""Whether GPUs can hold priced items within a budget of loss: a packing argument, in bounded work.

Prices y of items and worths z of GPUs that no set of items exceeds leave, of any way to hold all
items, the loss ``z - y(set)`` on each GPU, and all losses together are ``sum z - sum y``: the
budget. So only sets that lose no more than the budget on one GPU can occur. They are listed, and
a search covers every item by one of them, the item with the fewest sets left next. Where that
ends without a cover, nothing holds all items. A budget below 0 needs no search.

All arithmetic is on integers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvplace.core.certificates.knapsack import GRID, Bin, TooLarge, room_tables

__all__ = ["Item", "Work", "WorkSpentError", "no_cover"]

MAX_SETS = 60_000
"""Sets listed above which the checker gives up."""


class WorkSpentError(Exception):
    """The work allowed is used up."""


class Work:
    """Counts steps down.

    Parameters
    ----------
    steps
        How many are left.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises
        ------
        WorkSpentError
            None are left.
        """
        self._left -= steps
        if self._left < 0:
            raise WorkSpentError


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be held: one model, or several that go together.

    Parameters
    ----------
    price
        Above 0.
    sizes
        What it takes in each dimension of a GPU.
    apart
        Positions of the items that it may not share a GPU with.
    """

    price: int
    sizes: tuple[int, ...]
    apart: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of items that fits a kind of GPU: as bits of an integer, and what it loses there."""

    mask: int
    members: tuple[int, ...]
    loss: int
    kind: int


def no_cover(items: Sequence[Item], bins: Sequence[Bin], counts: Sequence[int], work: Work) -> str:
    """Say why prices and worths do not show that GPUs cannot hold all items; empty where they do.

    Parameters
    ----------
    items
        What is to be held, each once.
    bins, counts
        The kinds of GPU, and how many there are of each.
    work
        Ends it where that is too much.

    Returns
    -------
    str
        A `TooLarge` where it is not settled within the bounds on work.
    """
    worth = sum(kind.worth * count for kind, count in zip(bins, counts, strict=True))
    budget = worth - sum(item.price for item in items)
    dense = [(item.price << 32) // max(1, item.sizes[0]) for item in items]
    order = sorted(range(len(items)), key=lambda at: (-dense[at], at))
    ranked = [items[at] for at in order]
    place = {at: rank for rank, at in enumerate(order)}
    clashes = [sum(1 << place[other] for other in item.apart) for item in ranked]
    found: list[_Set] = []
    for number, kind in enumerate(bins):
        floor = kind.worth + 1 if budget < 0 else max(1, kind.worth - budget)
        for members, price in _sets(ranked, clashes, kind, floor, work):
            if price > kind.worth:
                return f"a set of models that fits {kind.name} is priced above its worth"
            mask = sum(1 << at for at in members)
            found.append(_Set(mask, members, kind.worth - price, number))
            if len(found) > MAX_SETS:
                return TooLarge("too many sets of models are within the budget")
    if budget < 0:
        return ""
    found.sort(key=lambda one: one.loss)
    if _covers(found, len(items), budget, list(counts), work):
        return "all models can be held within the budget that the prices leave"
    return ""


def _sets(
    items: list[Item], clashes: list[int], kind: Bin, floor: int, work: Work
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the sets that fit a kind of GPU and are priced at a floor or above."""
    limits = kind.limits
    levels = min(GRID, 32 * len(items))
    work.spend(levels * len(items) // 8)
    rows = [([(item.price, item.sizes[0])], 1) for item in items]
    tables = room_tables(rows, limits[0], levels)
    scale = limits[0] or 1

    def grow(
        first: int, members: tuple[int, ...], mask: int, price: int, taken: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        level = (limits[0] - taken[0]) * levels // scale
        for at in range(first, len(items)):
            work.spend(1)
            if price + tables[at][level] < floor:
                return
            if clashes[at] & mask:
                continue
            item = items[at]
            sums = tuple([a + b for a, b in zip(taken, item.sizes, strict=True)])
            if any(a > most for a, most in zip(sums, limits, strict=True)):
                continue
            now = (*members, at)
            if price + item.price >= floor:
                yield now, price + item.price
            yield from grow(at + 1, now, mask | 1 << at, price + item.price, sums)

    yield from grow(0, (), 0, 0, (0,) * len(limits))


def _covers(sets: list[_Set], items: int, budget: int, counts: list[int], work: Work) -> bool:
    """Whether some of the sets, in ascending order of loss, hold every item once."""
    everything = (1 << items) - 1

    def descend(live: list[_Set], covered: int, left: int) -> bool:
        if covered == everything:
            return True
        work.spend(len(live) + items)
        seen = [0] * items
        for one in live:
            for at in one.members:
                seen[at] += 1
        open_ = [at for at in range(items) if not covered >> at & 1]
        if not all(seen[at] for at in open_):
            return False
        bit = 1 << min(open_, key=seen.__getitem__)
        for one in live:
            if not one.mask & bit:
                continue
            rest = left - one.loss
            counts[one.kind] -= 1
            full = [number for number, count in enumerate(counts) if not count]
            taken = one.mask
            if full:
                further = [
                    o for o in live if not o.mask & taken and o.loss <= rest and o.kind not in full
                ]
            else:
                further = [o for o in live if not o.mask & taken and o.loss <= rest]
            work.spend(len(live))
            held = descend(further, covered | taken, rest)
            counts[one.kind] += 1
            if held:
                return True
        return False

    return descend([one for one in sets if one.loss <= budget], 0, budget)
