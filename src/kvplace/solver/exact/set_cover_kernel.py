"""Refill a few GPUs exactly, compiled: list the sets that nearly fill one, then cover with them.

Prices and worths say what the GPUs together have left over: the budget. A set that loses more
than that on one GPU cannot occur; the others are listed as bits of one integer each, and a
depth-first search covers the model with the fewest sets left, again and again, as in
`kvplace.solver.exact.option_cover`.
"""

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.kernels import kernel

Bits = NDArray[np.uint64]

MOST_MODELS = 64
"""Models of a group: bits of one integer."""
MOST_STEPS = 400_000
"""Partial sets looked at per type of GPU before a group is given up."""


def tight_cover(
    sizes: Floats,
    prices: Floats,
    capacity: Floats,
    worths: Floats,
    count: Ints,
    set_limit: int,
    node_limit: int,
) -> list[tuple[int, list[int]]] | None:
    """Return types of GPU and their models, a full cover; None where none was found.

    Parameters
    ----------
    sizes, prices
        (n,) positive sizes of at most `MOST_MODELS` models at the target, and their prices.
    capacity, worths, count
        (t,) memory per type of GPU, what no set that fits is priced above, and how many GPUs.
    set_limit, node_limit
        Where to give up.
    """
    budget = float(worths @ count - prices.sum())
    if budget < 0 or len(sizes) > MOST_MODELS:
        return None
    order = np.argsort(-sizes, kind="stable")
    masks = np.empty(set_limit, dtype=np.uint64)
    loss = np.empty(set_limit)
    kinds = np.empty(set_limit, dtype=np.int64)
    number = 0
    for type_, (memory, worth) in enumerate(zip(capacity, worths, strict=True)):
        first = number
        floor = float(worth) - budget
        number = _list_sets(
            sizes[order], prices[order], float(memory), float(worth), floor, masks, loss, number
        )
        if number < 0:
            return None
        kinds[first:number] = type_
    ranked = np.argsort(loss[:number], kind="stable")
    chosen = np.empty(int(count.sum()) + 1, dtype=np.int64)
    used = _cover(
        masks[ranked], loss[ranked], kinds[ranked], len(sizes), budget, count, node_limit, chosen
    )
    if used < 0:
        return None
    found = []
    for at in ranked[chosen[:used]]:
        bits = int(masks[at])
        models = [int(order[j]) for j in range(len(sizes)) if bits >> j & 1]
        found.append((int(kinds[at]), models))
    return found


@kernel
def _list_sets(
    sizes: Floats,
    prices: Floats,
    memory: float,
    worth: float,
    floor: float,
    masks: Bits,
    loss: Floats,
    number: int,
) -> int:
    """List the sets that fit and are priced at a floor or above; -1 where there are too many."""
    n = len(sizes)
    rest = np.zeros(n + 1)
    for j in range(n - 1, -1, -1):
        rest[j] = rest[j + 1] + prices[j]
    picked = np.empty(n + 1, dtype=np.int64)
    depth, at, filled, price = 0, 0, 0.0, 0.0
    bits = uint64(0)
    for _ in range(MOST_STEPS):
        # Without the models already passed over, a set cannot reach the floor any more.
        if at == n or price + rest[at] < floor:
            if depth == 0:
                return number
            depth -= 1
            at = picked[depth]
            bits ^= uint64(1) << uint64(at)
            filled -= sizes[at]
            price -= prices[at]
            at += 1
            continue
        if filled + sizes[at] > memory:
            at += 1
            continue
        picked[depth] = at
        depth += 1
        bits |= uint64(1) << uint64(at)
        filled += sizes[at]
        price += prices[at]
        if price >= floor:
            if number == len(masks):
                return -1
            masks[number] = bits
            loss[number] = max(worth - price, 0.0)
            number += 1
        at += 1
    return -1


@kernel
def _cover(
    masks: Bits,
    loss: Floats,
    kinds: Ints,
    models: int,
    budget: float,
    count: Ints,
    node_limit: int,
    chosen: Ints,
) -> int:
    """Cover all models by sets in ascending order of loss; return their number, -1 without."""
    deepest = len(chosen)
    live = np.empty(len(masks) * deepest + len(masks), dtype=np.int64)
    start = np.zeros(deepest + 1, dtype=np.int64)
    end = np.zeros(deepest + 1, dtype=np.int64)
    next_ = np.zeros(deepest + 1, dtype=np.int64)
    pivot = np.zeros(deepest + 1, dtype=np.uint64)
    spare = np.zeros(deepest + 1)
    left = count.copy()
    for column in range(len(masks)):
        live[column] = column
    end[0] = len(masks)
    spare[0] = budget
    everything = uint64(0xFFFFFFFFFFFFFFFF) >> uint64(64 - models)
    covered = uint64(0)
    depth, nodes, fresh = 0, 0, True
    while True:
        if fresh:
            if covered == everything:
                return depth
            nodes += 1
            if nodes > node_limit:
                return -1
            rarest = _rarest(masks, live[start[depth] : end[depth]], covered, models)
            pivot[depth] = uint64(0) if rarest < 0 else uint64(1) << uint64(rarest)
            next_[depth] = start[depth]
            fresh = False
        at = next_[depth]
        while at < end[depth] and not masks[live[at]] & pivot[depth]:
            at += 1
        if at >= end[depth] or loss[live[at]] > spare[depth]:
            if depth == 0:
                return -1
            depth -= 1
            covered ^= masks[chosen[depth]]
            left[kinds[chosen[depth]]] += 1
            continue
        column = live[at]
        next_[depth] = at + 1
        chosen[depth] = column
        covered |= masks[column]
        left[kinds[column]] -= 1
        rest = spare[depth] - loss[column]
        write = _narrow(masks, loss, kinds, left, live, start[depth], end[depth], column, rest)
        start[depth + 1], end[depth + 1] = end[depth], write
        spare[depth + 1] = rest
        depth += 1
        fresh = True


@kernel
def _rarest(masks: Bits, live: Ints, covered: np.uint64, models: int) -> int:
    """Return the uncovered model with the fewest sets left; -1 where one has none."""
    sets_with = np.zeros(models, dtype=np.int64)
    for column in live:
        bits = masks[column]
        for j in range(models):
            sets_with[j] += (bits >> uint64(j)) & uint64(1)
    fewest, rarest = len(live) + 1, -1
    for j in range(models):
        if not (covered >> uint64(j)) & uint64(1) and sets_with[j] < fewest:
            fewest, rarest = sets_with[j], j
    return rarest if fewest else -1


@kernel
def _narrow(
    masks: Bits,
    loss: Floats,
    kinds: Ints,
    left: Ints,
    live: Ints,
    first: int,
    end: int,
    column: int,
    rest: float,
) -> int:
    """Append to the live sets those that still go with one more; return the new end."""
    write = end
    for at in range(first, end):
        candidate = live[at]
        if loss[candidate] > rest:
            break
        if not masks[candidate] & masks[column] and left[kinds[candidate]] > 0:
            live[write] = candidate
            write += 1
    return write


COMPILED = (_list_sets, _cover)
"""Kernels that a cover calls; all others are part of them."""
