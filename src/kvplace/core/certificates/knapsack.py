"""Whether some set of priced shards that fits one GPU is worth more than the GPU.

A set fits where it keeps every limit of the GPU: its sizes in each dimension sum up to no more
than the limit there. Exact, on integers: relaxations that settle most questions in one pass, and
a search.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from operator import add, le, mul

from kvplace.core.certificates.offers import Bin, Offer, Offers
from kvplace.core.certificates.relaxations import GRID, TABLE_STEPS, densest, evidently_below
from kvplace.core.certificates.room_tables import room_tables

PLAIN_STEPS = 500
"""Sets grown before tables are made."""
ENTRIES = 1 << 23
"""Most numbers in such a table: of many models it has fewer levels."""
MAX_STEPS = 2_000_000
"""Sets grown after which the checker gives up."""
MAX_STATES = 500_000
"""Sets kept at once, each some 200 bytes, above which the checker gives up."""
FEW_STATES = 200
"""Sets kept at once for which no further table is made."""
MAX_ENTRIES = 200_000
"""Prices below a worth, times offers, up to which each price's least size is worked out."""
LEAST_LEVELS = 16
"""Levels below which a table says too little to be worth making."""


class TooLarge(str):
    """Why a question was not settled within the checker's bounds: no verdict on the claim."""

    __slots__ = ()


def set_above(
    groups: list[Offers],
    bins: Sequence[Bin],
    spend: Callable[[int], object] | None = None,
    whole: int = 0,
    *,
    tabled: bool = True,
) -> str:
    """Say which kind of GPU some set of shards fits that is priced above its worth.

    Parameters
    ----------
    groups
        What may be priced, at most one of each group on a GPU.
    bins
        The kinds of GPU.
    spend
        Told how many steps are taken before they are. None for nobody.
    whole
        The first limit that prices on levels were made for, where it is above those of the bins.
    tabled
        Whether tables for many models at once are made.

    Returns
    -------
    str
        Empty where there is none, and this is proved; a `TooLarge` where that is not settled
        within the checker's bounds on work and memory.
    """
    spend = spend or _free
    evidently = evidently_below(groups, bins, spend, whole) if tabled else set()
    for at, kind in enumerate(bins):
        failure = "" if at in evidently else _knapsack_above(groups, kind, spend)
        if failure:
            return failure
    return ""


def _free(_: int) -> None:
    """Count no steps."""


def _knapsack_above(groups: list[Offers], kind: Bin, spend: Callable[[int], object]) -> str:
    """Say whether a set of shards that fits a GPU, one per group, is priced above its worth.

    Where prices are small whole numbers, the least size of a set above the worth says it.
    Otherwise sets grow by one group after the other (Nemhauser and Ullmann, Management Science
    15, 1969). Those are dropped that another one dominates, and those that the groups still to
    come cannot lift above the worth: by the best price per size among them, or by a table made by
    dynamic programming with sizes rounded down to `GRID` levels.
    """
    worth = kind.worth
    spend(4 * len(kind.limits) * sum(map(len, groups)))
    fitting = (
        tuple(offer for offer in offers if all(map(le, offer.sizes, kind.limits)))
        for offers in groups
    )
    alike, limits = _needed(Counter(offers for offers in fitting if offers), kind.limits)
    for row, limit in enumerate(limits):
        alike = _worthwhile(alike, row, limit, worth)
        if not alike:
            return ""
    if any(_least_above(alike, row, worth, spend) > limit for row, limit in enumerate(limits)):
        return ""
    kinds = sorted(alike.items(), key=lambda kind: (-kind[0][0].sizes[0], str(kind[0])))
    bounds = _Reach(kinds, limits, spend)
    states: list[_State] = [(0, *(0 for _ in limits))]
    steps = 0
    for at, (offers, count) in enumerate(kinds):
        grown, found = states, list(states)
        for _ in range(count):
            steps += len(grown) * len(offers)
            spend(2 * (len(grown) * len(offers) + len(found)))
            if steps > MAX_STEPS or len(found) > MAX_STATES:
                return TooLarge(
                    f"the knapsack for {kind.name} is not settled within the work allowed"
                )
            grown = _grown(grown, offers, limits)
            if not grown:
                break
            if len(offers) > 1:  # the same models in another order
                grown = _undominated(grown)
            found += grown
        if any(state[0] > worth for state in found):
            return f"a set of models that fits {kind.name} is priced above its worth {worth}"
        states = _undominated(bounds.above(worth, at + 1, found, tabled=steps > PLAIN_STEPS))
    return ""


_State = tuple[int, ...]
"""Price of a set, and its size in each dimension."""


def _needed(alike: Counter[Offers], limits: tuple[int, ...]) -> tuple[Counter[Offers], _State]:
    """Return the offers and limits without dimensions whose limits follow from another's.

    That is so where no offer takes a larger part of the limit than it takes of the other's.
    """
    rows: list[int] = []
    every = [offer for offers in alike for offer in offers]
    for row, limit in enumerate(limits):
        if not any(
            limits[by] and all(o.sizes[row] * limits[by] <= o.sizes[by] * limit for o in every)
            for by in rows
        ):
            rows.append(row)
    if len(rows) == len(limits):
        return alike, limits
    left: Counter[Offers] = Counter()
    for offers, count in alike.items():
        left[tuple(Offer(o.price, tuple(o.sizes[r] for r in rows)) for o in offers)] += count
    return left, tuple(limits[row] for row in rows)


