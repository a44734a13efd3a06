"""What priced items add at most, by the room that is left: tables which cut off searches."""

__all__ = ["room_tables"]


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
                    shifted = [entry + value for entry in table[: levels + 1 - step]]
                    lifted[step:] = map(max, lifted[step:], shifted)
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
