"""Iterated local search: the best exchanges, and kicks when stuck."""

import math
import random

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.pair_exchange import Exchanger
from kvplace.solver.large_neighbourhood.bin_completion import hot_gpu, refill

__all__ = ["iterate", "settle"]

TOLERANCE = 1e-9
FIRST = 40_000
"""Exchanges with the coldest GPUs looked at before all the others."""
REFILLED = 4
"""One kick in so many refills the hottest GPU, where a hot model is what makes it so."""


def settle(exchanger: Exchanger, watch: Watch, limit: float, spared: int = -1) -> int:
    """Relieve the hottest GPU until nothing helps; return the exchanges made.

    Parameters
    ----------
    exchanger
        The state and its moves.
    watch
        Ends the search.
    limit
        Exchanges at most.
    spared
        A GPU that neither gives nor takes; -1 for none.
    """
    state, steps = exchanger.state, 0
    while steps < limit and not watch.stop:
        kvpr = exchanger.kvpr
        if spared >= 0:
            kvpr = kvpr.copy()
            kvpr[spared] = -1.0
        g = int(kvpr.argmax())
        goal = state.pressure[g] * (1 - TOLERANCE)
        order = exchanger.colder(goal)
        order = order[order != spared]
        # The coldest GPUs first: as many as one small array operation looks at.
        first = max(4, FIRST // exchanger.subsets**2)
        done = exchanger.relieve(g, order[:first], goal)
        if done is None and len(order) > first:
            done = exchanger.relieve(g, order[first:], goal)
        if done is None:
            break
        steps += 1
    return steps


def iterate(
    state: Assignment, target: float, rounds: int, seed: int, watch: Watch, limit: float = math.inf
) -> tuple[Assignment, int]:
    """Search from a state with seeded kicks; return the best state and the steps.

    A step is an exchange made or a kick tried.

    Parameters
    ----------
    state
        Where to start; not changed.
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
    best = state.copy()
    exchanger = Exchanger(state.copy())
    steps, stale, refills = 0, 0, 0
    while True:
        steps += settle(exchanger, watch, min(10_000, limit - steps))
        current = exchanger.state
        if current.worst() < best.worst() * (1 - TOLERANCE):
            best, stale = current.copy(), 0
            watch.tell("search", best.worst())
        else:
            stale += 1
        if best.worst() <= target or stale > rounds or watch.stop or current.instance.g < 2:
            return best, steps
        if steps >= limit:
            return best, steps
        if stale % 8 == 0 or current.worst() > best.worst() * 1.05:
            exchanger = Exchanger(best.copy())
        steps += 1
        hot = hot_gpu(current) if stale % REFILLED == 1 else -1
        if hot >= 0:
            refill(exchanger, hot, refills)
            refills += 1
            steps += settle(exchanger, watch, min(10_000, limit - steps), hot)
        else:
            _kick(exchanger, chance)


def _kick(exchanger: Exchanger, chance: random.Random) -> None:
    """Swap random subsets of the hottest GPU and a random other, twice, where they fit."""
    state = exchanger.state
    for _ in range(2):
        hottest = int(exchanger.kvpr.argmax())
        for _ in range(8):
            h = chance.randrange(len(state.pressure))
            if h == hottest:
                continue
            out = exchanger.subset(hottest, chance.randrange(exchanger.count(hottest)))
            back = exchanger.subset(h, chance.randrange(exchanger.count(h)))
            if not out and not back:
                continue
            exchanger.exchange(hottest, out, h, back)
            if max(state.pressure[hottest], state.pressure[h]) < math.inf:
                break
            exchanger.exchange(h, out, hottest, back)
