"""Group cover: refill a few GPUs at a time exactly, each at or below a lower target.

What POPMUSIC is to location and routing (Taillard and Voss, in Essays and Surveys in
Metaheuristics, 2002). A group of GPUs at a target is an exact cover of its models by the sets that
nearly fill one GPU at some prices. A group joins one GPU above the target with those that lose most
of their worth at the prices of the whole fleet's program: nearly all the room that the fleet has
left is then at the disposal of the one GPU that needs it.
"""

import random
from collections.abc import Sequence

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import Verdict
from kvplace.solver.exact.set_cover_kernel import MOST_MODELS, tight_cover

SETS = 10_000
"""Sets that may matter in one group."""
SIZES = (8, 10, 12, 14, 16)
"""GPUs per group, by chance."""
COLD = (0.3, 0.6)
"""Share of the GPUs that lose most in a group, by chance."""
NODES = 1_000
"""Nodes of one compiled cover: of 600 groups, 12 were covered within 1,000 nodes in 0.26 s, and 15
within 10,000 in 1 s."""
STEPS = (0.4, 0.2, 0.1, 0.05)
"""Shares of the gap by which the target is below the value; the next where one fails."""
LATE, STIRRED = 0.25, 0.4
"""Part of the groups without gain that end a target, after which this share of the groups holds no
GPU above it: what is below is arranged anew, so that other groups come about."""
SAFETY = 1e-12
"""Relative room kept free, so that rounding lifts no GPU above the target."""


def _refill(state: Assignment, gpus: list[int], target: float, priced: "_Priced") -> bool:
    """Place the movable models of some GPUs anew so that each is at or below the target."""
    home = {j: g for g in gpus for j in priced.movable(g)}
    found, flaws = priced.cover(list(home), gpus, target), state.flaws
    if found is None:
        return False
    for g, models in found:
        for j in models:
            if home[j] != g:
                state.exchange(home[j], [j], g, [])
    if max(state.pressure[g] for g in gpus) <= target and state.flaws <= flaws:
        return True
    for j, g in home.items():  # a rule, or a byte: what sizes do not know
        now = state.where[j][0][0]
        if now != g:
            state.exchange(now, [j], g, [])
    return False


def squeeze(
    state: Assignment,
    bound: float,
    verdicts: Sequence[Verdict],
    tries: int,
    chance: random.Random,
    watch: Watch,
    limit: float = np.inf,
) -> tuple[Assignment, int]:
    """Lower the maximum towards a bound by groups joined around the GPUs above a target.

    Parameters
    ----------
    state
        Not changed.
    bound
        Below all targets.
    verdicts
        Prices and worths at several targets; each group takes some by chance.
    tries
        Groups without gain per target after which a nearer one is tried.
    chance
        Random numbers for the choice of groups.
    watch
        Ends the search.
    limit
        Groups tried at most.

    Returns
    -------
    tuple
        A state that is never worse, and the groups tried.
    """
    current, at, tried = state.copy(), 0, 0
    prices = [_Priced(current, verdict) for verdict in verdicts]
    while at < len(STEPS) and tried < limit and not watch.stop:
        value = current.worst()
        target = value - STEPS[at] * (value - bound)
        if target >= value * (1 - SAFETY):
            break
        failures = 0
        while failures < tries and tried < limit and not watch.stop:
            hot = [g for g, kvpr in enumerate(current.pressure) if kvpr > target]
            below = [g for g, kvpr in enumerate(current.pressure) if kvpr <= target]
            if not hot or not below:
                break
            priced = chance.choice(prices)
            stirs = failures > LATE * tries and chance.random() < STIRRED
            first = chance.choice(below if stirs else hot)
            members = priced.join(first, target, chance)
            done = _refill(current, members, target, priced) and not stirs
            failures, tried = 0 if done else failures + 1, tried + 1
        at = 0 if current.worst() <= target else at + 1
        watch.tell("squeeze", current.worst())
    return current, tried


class _Priced:
    """Groups of a state at the prices of one verdict.

    Of each GPU those models may go elsewhere that are one shard, in one way, on any GPU.
    """

    def __init__(self, state: Assignment, verdict: Verdict) -> None:
        instance = state.instance
        self._state: Assignment = state
        self._worths: list[float] = verdict.worths.tolist()
        self._prices: list[float] = verdict.prices.tolist()
        self._kind_of: list[int] = instance.columns.kind_of.tolist()
        self._moves = [
            len(row) == row[0].shards == 1 and instance.anywhere(j)
            for j, row in enumerate(instance.options)
        ]

    def movable(self, g: int) -> list[int]:
        """Return the models of a GPU that may go elsewhere."""
        return [j for j in self._state.members[g] if self._moves[j]]

    def _loss(self, g: int, models: Sequence[int]) -> float:
        """Return how much more a GPU is worth than some of its models."""
        held: float = sum([self._prices[self._state.chosen(j).row] for j in models])
        return self._worths[self._kind_of[g]] - held

    def join(self, first: int, target: float, chance: random.Random) -> list[int]:
        """Choose to one GPU those below a target that lose most, and others below it."""
        members, pressure = self._state.members, self._state.pressure
        below = [g for g, kvpr in enumerate(pressure) if kvpr <= target and g != first]
        below.sort(key=lambda g: (-self._loss(g, members[g]), g))
        size = chance.choice(SIZES)
        cold = round(size * chance.choice(COLD))
        rest = below[cold:]
        chance.shuffle(rest)
        chosen, models = [first], len(self.movable(first))
        for g in [*below[:cold], *rest][: size - 1]:
            models += len(self.movable(g))
            if models > MOST_MODELS:
                break
            chosen.append(g)
        return chosen

    def cover(
        self, models: list[int], gpus: list[int], target: float
    ) -> list[tuple[int, list[int]]] | None:
        """Cover some models by sets that fit some GPUs at a target; None where none was found.

        Returns
        -------
        list or None
            Each GPU that gets any, and its models.
        """
        members, chosen = self._state.members, self._state.chosen
        alike: dict[tuple[float, float], list[int]] = {}
        for g in gpus:
            stay = [j for j in members[g] if not self._moves[j]]
            taken = sum([chosen(j).taken(target) for j in stay])
            room = self._state.instance.memory[g] * (1 - SAFETY) - taken
            alike.setdefault((room, self._loss(g, stay)), []).append(g)
        capacity, worths = np.array(list(alike)).T
        free, options = list(alike.values()), list(map(chosen, models))
        found = tight_cover(
            np.array([option.taken(target) for option in options]),
            np.array([self._prices[option.row] for option in options]),
            capacity, worths, np.array(list(map(len, free))), SETS, NODES,
        )  # fmt: skip
        return found and [(free[at].pop(), [models[j] for j in held]) for at, held in found]
