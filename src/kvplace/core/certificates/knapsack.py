"""Whether some set of priced shards that fits one GPU is worth more than the GPU.

Exact, on integers: two relaxations that settle most questions in one pass, a third, and a search.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from operator import add
from typing import NamedTuple

__all__ = ["GRID", "SCALE_BITS", "Offer", "Offers", "TooLarge", "set_above"]

SCALE_BITS = 64
"""Sizes are integers in units of 2**-64 bytes: fine enough where a single byte stays free."""
GRID = 2048
"""Most levels of room in the checker's table."""
PLAIN_STEPS = 500
"""Sets grown before tables are made."""
ENTRIES = 1 << 23
"""Most numbers in such a table: of many models it has fewer levels."""
MAX_STEPS = 2_000_000
"""Sets grown after which the checker gives up."""
MAX_STATES = 500_000
"""Sets kept at once, each some 200 bytes, above which the checker gives up."""
MAX_ENTRIES = 200_000
"""Prices below a worth, times offers, up to which each price's least size is worked out."""
TABLE_STEPS = 40_000_000
"""Additions that a table may cost; it has fewer levels where it would cost more."""
LEAST_LEVELS = 16
"""Levels below which a table says too little to be worth making."""


class TooLarge(str):
    """Why a question was not settled within the checker's bounds: no verdict on the claim."""

    __slots__ = ()


class Offer(NamedTuple):
    """One way to have a shard of a model on a GPU: its price, size at K, and least memory."""

    price: int
    size: int
    kept: int


Offers = tuple[Offer, ...]
"""Those of one model, of which a GPU holds at most one."""


def set_above(groups: list[Offers], worths: dict[int, int]) -> str:
    """Say which size of memory some set of shards fits that is priced above its worth.

    Parameters
    ----------
    groups
        What may be priced, at most one of each group on a GPU.
    worths
        By size of memory.

    Returns
    -------
    str
        Empty where there is none, and this is proved; a `TooLarge` where that is not settled
        within the checker's bounds on work and memory.
    """
    evidently = _evidently_below(groups, worths)
    for memory, worth in worths.items():
        failure = "" if memory in evidently else _knapsack_above(groups, memory, worth)
        if failure:
            return failure
    return ""


