"""Tables of the highest price by room: of items there once each, or any number of times."""

from collections.abc import Iterable
from itertools import accumulate

Item = tuple[int, int, int]
"""Price of a shard, and what it takes of the first and the second room, not both 0."""


def room_tables(
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
        free, steps = _steps(offers, capacity, levels)
        for _ in range(min(count, levels // steps[0][1]) if steps else 0):
            lifted = list(table)
            for value, step in steps:
                if step <= levels:
                    lifted[step:] = _better(lifted[step:], table, value)
            table = lifted
        if free:
            table = [entry + count * free for entry in table]
        tables.append(table)
    return tables[::-1]


def _steps(
    offers: list[tuple[int, int]], capacity: int, levels: int
) -> tuple[int, list[tuple[int, int]]]:
    """Return what is to be had for no step of room, and what each number of steps adds to that.

    Of offers that take as many steps or more, those that are priced no higher are left out.
    """
    dearest: dict[int, int] = {}
    for value, size in offers:
        step = size * levels // capacity if capacity else 0
        dearest[step] = max(value, dearest.get(step, 0))
    free = highest = dearest.pop(0, 0)
    steps = []
    for step, value in sorted(dearest.items()):
        if value > highest:
            steps.append((value, step))
            highest = value
    return free, steps


def pair_table(items: Iterable[Item], rooms: tuple[int, int], steps: int) -> list[list[int]]:
    """Return the highest price by room, second dimension first; empty where that is too much work.

    Parameters
    ----------
    items
        Each may be taken any number of times.
    rooms
        The largest room in both dimensions.
    steps
        Additions that the table may cost.
    """
    most, lines = rooms
    table = [[0] * (most + 1) for _ in range(lines + 1)]
    for price, first, second in _useful(items, rooms):
        if table[second][first] >= price:
            continue  # others are worth as much in the same room
        steps -= (most + 1 - first) * (lines + 1 - second)
        if steps < 0:
            return []
        if second:
            for line in range(second, lines + 1):
                row = table[line]
                row[first:] = _better(row[first:], table[line - second], price)
        else:
            for row in table:
                for start in range(first, most + 1, first):
                    part = slice(start, start + first)
                    row[part] = _better(row[part], row[start - first : start], price)
    return table


def _better(held: list[int], before: list[int], price: int) -> list[int]:
    """Return the higher of what is held and what was held before with one shard more."""
    pairs = zip(held, before, strict=False)
    return [now if now > (more := value + price) else more for now, value in pairs]


def _useful(items: Iterable[Item], rooms: tuple[int, int]) -> list[Item]:
    """Return the items dearer than all that take no more of either room, the densest first."""
    most, lines = rooms
    dearest = [[0] * (most + 1) for _ in range(lines + 1)]
    for price, first, second in items:
        if first <= most and second <= lines and price > dearest[second][first]:
            dearest[second][first] = price
    found: list[Item] = []
    below = [0] * (most + 1)
    for second, row in enumerate(dearest):
        risen = list(accumulate(map(max, row, below), max))
        for first, price in enumerate(row):
            cheaper = max(below[first], risen[first - 1] if first else 0)
            if price > cheaper:
                found.append((price, first, second))
        below = risen
    found.sort(key=lambda item: (-item[0] * (most + lines + 1) ** 2 // (item[1] + item[2]), item))
    return found
