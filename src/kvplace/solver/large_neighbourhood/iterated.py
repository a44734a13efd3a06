"""Iterated local search: the best exchanges, and kicks when stuck."""

import math
import random

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.subsets import Subsets
from kvplace.solver.clock import Watch
from kvplace.solver.improve.descent import settle
from kvplace.solver.improve.neighbourhoods.subset_exchange import SubsetExchange

TOLERANCE = 1e-9


def iterate(
    state: Assignment, target: float, rounds: int, seed: int, watch: Watch, limit: float = math.inf
) -> tuple[Assignment, int]:
    """Search from a state with seeded kicks; return the best state and the steps.

    A step is an exchange made or a kick tried.

    Parameters
    ----------
    state
        Where to start, of undivided models; not changed.
    target
        Max KVPR at which to stop.
    rounds
        Kicks without a better maximum after which to stop.
    seed
        Of the kicks.
    watch
        Ends the search.
    limit
        Steps at most.
    """
    chance = random.Random(seed)  # noqa: S311 - a search, not a secret
    best, current = state.copy(), state.copy()
    subsets = Subsets(current)
    exchange = SubsetExchange(subsets)
    steps, stale = 0, 0
    while True:
        most = min(10_000, limit - steps)
        steps += settle(current, watch, most, [exchange], equals=1)
        if current.worst() < best.worst() * (1 - TOLERANCE):
            best, stale = current.copy(), 0
            watch.tell("search", best.worst())
        else:
            stale += 1
        done = best.worst() <= target or stale > rounds or steps >= limit
        if done or watch.stop or current.instance.g < 2:
            return best, steps
        if stale % 8 == 0 or current.worst() > best.worst() * 1.05:
            current.move_to(best)
            subsets.lay_out()
        steps += 1
        _kick(subsets, chance)


def _kick(subsets: Subsets, chance: random.Random) -> None:
    """Swap random subsets of the hottest GPU and a random other, twice, where they fit."""
    state = subsets.board
    for _ in range(2):
        (hottest,) = state.hottest(0.0, 1) or [0]
        for _ in range(8):
            h = chance.randrange(state.instance.g)
            if h == hottest:
                continue
            subsets.follow()
            out, back = (_drawn(subsets, g, chance) for g in (hottest, h))
            if not out and not back:
                continue
            state.exchange(hottest, out, h, back)
            if max(state.pressure[hottest], state.pressure[h]) < math.inf:
                break
            state.exchange(h, out, hottest, back)


def _drawn(subsets: Subsets, g: int, chance: random.Random) -> list[int]:
    """Return a random subset of a GPU."""
    return subsets.subset(g, chance.choice(subsets.numbers(g).tolist()))