def _grown(states: list[_State], offers: Offers, limits: tuple[int, ...]) -> list[_State]:
    """Return what fits of sets with one offer more."""
    if len(limits) == 1:
        most = limits[0]
        single = [(price, sizes[0]) for price, sizes in offers]
        return [
            (has + price, taken + size)
            for has, taken in states
            for price, size in single
            if taken + size <= most
        ]
    if len(limits) == 2:
        first, second = limits
        pairs = [(price, *sizes) for price, sizes in offers]
        return [
            (has + price, a + size, b + least)
            for has, a, b in states
            for price, size, least in pairs
            if a + size <= first and b + least <= second
        ]
    more = [(price, *sizes) for price, sizes in offers]
    sums = (tuple(map(add, state, row)) for state in states for row in more)
    return [state for state in sums if all(map(le, state[1:], limits))]


def _undominated(states: list[_State]) -> list[_State]:
    """Return states, by size, without some that others are better than or equal to."""
    states.sort(key=lambda state: (state[1], -state[0]))
    best: _State = ()
    left = []
    for state in states:
        if not best or state[0] > best[0]:
            best = state
            left.append(state)
        elif not all(map(le, best[2:], state[2:])):
            left.append(state)
    return left


class _Reach:
    """What the groups from one on can still add at most.

    Parameters
    ----------
    kinds
        Groups and how many are like each.
    limits
        What bounds the sizes of a set.
    spend
        As of `set_above`.
    """

    def __init__(
        self,
        kinds: list[tuple[Offers, int]],
        limits: tuple[int, ...],
        spend: Callable[[int], object],
    ) -> None:
        self._kinds, self._spend = kinds, spend
        self._limits = limits
        self._tables: dict[int, list[list[int]]] = {}
        offers = sum(len(offers) * min(count, GRID) for offers, count in kinds)
        most = min(ENTRIES // max(1, len(kinds)), TABLE_STEPS // max(1, offers))
        self._levels = min(GRID, 8 * len(kinds), max(1, most))
        self._dense = [(0, 1), *densest([offers for offers, _ in kinds], 0)][::-1]

    def above(self, worth: int, at: int, states: list[_State], *, tabled: bool) -> list[_State]:
        """Return the states that the groups from `at` on may lift above a worth."""
        limit, levels = self._limits[0], self._levels
        best, size_ = self._dense[at]
        left = [s for s in states if not size_ or s[0] + (limit - s[1]) * best // size_ > worth]
        if not tabled or levels < LEAST_LEVELS:  # most searches end before the tables pay
            return left
        for row, limit in enumerate(self._limits):
            if len(left) < FEW_STATES and row not in self._tables:
                break
            more, column = self._table(row)[at], row + 1
            left = [
                s
                for s in left
                if s[0] + more[(limit - s[column]) * levels // limit if limit else 0] > worth
            ]
        return left

    def _table(self, row: int) -> list[list[int]]:
        """Return the table of a dimension, made when it is first asked for."""
        if row not in self._tables:
            offers = sum(len(offers) * min(n, GRID) for offers, n in self._kinds)
            self._spend(self._levels * offers // 4)
            items = [([(o.price, o.sizes[row]) for o in offers], n) for offers, n in self._kinds]
            self._tables[row] = room_tables(items, self._limits[row], self._levels)
        return self._tables[row]


def _least_above(
    alike: Counter[Offers], row: int, worth: int, spend: Callable[[int], object]
) -> float:
    """Return the least size of a set priced above `worth`; 0 where prices are too fine to say.

    By dynamic programming over the prices, in units of their greatest common divisor.
    """
    unit = math.gcd(*(offer.price for offers in alike for offer in offers))
    levels = worth // unit + 1 if unit else 0
    entries = levels * sum(len(offers) * count for offers, count in alike.items())
    if entries > MAX_ENTRIES:
        return 0
    spend(entries)
    least: list[float] = [0] + [math.inf] * levels  # by price reached; integers, but for inf
    for offers, count in alike.items():
        for _ in range(count):
            table = least
            for offer in offers:
                price = min(offer.price // unit, levels)
                taken = [0] * price + table[: levels + 1 - price]
                least = [min(a, b + offer.sizes[row]) for a, b in zip(least, taken, strict=True)]
    return least[levels]


def _worthwhile(alike: Counter[Offers], row: int, room: int, worth: int) -> Counter[Offers]:
    """Return the offers that a set priced above `worth` may hold, fractions allowed (Dantzig).

    Room at any price is more than all sets are priced that fit, plus all that offers are worth
    above it; with an offer in the set that is worth less than another in its place, less. The price
    chosen is that of the last offer that fits, by falling price per size.
    """
    items = [[(o.price, o.sizes[row]) for o in offers] + [(0, 1)] for offers in alike]
    dense = sorted(
        (
            (*max(((price << 64) // (size or 1), price, size) for price, size in options), count)
            for options, count in zip(items, alike.values(), strict=True)
        ),
        reverse=True,
    )
    left, of, per = room, 0, 1
    for _, price, size, count in dense:
        left -= size * count
        if left < 0:
            of, per = price, size
            break
    gains = [[price * per - of * size for price, size in options[:-1]] for options in items]
    most = [max(0, *options) for options in gains]
    spare = of * room + sum(map(mul, most, alike.values())) - worth * per
    found: Counter[Offers] = Counter()
    if spare < per:
        return found
    for (offers, count), options, best in zip(alike.items(), gains, most, strict=True):
        pairs = zip(offers, options, strict=True)
        kept = tuple(offer for offer, gain in pairs if best - gain <= spare - per)
        if kept:
            found[kept] += count
    return found