def _evidently_below(groups: list[Offers], worths: dict[int, int]) -> set[int]:
    """Return the sizes of memory for which two relaxations show that no set exceeds the worth.

    A set is priced at most at its whole room times the best price per size. Of many models, those
    with the same size rounded down to a `GRID` of levels are alike: one table over the levels,
    any number of each allowed, bounds the sets of every memory.
    """
    found = set()
    for kept in (False, True):
        *_, (price, size) = (0, 1), *_densest(groups, kept=kept)
        for memory, worth in worths.items():
            room = memory if kept else (memory << SCALE_BITS) - 1
            if size and room * price // size <= worth:
                found.add(memory)
    if len(found) == len(worths) or 8 * len(groups) <= GRID:
        return found
    whole = max(worths) << SCALE_BITS
    dearest, free = [0] * (GRID + 1), 0
    for offers in groups:
        for offer in offers:
            level = offer.size * GRID // whole
            if level <= GRID and offer.price > dearest[level]:
                dearest[level] = offer.price
        free += max(offer.price if offer.size * GRID < whole else 0 for offer in offers)
    dearest[1:] = accumulate(dearest[1:], max)
    table = [0]
    for level in range(1, GRID + 1):
        table.append(max(map(add, table[::-1], dearest[1 : level + 1])))
    rooms = {memory: ((memory << SCALE_BITS) - 1) * GRID // whole for memory in worths}
    return found | {m for m, worth in worths.items() if free + table[rooms[m]] <= worth}


def _knapsack_above(groups: list[Offers], memory: int, worth: int) -> str:
    """Say whether a set of shards that fits `memory`, one per group, is priced above `worth`.

    Where prices are small whole numbers, the least size of a set above `worth` says it. Otherwise
    sets grow by one group after the other (Nemhauser and Ullmann, Management Science 15, 1969).
    Those are dropped that another one dominates, and those that the groups still to come cannot
    lift above `worth`: by the best price per size among them, or by a table made by dynamic
    programming with sizes rounded down to `GRID` levels.
    """
    capacity = (memory << SCALE_BITS) - 1  # strictly below M
    fitting = (
        tuple(offer for offer in offers if offer.size <= capacity and offer.kept <= memory)
        for offers in groups
    )
    alike = Counter(offers for offers in fitting if offers)
    implied = all(o.kept << SCALE_BITS <= o.size for offers in alike for o in offers)
    limits = (False,) if implied else (False, True)
    if any(_fractional(alike, memory, kept=kept) <= worth for kept in limits):
        return ""
    if _least_above(alike, worth) > capacity:
        return ""
    kinds = sorted(alike.items(), key=lambda kind: (-kind[0][0].size, str(kind[0])))
    bounds = _Reach(kinds, capacity, memory, implied=implied)
    states = [(0, 0, 0)]  # size, weights and KV, price
    steps = 0
    for at, (offers, count) in enumerate(kinds):
        grown, found = states, list(states)
        for _ in range(count):
            steps += len(grown) * len(offers)
            if steps > MAX_STEPS or len(found) > MAX_STATES:
                return TooLarge(
                    f"the knapsack for {memory} bytes is not settled within the work allowed"
                )
            grown = [
                (size + offer.size, 0 if implied else least + offer.kept, price + offer.price)
                for size, least, price in grown
                for offer in offers
                if size + offer.size <= capacity and least + offer.kept <= memory
            ]
            if not grown:
                break
            if len(offers) > 1:  # the same models in another order
                grown = _undominated(grown)
            found += grown
        if any(price > worth for _, _, price in found):
            return f"a set of models that fits {memory} bytes is priced above its worth {worth}"
        states = _undominated(bounds.above(worth, at + 1, found, tabled=steps > PLAIN_STEPS))
    return ""


_State = tuple[int, int, int]


def _undominated(states: list[_State]) -> list[_State]:
    """Return states, by size, without some that others are better than or equal to."""
    states.sort(key=lambda state: (state[0], -state[2]))
    best, least, left = -1, 0, []
    for state in states:
        if state[2] > best:
            _, least, best = state
            left.append(state)
        elif state[1] < least:
            left.append(state)
    return left


class _Reach:
    """What the groups from one on can still add at most.

    Parameters
    ----------
    kinds
        Groups and how many are like each.
    capacity, memory
        What bounds the sizes of a set, and its weights and KV.
    implied
        Whether the first bound says all that the second says.
    """

    def __init__(
        self, kinds: list[tuple[Offers, int]], capacity: int, memory: int, *, implied: bool
    ) -> None:
        self._kinds = kinds
        self._capacity = capacity
        self._memory = memory
        self._implied = implied
        offers = sum(len(offers) * min(count, GRID) for offers, count in kinds)
        most = min(ENTRIES // max(1, len(kinds)), TABLE_STEPS // max(1, offers))
        self._levels = min(GRID, 8 * len(kinds), max(1, most))
        self._dense = [(0, 1), *_densest([offers for offers, _ in kinds])][::-1]

    def above(self, worth: int, at: int, states: list[_State], *, tabled: bool) -> list[_State]:
        """Return the states that the groups from `at` on may lift above a worth."""
        capacity, memory, levels = self._capacity, self._memory, self._levels
        best, size_ = self._dense[at]
        left = [s for s in states if not size_ or s[2] + (capacity - s[0]) * best // size_ > worth]
        if not tabled or levels < LEAST_LEVELS:  # most searches end before the tables pay
            return left
        more = self._by_size[at]
        left = [s for s in left if s[2] + more[(capacity - s[0]) * levels // capacity] > worth]
        if self._implied:
            return left
        more = self._by_least[at]
        return [s for s in left if s[2] + more[(memory - s[1]) * levels // memory] > worth]

    @cached_property
    def _by_size(self) -> list[list[int]]:
        items = [([(o.price, o.size) for o in offers], n) for offers, n in self._kinds]
        return _tables(items, self._capacity, self._levels)

    @cached_property
    def _by_least(self) -> list[list[int]]:
        items = [([(o.price, o.kept) for o in offers], n) for offers, n in self._kinds]
        return _tables(items, self._memory, self._levels)


def _least_above(alike: Counter[Offers], worth: int) -> float:
    """Return the least size of a set priced above `worth`; 0 where prices are too fine to say.

    By dynamic programming over the prices, in units of their greatest common divisor.
    """
    unit = math.gcd(*(offer.price for offers in alike for offer in offers))
    levels = worth // unit + 1 if unit else 0
    if levels * sum(len(offers) * count for offers, count in alike.items()) > MAX_ENTRIES:
        return 0
    least: list[float] = [0] + [math.inf] * levels  # by price reached; integers, but for inf
    for offers, count in alike.items():
        for _ in range(count):
            table = least
            for offer in offers:
                price = min(offer.price // unit, levels)
                taken = [0] * price + table[: levels + 1 - price]
                least = [min(a, b + offer.size) for a, b in zip(least, taken, strict=True)]
    return least[levels]


def _densest(kinds: list[Offers], *, kept: bool = False) -> Iterator[tuple[int, int]]:
    """Yield, from the last kind on, price and size of the best per size of those seen so far."""
    price, size = 0, 1
    for offers in reversed(kinds):
        for offer in offers:
            taken = offer.kept if kept else offer.size
            if offer.price * size > price * taken:
                price, size = offer.price, taken
        yield price, size


def _fractional(alike: Counter[Offers], memory: int, *, kept: bool) -> int:
    """Return a price that no set that fits exceeds, fractions of one model allowed (Dantzig).

    Room at any price is such a bound, plus all that offers are worth above it. The price chosen
    is that of the last offer that fits, by falling price per size.
    """
    room = memory if kept else (memory << SCALE_BITS) - 1
    items = [[(o.price, o.kept if kept else o.size) for o in offers] + [(0, 1)] for offers in alike]
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
    whole = of * room
    for options, count in zip(items, alike.values(), strict=True):
        whole += count * max(0, *(price * per - of * size for price, size in options))
    return whole // per


def _tables(
    items: list[tuple[list[tuple[int, int]], int]], capacity: int, levels: int
) -> list[list[int]]:
    """Return, per item and level of room, what it and those after it could add at most.

    Parameters
    ----------
    items
        Pairs of price and size of which one is taken, and how often the item is there.
    capacity
        Size of the whole room.
    levels
        Steps into which it is cut.
    """
    table = [0] * (levels + 1)
    tables = [table]
    for offers, count in reversed(items):
        steps = [(value, size * levels // capacity if capacity else 0) for value, size in offers]
        free = max((value for value, step in steps if step == 0), default=0)
        least = min((step for _, step in steps if step), default=0)
        for _ in range(min(count, levels // least) if least else 0):
            lifted = list(table)
            for value, step in steps:
                if step and step <= levels:
                    shifted = [entry + value for entry in table[: levels + 1 - step]]
                    lifted[step:] = map(max, lifted[step:], shifted)
            table = lifted
        if free:
            table = [entry + count * free for entry in table]
        tables.append(table)
    return tables[::-1]
