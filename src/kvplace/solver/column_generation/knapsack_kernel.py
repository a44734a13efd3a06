"""Compiled parts of exact pricing: tables of what may be added, and the search for dear sets.

Rows are options of models, those of one group side by side, of which a set holds one at most.
Tables are made by dynamic programming over levels of room, with sizes rounded down.
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.kernels import kernel

FIRST_STEP, SHORTER = 0.5, 0.15
"""Step of the prices of room, to the best bound so far, and how fast later ones become shorter."""


@kernel
def weigh_limits(
    parts: Floats, prices: Floats, after: Ints, weights: Floats, rounds: int
) -> float:  # fmt: skip
    """Weigh several limits so that one mixed of them leaves least, by subgradients.

    Room at any prices bounds what a set is priced: all room, and for each group what its best row
    is priced above the room it takes (Lagrange).

    Parameters
    ----------
    parts
        (limits, rows) what a row takes of each limit, of 1.
    prices
        (rows,) their prices.
    after
        (rows,) number of the group after that of each row.
    weights
        (limits,) prices of room to begin with; the best found are written there.
    rounds
        Prices looked at.

    Returns
    -------
    float
        No set within all limits is priced above.
    """
    limits, n = parts.shape
    now, slope = weights.copy(), np.empty(limits)
    lowest = np.inf
    for step in range(rounds):
        bound = 0.0
        for limit in range(limits):
            bound += now[limit]
            slope[limit] = 1.0
        row = 0
        while row < n:
            group, gain, best = after[row], 0.0, -1
            while row < n and after[row] == group:
                more = prices[row]
                for limit in range(limits):
                    more -= now[limit] * parts[limit, row]
                if more > gain:
                    gain, best = more, row
                row += 1
            if best >= 0:
                bound += gain
                for limit in range(limits):
                    slope[limit] -= parts[limit, best]
        if bound < lowest:
            lowest = bound
            weights[:] = now
        length = 0.0
        for limit in range(limits):
            length += slope[limit] * slope[limit]
        if length <= 0.0:
            break
        stride = FIRST_STEP * lowest / ((1.0 + SHORTER * step) * np.sqrt(length))
        for limit in range(limits):
            now[limit] = max(0.0, now[limit] - stride * slope[limit])
    return lowest


@kernel
def level_tables(steps: Ints, prices: Floats, after: Ints, tables: Floats) -> None:
    """Write down what the groups from one on add at most by level of room, limit by limit.

    Parameters
    ----------
    steps
        (limits, rows) levels that a row takes, rounded down.
    prices, after
        As of `weigh_limits`.
    tables
        (limits, groups + 1, levels + 1) what is written.
    """
    limits, n = steps.shape
    levels = tables.shape[2] - 1
    for limit in range(limits):
        tables[limit, tables.shape[1] - 1] = 0.0
        end = n
        while end > 0:
            group = after[end - 1] - 1
            first = end - 1
            while first > 0 and after[first - 1] - 1 == group:
                first -= 1
            here, rest = tables[limit, group], tables[limit, group + 1]
            here[:] = rest
            for row in range(first, end):
                step, price = steps[limit, row], prices[row]
                useless = False  # another takes no more and is priced no lower
                for other in range(first, end):
                    if steps[limit, other] <= step and prices[other] >= price and other != row:
                        less = steps[limit, other] < step or prices[other] > price
                        if less or other < row:
                            useless = True
                            break
                if not useless:
                    for level in range(levels + 1 - step):
                        here[level + step] = max(here[level + step], rest[level] + price)
            end = first


@kernel
def _enough(tables: Floats, scales: Floats, group: int, left: Floats, short: float) -> bool:
    """Return whether the groups from one on may add what is short of a price in the room left."""
    for limit in range(len(left)):
        if tables[limit, group, int(left[limit] * scales[limit])] < short:
            return False
    return True


@kernel
def _keep(
    price: float, path: Ints, count: int, rows: Ints, lengths: Ints, worths: Floats
) -> int:  # fmt: skip
    """Keep a set, in place of the least where there is no room; return how many there are."""
    most = len(worths)
    place = count if count < most else int(worths.argmin())
    worths[place], lengths[place] = price, len(path)
    rows[place, : len(path)] = path
    return min(count + 1, most)


@kernel
def dearest_sets(
    sizes: Floats,
    capacity: Floats,
    prices: Floats,
    after: Ints,
    beyond: Ints,
    tables: Floats,
    scales: Floats,
    floor: float,
    nodes: int,
    rows: Ints,
    lengths: Ints,
    worths: Floats,
) -> tuple[int, float, bool]:
    """Find the sets priced at least `floor`; where those are too many, the dearest of them.

    Depth first, for as long as what may still be added is enough.

    Parameters
    ----------
    sizes, capacity
        (limits, rows) what a row takes, and (limits,) what a set takes at most.
    prices, after
        As of `weigh_limits`.
    beyond
        (rows,) first row of the group after that of each row.
    tables, scales
        Of `level_tables`, and (limits,) levels per unit of room.
    floor
        Least price, above 0.
    nodes
        Rows looked at, at most.
    rows, lengths, worths
        (most, groups), (most,), (most,) what is written: sets, how many rows each has, and prices.

    Returns
    -------
    tuple
        How many sets there are; the price from which on none is missing; whether all were looked
        at, without which that price means nothing.
    """
    limits, n = sizes.shape
    most, depth = rows.shape
    path, cursor = np.zeros(depth + 1, dtype=np.int64), np.zeros(depth + 1, dtype=np.int64)
    value, left = np.zeros(depth + 1), np.zeros((depth + 1, limits))
    left[0] = capacity
    count, at = 0, 0
    while at >= 0:
        row = cursor[at]
        if row >= n:
            at -= 1
            continue
        nodes -= 1
        if nodes < 0:
            return count, floor, False
        group = after[row] - 1
        if row == 0 or after[row - 1] - 1 != group:  # all groups from this one on
            short = floor - value[at]
            if not _enough(tables, scales, group, left[at], short):
                at -= 1
                continue
        cursor[at] = row + 1
        fits = True
        for limit in range(limits):
            left[at + 1, limit] = left[at, limit] - sizes[limit, row]
            fits &= left[at + 1, limit] >= 0.0
        more = value[at] + prices[row]
        short, rest = floor - more, left[at + 1]
        if not fits or not _enough(tables, scales, group + 1, rest, short):
            continue
        path[at], value[at + 1], cursor[at + 1] = row, more, beyond[row]
        at += 1
        if more >= floor:
            count = _keep(more, path[:at], count, rows, lengths, worths)
            if count == most:
                floor = max(floor, worths.min())
    return count, floor, True


@kernel
def sets_with_each(sizes: Floats, capacity: Floats, order: Ints, rows: Ints, lengths: Ints) -> None:
    """Fill up a set that begins with each row, each time by the first of an order that fits.

    Parameters
    ----------
    sizes, capacity
        As of `dearest_sets`; each row fits alone.
    order
        (rows,) in which rows are added.
    rows, lengths
        (rows, most), (rows,) what is written: the sets, and how many rows each has.
    """
    limits, n = sizes.shape
    left = np.empty(limits)
    for row in range(n):
        for limit in range(limits):
            left[limit] = capacity[limit] - sizes[limit, row]
        rows[row, 0], count = row, 1
        for other in order:
            if count == rows.shape[1]:
                break
            fits = other != row
            for limit in range(limits):
                if sizes[limit, other] > left[limit]:
                    fits = False
                    break
            if fits:
                for limit in range(limits):
                    left[limit] -= sizes[limit, other]
                rows[row, count] = other
                count += 1
        lengths[row] = count


COMPILED = (weigh_limits, level_tables, dearest_sets, sets_with_each)
"""What must be compiled for exact pricing by kernels."""
