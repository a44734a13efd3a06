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

from kvplace.solver.array_types import Floats
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

Groups = list[tuple[int, tuple[int, ...]]]
"""Usable bytes of a GPU and the models on it, for each GPU that holds any."""


def _refill(state: Assignment, gpus: list[int], target: float, priced: "_Priced") -> bool:
    """Place the models of some GPUs anew so that each is at or below the target."""
    home = {j: g for g in gpus for j in state.members[g]}
    found = priced.cover(list(home), gpus, target)
    if found is None:
        return False
    free: dict[int, list[int]] = {}
    for g in gpus:
        free.setdefault(state.instance.memory[g], []).append(g)
    for memory, models in found:
        g = free[memory].pop(0)
        for j in models:
            if home[j] != g:
                state.exchange(home[j], [j], g, [])
    if max(state.pressure[g] for g in gpus) <= target:
        return True
    for j, g in home.items():  # KV to be left, or a byte: what sizes do not know
        if state.gpu_of[j] != g:
            state.exchange(state.gpu_of[j], [j], g, [])
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
    """Groups of a state at the prices of one verdict."""

    def __init__(self, state: Assignment, verdict: Verdict) -> None:
        self._state, self._prices, self._worths = state, verdict.prices, verdict.worths
        self._memory = sorted(set(state.instance.memory))
        self._type_of = [self._memory.index(memory) for memory in state.instance.memory]

    def join(self, first: int, target: float, chance: random.Random) -> list[int]:
        """Choose to one GPU those below a target that lose most, and others below it."""
        members, pressure = self._state.members, self._state.pressure
        below = [g for g, kvpr in enumerate(pressure) if kvpr <= target and g != first]
        held = np.bincount(self._state.gpu_of, self._prices, len(self._type_of))
        losses = (self._worths[self._type_of] - held).tolist()
        below.sort(key=lambda g: (-losses[g], g))
        size = chance.choice(SIZES)
        cold = round(size * chance.choice(COLD))
        rest = below[cold:]
        chance.shuffle(rest)
        chosen, models = [first], len(members[first])
        for g in [*below[:cold], *rest][: size - 1]:
            models += len(members[g])
            if models > MOST_MODELS:
                break
            chosen.append(g)
        return chosen

    def cover(self, models: list[int], gpus: list[int], target: float) -> Groups | None:
        """Cover some models by sets that fit some GPUs at a target; None where none was found."""
        arrays, type_of = self._state.instance, self._type_of
        sizes: Floats = np.array([arrays.size[j] + arrays.load[j] / target for j in models])
        types = sorted({type_of[g] for g in gpus})
        count = np.array([sum(type_of[g] == type_ for g in gpus) for type_ in types])
        capacity = np.array([self._memory[type_] * (1 - SAFETY) for type_ in types])
        prices, worths = self._prices[models], self._worths[types]
        found = tight_cover(sizes, prices, capacity, worths, count, SETS, NODES)
        if found is None:
            return None
        return [(self._memory[types[at]], tuple(models[j] for j in held)) for at, held in found]
