"""Squeeze: bring every GPU above a target below it, group by group, by compiled exact covers.

Each group is one GPU above the target, those GPUs that lose most of their worth, and some others.
So nearly all the room that the fleet has left is at the disposal of the one GPU that needs it,
where groups of hot and cold alike would split it among themselves.
"""

import random
from collections.abc import Sequence

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.assignment.lists import State
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.model_sets import Verdict
from kvplace.solver.exact.set_cover_kernel import MOST_MODELS, tight_cover
from kvplace.solver.instance.instance import Instance

__all__ = ["squeeze"]

SIZES = (8, 10, 12, 14, 16)
"""GPUs per group, by chance."""
COLD = (0.3, 0.6)
"""Share of the GPUs that lose most in a group, by chance."""
SETS = 10_000
NODES = 10_000
"""Limits of one cover: a few milliseconds."""
STEPS = (0.4, 0.2, 0.1, 0.05)
"""Shares of the gap by which the target is below the value; the next where one fails."""
SAFETY = 1e-12
"""Relative room kept free, so that rounding lifts no GPU above the target."""


def squeeze(
    state: State,
    bound: float,
    verdicts: Sequence[Verdict],
    tries: int,
    chance: random.Random,
    watch: Watch,
    limit: float = np.inf,
) -> tuple[State, int]:
    """Lower the maximum towards a bound.

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
    current, at, tried = State(state.arrays, state.gpu_of), 0, 0
    losses = [_Loss(state.arrays, verdict) for verdict in verdicts]
    while at < len(STEPS) and tried < limit and not watch.stop:
        value = current.worst()
        target = value - STEPS[at] * (value - bound)
        if target >= value * (1 - SAFETY):
            break
        tried += _lower(current, target, losses, tries, chance, watch, limit - tried)
        at = 0 if current.worst() <= target else at + 1
        watch.tell("squeeze", current.worst())
    return current, tried


def _lower(
    state: State,
    target: float,
    losses: "Sequence[_Loss]",
    tries: int,
    chance: random.Random,
    watch: Watch,
    limit: float,
) -> int:
    """Refill groups until no GPU is above the target, or that many in a row bring nothing.

    Returns the groups tried.
    """
    failures, tried = 0, 0
    while failures < tries and tried < limit and not watch.stop:
        hot = [g for g, kvpr in enumerate(state.kvpr) if kvpr > target]
        if not hot:
            break
        loss = chance.choice(losses)
        members = _group(state, chance.choice(hot), target, loss, chance)
        failures = 0 if _refill(state, members, target, loss) else failures + 1
        tried += 1
    return tried


class _Loss:
    """What GPUs lose of their worth at the prices of a verdict."""

    def __init__(self, arrays: Instance, verdict: Verdict) -> None:
        self.prices = verdict.prices
        self.memory = sorted(set(arrays.memory))
        self.worths = verdict.worths
        self.type_of = [self.memory.index(memory) for memory in arrays.memory]

    def of(self, state: State, g: int) -> float:
        """Return the loss of a GPU as it is filled now."""
        return float(self.worths[self.type_of[g]] - self.prices[state.members[g]].sum())


def _group(state: State, hot: int, target: float, loss: _Loss, chance: random.Random) -> list[int]:
    """Choose a GPU above the target, GPUs below it that lose most, and others below it."""
    below = [g for g, kvpr in enumerate(state.kvpr) if kvpr <= target]
    below.sort(key=lambda g: (-loss.of(state, g), g))
    size = chance.choice(SIZES)
    cold = round(size * chance.choice(COLD))
    rest = below[cold:]
    chance.shuffle(rest)
    chosen, models = [hot], len(state.members[hot])
    for g in [*below[:cold], *rest][: size - 1]:
        models += len(state.members[g])
        if models > MOST_MODELS:
            break
        chosen.append(g)
    return chosen


def _refill(state: State, gpus: list[int], target: float, loss: _Loss) -> bool:
    """Place the models of some GPUs anew so that each is at or below the target."""
    arrays = state.arrays
    models = [j for g in gpus for j in state.members[g]]
    sizes: Floats = np.array([arrays.size[j] + arrays.load[j] / target for j in models])
    types = sorted({loss.type_of[g] for g in gpus})
    count = np.array([sum(loss.type_of[g] == type_ for g in gpus) for type_ in types])
    capacity = np.array([loss.memory[type_] * (1 - SAFETY) for type_ in types])
    found = tight_cover(
        sizes, loss.prices[models], capacity, loss.worths[types], count, SETS, NODES
    )
    if found is None:
        return False
    free = {type_: [g for g in gpus if loss.type_of[g] == type_] for type_ in types}
    home = {j: state.gpu_of[j] for j in models}
    for at, held in found:
        g = free[types[at]].pop(0)
        for position in held:
            j = models[position]
            if home[j] != g:
                state.exchange(home[j], [j], g, [])
    if max(state.kvpr[g] for g in gpus) <= target:
        return True
    for j, g in home.items():  # KV to be left, or a byte: what sizes do not know
        if state.gpu_of[j] != g:
            state.exchange(state.gpu_of[j], [j], g, [])
    return False
