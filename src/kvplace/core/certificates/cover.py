"""Whether GPUs can hold priced models within a budget of loss: a packing argument, bounded.

An item is one way to have a model: an option with a price per shard, of which so many shards go on
GPUs of their own. Prices y of items and worths z of GPUs that no set of items exceeds leave, of any
way to hold every model, the loss ``z - y(set)`` on each GPU, besides what an option costs more than
the cheapest of its model. All losses together are ``sum z`` less the cheapest of every model: the
budget. So only sets that lose no more than the budget on one GPU can occur. They are listed, and
a search gives every model one of its options and that as many sets as it has shards, the model
with the fewest sets left next. Where that ends without a way, nothing holds all models. A budget
below 0 needs no search.

All arithmetic is on integers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.offers import Bin
from kvplace.core.certificates.relaxations import GRID
from kvplace.core.certificates.room_tables import room_tables

LOOK = 10_000
"""Steps between two looks at whether the work is to be halted."""
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
    halt
        Says from outside that no more are to be taken; None for nobody.
    """

    def __init__(self, steps: int, halt: Callable[[], object] | None = None) -> None:
        self._left, self._halt = steps, halt
        self._look = steps - LOOK

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises
        ------
        WorkSpentError
            None are left, or the work is halted.
        """
        self._left -= steps
        if self._left < 0:
            raise WorkSpentError
        if self._halt is not None and self._left < self._look:
            self._look = self._left - LOOK
            if self._halt():
                raise WorkSpentError


@dataclass(frozen=True, slots=True)
class Item:
    """One way to have a model.

    Parameters
    ----------
    model
        Number of the model; models are numbered from 0 without gaps.
    price
        Of one shard, above 0.
    shards
        How many GPUs hold one.
    sizes
        What a shard takes in each dimension, on each kind of GPU; None where it cannot be there.
    """

    model: int
    price: int
    shards: int
    sizes: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of items that fits a kind of GPU: as bits of an integer, and what it loses there."""

    mask: int
    members: tuple[int, ...]
    loss: int
    kind: int


def no_cover(items: Sequence[Item], bins: Sequence[Bin], counts: Sequence[int], work: Work) -> str:
    """Say why prices and worths do not show that GPUs cannot hold all models; empty if they do.

    Parameters
    ----------
    items
        Every way to have each model that is to be held.
    bins, counts
        The kinds of GPU, and how many there are of each.
    work
        Ends it where that is too much.

    Returns
    -------
    str
        A `TooLarge` where it is not settled within the bounds on work.
    """
    least: dict[int, int] = {}
    for item in items:
        whole = item.price * item.shards
        least[item.model] = min(whole, least.get(item.model, whole))
    worth = sum(kind.worth * count for kind, count in zip(bins, counts, strict=True))
    budget = worth - sum(least.values())
    found: list[_Set] = []
    for number, kind in enumerate(bins):
        floor = kind.worth + 1 if budget < 0 else max(1, kind.worth - budget)
        for members, price in _sets(items, number, kind, floor, work):
            if price > kind.worth:
                return f"a set of models that fits {kind.name} is priced above its worth"
            mask = sum(1 << at for at in members)
            found.append(_Set(mask, members, kind.worth - price, number))
            if len(found) > MAX_SETS:
                return TooLarge("too many sets of models are within the budget")
    if budget < 0:
        return ""
    found.sort(key=lambda one: one.loss)
    excess = [item.price * item.shards - least[item.model] for item in items]
    if _Search(items, excess, list(counts), work).covers(found, budget):
        return "all models can be held within the budget that the prices leave"
    return ""


def _sets(
    items: Sequence[Item], number: int, kind: Bin, floor: int, work: Work
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the sets that fit a kind of GPU and are priced at a floor or above."""
    limits = kind.limits
    ranked = [
        (-(item.price << 32) // max(1, item.sizes[number][0]), at, item.price, item.sizes[number])  # type: ignore[index]  # not None
        for at, item in enumerate(items)
        if item.sizes[number] is not None
    ]
    ranked.sort(key=lambda entry: entry[:2])
    order = [at for _, at, _, _ in ranked]
    rows = [(price, sizes) for _, _, price, sizes in ranked if sizes is not None]
    clashes = []
    for at in order:
        model = items[at].model
        clashes.append(sum(1 << other for other in order if items[other].model == model))
    levels = min(GRID, 32 * len(rows))
    work.spend(levels * len(rows) // 8 + len(rows) ** 2)
    tables = room_tables([([(price, sizes[0])], 1) for price, sizes in rows], limits[0], levels)
    scale = limits[0] or 1

    def grow(
        first: int, members: tuple[int, ...], barred: int, price: int, taken: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        level = (limits[0] - taken[0]) * levels // scale
        for at in range(first, len(rows)):
            work.spend(len(limits))
            if price + tables[at][level] < floor:
                return
            if barred >> order[at] & 1:
                continue
            more, sizes = rows[at]
            sums = tuple([a + b for a, b in zip(taken, sizes, strict=True)])
            if any(a > most for a, most in zip(sums, limits, strict=True)):
                continue
            now = (*members, order[at])
            if price + more >= floor:
                yield now, price + more
            yield from grow(at + 1, now, barred | clashes[at], price + more, sums)

    yield from grow(0, (), 0, 0, (0,) * len(limits))


class _Search:
    """Depth-first search for sets that hold every model."""

    def __init__(
        self, items: Sequence[Item], excess: list[int], counts: list[int], work: Work
    ) -> None:
        self._items, self._excess, self._counts, self._work = items, excess, counts, work
        self._models = 1 + max((item.model for item in items), default=-1)
        self._of = [0] * self._models  # the items of each model, as bits
        for at, item in enumerate(items):
            self._of[item.model] |= 1 << at

    def covers(self, sets: list[_Set], budget: int) -> bool:
        """Whether some of the sets hold every model within the budget."""
        live = [one for one in sets if one.loss <= budget]
        return self._descend(live, [-1] * self._models, 0, budget)

    def _descend(self, live: list[_Set], lacking: list[int], barred: int, left: int) -> bool:
        """Go on; of models without an option yet -1 shards are lacking."""
        if not any(lacking):
            return True
        self._work.spend(len(live) + self._models)
        items, seen = self._items, [0] * self._models
        for one in live:
            for at in one.members:
                seen[items[at].model] += 1
        open_ = [model for model, lack in enumerate(lacking) if lack]
        model = min(open_, key=seen.__getitem__)
        if not seen[model]:
            return False
        held, tried = self._of[model], set()
        for one in live:
            if not one.mask & held:
                continue
            rest, lack, bars = left - one.loss, list(lacking), barred
            for at in one.members:
                item = items[at]
                if lack[item.model] < 0:
                    lack[item.model] = item.shards
                    rest -= self._excess[at]
                    bars |= self._of[item.model] & ~(1 << at)
                lack[item.model] -= 1
                if not lack[item.model]:
                    bars |= 1 << at
            if rest < 0:
                continue
            self._counts[one.kind] -= 1
            full = {number for number, count in enumerate(self._counts) if not count}
            self._work.spend(len(live))
            further = [
                other
                for other in live
                if not other.mask & bars
                and other.loss <= rest
                and other.kind not in full
                and id(other) not in tried
            ]
            found = self._descend(further, lack, bars, rest)
            self._counts[one.kind] += 1
            if found:
                return True
            tried.add(id(one))  # with it all was tried; from here on without it
        return False
