"""Refine: local search that takes the bottleneck GPU and moves or swaps models.

Every step takes one GPU and lowers the larger of its and a partner's KVPR; that lowers the
sorted vector of KVPRs lexicographically (leximax), so the search ends and never worsens.
"""

import math

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch

__all__ = ["balance", "lower_maximum"]


def lower_maximum(
    state: Assignment,
    limit: int | None = 50,
    tolerance: float = 1e-9,
    margin: float = 0.0,
    watch: Watch | None = None,
) -> int:
    """Lower the largest KVPR until nothing helps.

    Parameters
    ----------
    state
        Changed in place.
    limit
        Steps at most; None for no limit.
    tolerance
        Relative gain that a step must exceed.
    margin
        Share of each GPU's memory that a step must leave free.
    watch
        Ends the search when it says so.

    Returns
    -------
    int
        Steps made.
    """
    steps = 0
    while limit is None or steps < limit:
        if watch is not None and watch.stop:
            break
        # Equal hottest GPUs count as one level: the first that can be relieved is.
        worst = state.worst()
        level = [g for g, kvpr in enumerate(state.pressure) if kvpr >= worst * (1 - tolerance)]
        if not any(relieve(state, g, tolerance, margin) for g in level):
            break
        steps += 1
    return steps


def balance(
    state: Assignment,
    limit: int | None = None,
    tolerance: float = 1e-9,
    margin: float = 0.0,
    watch: Watch | None = None,
) -> int:
    """Relieve every GPU, the hottest first, until none can be: leximax.

    Parameters and result are those of `lower_maximum`.
    """
    steps = 0
    changed = [0] * len(state.pressure)  # step at which a GPU changed last
    failed = [-1] * len(state.pressure)  # step at which relieving it failed last
    while limit is None or steps < limit:
        if watch is not None and watch.stop:
            break
        for g in sorted(range(len(changed)), key=lambda g: (-state.pressure[g], g)):
            since = failed[g] if changed[g] <= failed[g] else -1
            partners = [h for h, at in enumerate(changed) if at > since] if since >= 0 else None
            failed[g] = steps
            partner = relieve(state, g, tolerance, margin, partners)
            if partner:
                steps += 1
                changed[g] = changed[partner - 1] = steps
                break
        else:
            break
    return steps


def relieve(
    state: Assignment,
    g: int,
    tolerance: float,
    margin: float = 0.0,
    partners: list[int] | None = None,
) -> int:
    """Make the best single move off GPU g, or failing that the best swap.

    Parameters
    ----------
    state
        Changed in place.
    g
        The GPU to relieve.
    tolerance
        Relative gain to exceed: both GPUs must end below ``kvpr[g] * (1 - tolerance)``.
    margin
        Share of memory that must stay free.
    partners
        GPUs to exchange with; None for all.

    Returns
    -------
    int
        1 + the partner's number, or 0 where nothing helps.
    """
    goal = state.pressure[g] * (1 - tolerance) if state.pressure[g] < math.inf else math.inf
    others = [
        h
        for h in (range(len(state.pressure)) if partners is None else partners)
        if h != g and state.pressure[h] < goal
    ]
    found = _best_move(state, g, others, goal, margin) or _best_swap(state, g, others, goal, margin)
    if found is None:
        return 0
    _, h, out, back = found
    state.exchange(g, out, h, back)
    if max(state.pressure[g], state.pressure[h]) >= goal:
        state.exchange(g, back, h, out)  # a load lost in the rounding of another: no gain
        return 0
    return h + 1


Step = tuple[float, int, list[int], list[int]]


def _after(free: int, kept: int, load: float, spare: float) -> float:
    """KVPR of a GPU after a change; ``inf`` where it would not fit."""
    if free < 1 or free < kept or free < spare:
        return math.inf
    return max(load, 0.0) / free


def _best_move(
    state: Assignment, g: int, others: list[int], goal: float, margin: float
) -> Step | None:
    """Return the move off g with the smallest larger KVPR below `goal`."""
    arrays = state.instance
    best: Step | None = None
    for j in state.members[g]:
        size, keep, load = arrays.size[j], arrays.keep[j], arrays.load[j]
        if len(state.members[g]) == 1:
            here = 0.0
        else:
            here = _after(state.free[g] + size, state.kept[g] - keep, state.load[g] - load, 0)
        if here >= goal:
            continue
        for h in others:
            spare = margin * arrays.memory[h]
            there = _after(state.free[h] - size, state.kept[h] + keep, state.load[h] + load, spare)
            value = max(here, there)
            if value < goal:
                goal, best = value, (value, h, [j], [])
    return best


def _best_swap(
    state: Assignment, g: int, others: list[int], goal: float, margin: float
) -> Step | None:
    """Return the swap with g with the smallest larger KVPR below `goal`."""
    arrays = state.instance
    best: Step | None = None
    size_of, keep_of, load_of = arrays.size, arrays.keep, arrays.load
    free_g, kept_g, load_g = state.free[g], state.kept[g], state.load[g]
    spare_g = margin * arrays.memory[g]
    for h in others:
        free_h, kept_h, load_h = state.free[h], state.kept[h], state.load[h]
        spare_h = margin * arrays.memory[h]
        for i in state.members[h]:
            size_i, keep_i, load_i = size_of[i], keep_of[i], load_of[i]
            for j in state.members[g]:
                size, load, keep = size_of[j] - size_i, load_of[j] - load_i, keep_of[j] - keep_i
                free = free_g + size
                # The plain ratio first: it settles nearly every pair.
                if free < 1 or (load_g - load) >= goal * free:
                    continue
                here = _after(free, kept_g - keep, load_g - load, spare_g)
                there = _after(free_h - size, kept_h + keep, load_h + load, spare_h)
                value = max(here, there)
                if value < goal:
                    goal, best = value, (value, h, [j], [i])
    return best
