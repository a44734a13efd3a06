"""Relaxations: what no set of priced shards exceeds, by tables over levels of room.

Of many models, those with the same sizes rounded down to levels are alike, and any number of each
is allowed: what bounds such sets bounds those that fit a GPU.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import le

from kvplace.core.certificates.offers import Bin, Offers
from kvplace.core.certificates.room_tables import pair_table

GRID = 2048
"""Levels of room in a table over one limit."""
FINE, NEAR = 2 * GRID, 128
"""Levels in a table that is made where the coarser one is above the worth by at most that part of
it: four times the work."""
PAIRED = 128
"""Levels of room of each of two limits in a table over both."""
TABLE_STEPS = 40_000_000
"""Additions that a table may cost; it has fewer levels where it would cost more."""
CHEAP = 8
"""Additions in a table that take as long as one step of a search."""
BOTH = 2
"""Limits of which a table knows all."""


def evidently_below(
    groups: list[Offers], bins: Sequence[Bin], spend: Callable[[int], object], whole: int = 0
) -> set[int]:
    """Return the kinds of GPU for which relaxations show that no set exceeds the worth.

    A set is priced at most at its whole room times the best price per size. Of many offers, those
    with the same size rounded down to a `GRID` of levels are alike: a table over the levels, any
    number of each allowed, bounds the sets of the shards that fit a kind at all. So does a table
    over pairs of levels where there are two limits: coarser, but it knows both.

    Levels are parts of `whole`, or of the largest first limit where that is more. `spend` is as in
    `kvplace.core.certificates.knapsack.set_above`.
    """
    found = set()
    for row in range(len(bins[0].limits) if bins else 0):
        *_, (price, size) = (0, 1), *densest(groups, row)
        for at, kind in enumerate(bins):
            if size and kind.limits[row] * price // size <= kind.worth:
                found.add(at)
    if len(found) == len(bins) or 8 * sum(map(len, groups)) <= GRID:
        return found
    whole = max(whole, *(kind.limits[0] for kind in bins)) + 1
    rest = set(range(len(bins))) - found
    most = _most_on_levels(groups, bins, rest, whole, GRID, math.inf, spend)
    found |= {at for at, price in most.items() if price <= bins[at].worth}
    near = {at for at, price in most.items() if price * NEAR <= bins[at].worth * (NEAR + 1)}
    most = _most_on_levels(groups, bins, near - found, whole, FINE, TABLE_STEPS, spend)
    found |= {at for at, price in most.items() if price <= bins[at].worth}
    if len(found) < len(bins) and len(bins[0].limits) == BOTH:
        spend(min(TABLE_STEPS, PAIRED * PAIRED * sum(map(len, groups))) // CHEAP)
        found |= _below_in_pairs(groups, bins)
    return found


def _most_on_levels(
    groups: list[Offers],
    bins: Sequence[Bin],
    kinds: set[int],
    whole: int,
    levels: int,
    steps: float,
    spend: Callable[[int], object],
) -> dict[int, int]:
    """Return what no set on some kinds of GPU is priced above, by tables over levels.

    Kinds for which tables would take more steps than allowed are left out.
    """
    tables: dict[tuple[int, ...], list[int]] = {}
    most = {}
    for at in sorted(kinds, key=lambda at: -bins[at].limits[0]):
        kind = bins[at]
        spend(sum(map(len, groups)))
        dearest, free = _dearest_that_fit(groups, kind, whole, levels)
        room = kind.limits[0] * levels // whole
        key = tuple(dearest[: room + 1])
        table = next((table for of, table in tables.items() if of[: room + 1] == key), None)
        if table is None:
            steps -= room * room // 2
            if steps < 0:
                break
            spend(room * room // CHEAP)
            table = tables[key] = _table(dearest, room)
        most[at] = free + table[room]
    return most


def _below_in_pairs(groups: list[Offers], bins: Sequence[Bin]) -> set[int]:
    """Return the kinds of GPU for which a table over both limits shows it."""
    whole = [max(kind.limits[row] for kind in bins) + 1 for row in (0, 1)]
    items, free = [], 0
    for offers in groups:
        none = 0
        for price, (first, second) in offers:
            pair = first * PAIRED // whole[0], second * PAIRED // whole[1]
            if any(pair):
                items.append((price, *pair))
            else:
                none = max(none, price)
        free += none
    rooms = [(k.limits[0] * PAIRED // whole[0], k.limits[1] * PAIRED // whole[1]) for k in bins]
    most = max(first for first, _ in rooms), max(second for _, second in rooms)
    table = pair_table(items, most, TABLE_STEPS)
    return {
        at
        for at, (first, second) in enumerate(rooms)
        if table and free + table[second][first] <= bins[at].worth
    }


def _dearest_that_fit(
    groups: list[Offers], kind: Bin, whole: int, levels: int
) -> tuple[list[int], int]:
    """Return the highest price up to each level of what fits a kind, and what takes no level."""
    dearest, free = [0] * (levels + 1), 0
    for offers in groups:
        none = 0
        for offer in offers:
            if all(map(le, offer.sizes, kind.limits)):
                level = offer.sizes[0] * levels // whole
                dearest[level] = max(dearest[level], offer.price)
                none = none if level else max(none, offer.price)
        free += none
    dearest[1:] = accumulate(dearest[1:], max)
    return dearest, free


def _table(dearest: list[int], room: int) -> list[int]:
    """Return the highest price of shards that fit each level of room, any number alike."""
    table = [0]
    needed: list[tuple[int, int]] = []
    for level in range(1, room + 1):
        most = max((table[level - size] + price for size, price in needed), default=0)
        if dearest[level] > most:  # than any that smaller ones come to
            needed.append((level, dearest[level]))
            most = dearest[level]
        table.append(max(most, table[-1]))
    return table


def densest(kinds: list[Offers], row: int) -> Iterator[tuple[int, int]]:
    """Yield, from the last kind on, price and size of the best per size of those seen so far."""
    price, size = 0, 1
    for offers in reversed(kinds):
        for offer in offers:
            taken = offer.sizes[row]
            if offer.price * size > price * taken:
                price, size = offer.price, taken
        yield price, size
