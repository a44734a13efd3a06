"""Ruin and recreate: empty a few GPUs together and fill them again (Schrimpf et al., 2000)."""

import math
import random

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.improve.descent import settle
from kvplace.solver.improve.neighbourhoods.kinds import wide
from kvplace.solver.instance.instance import Option

__all__ = ["rebuild"]

COPIES = 40
"""Copies taken off at once at most."""
RESPLIT = 0.25
"""Share of models taken off as a whole that come back with another degree."""
PLAIN = 0.5
"""Share of rounds that empty GPUs for no model in particular."""


def rebuild(
    board: Assignment, target: float, rounds: int, seed: int, watch: Watch, limit: float = math.inf
) -> int:
    """Empty and refill groups of GPUs around what is worst; return the steps.

    A step is a group that is emptied and refilled, or an exchange made after it.

    Parameters
    ----------
    board
        Changed in place, never to a worse one.
    target
        Max KVPR at which to stop, once nothing is broken.
    rounds
        Rounds without gain after which to stop.
    seed
        Of the choices.
    watch
        Ends it.
    limit
        Steps at most.
    """
    chance = random.Random(seed)  # noqa: S311 - a search, not a secret
    kinds = wide(board)
    steps, stale = 0, 0
    while stale < rounds and steps < limit and not watch.stop:
        if board.valid and board.worst() <= target:
            break
        before = board.worth()
        steps += 1
        if _round(board, chance):
            steps += settle(board, watch, min(200, limit - steps), kinds)
            if board.worth() < before:
                stale = 0
                watch.tell("search", board.worst() if board.valid else None)
                continue
        stale += 1
    return steps


def _round(board: Assignment, chance: random.Random) -> bool:
    """Empty and refill one group; whether it is better now."""
    centre = _centre(board, chance)
    promoted = _promoted(board, centre, chance)
    first = promoted[0] if promoted else -1
    group = _domain(board, first, chance) if promoted else _group(board, centre, chance)
    taken = _taken(board, group, chance)
    if promoted:
        taken.setdefault(first, set()).update(promoted[2])
    lost = [j for j, copies in enumerate(board.where) if not copies] if board.missing else []
    models = sorted({*taken, *lost})
    if not models:
        return False
    flaws, pressures = board.flaws, board.arrays.pressure.copy()
    before: list[Change] = [(j, board.option[j], board.where[j]) for j in models]
    hot = max(float(pressures[g]) for g in group)
    _, touched = board.apply(
        (j, board.option[j], tuple(copy for copy in board.where[j] if copy not in copies))
        for j, copies in taken.items()
    )
    options = {j: option for j, option, _ in before if option is not None}
    options |= {j: chance.choice(board.instance.options[j]) for j in lost}
    options |= {first: promoted[1]} if promoted else {}
    for j in models:
        if j in options and not board.where[j] and j != first and chance.random() < RESPLIT:
            options[j] = _other_split(board, j, options[j], chance)
    tight = chance.random() < 0.5 and hot < math.inf
    goal = hot * (1 - 0.1 * chance.random()) if tight else math.inf
    noise = {j: chance.uniform(0.7, 1.3) for j in models}
    for j in sorted(
        models, key=lambda j: (j != first, -board.instance.need(options[j], hot) * noise[j], j)
    ):
        if place_model(board, j, options[j], goal, tight=tight) or (
            tight and place_model(board, j, options[j])
        ):
            touched.update(g for copy in board.where[j] for g in copy)
    gpus = list(touched)
    now, then = -np.sort(-board.arrays.pressure[gpus]), -np.sort(-pressures[gpus])
    if board.flaws < flaws or (board.flaws == flaws and _lower(now, then)):
        return True
    board.apply(before)
    return False


def _other_split(board: Assignment, j: int, now: Option, chance: random.Random) -> Option:
    """Return an option of another degree, of the least load per shard not above the present."""
    others = [o for o in board.instance.options[j] if o.degree != now.degree]
    near = [o for o in others if o.copies <= now.copies]
    return chance.choice(near or others or [now])


def _lower(now: Floats, then: Floats) -> bool:
    """Whether the first pressure that differs is lower."""
    with np.errstate(invalid="ignore"):
        apart = np.flatnonzero(~np.isclose(now, then, rtol=1e-9, atol=0))
    return bool(len(apart) and now[apart[0]] < then[apart[0]])


def _centre(board: Assignment, chance: random.Random) -> int:
    """Return the GPU around which to empty: the hottest, or any where something is broken."""
    if not board.missing and board.costs.broken <= 0:
        return int(board.arrays.pressure.argmax())
    return chance.randrange(board.instance.g)


def _group(board: Assignment, centre: int, chance: random.Random) -> list[int]:
    """Return the centre, some of its link domain, and some of the coldest and of any."""
    instance = board.instance
    near = [
        int(g)
        for g in instance.columns.domains[instance.columns.domain_of[centre]]
        if g < instance.g
    ]
    chance.shuffle(near)
    cold = np.argsort(board.arrays.pressure, kind="stable")[: max(4, instance.g // 3)].tolist()
    chosen = {centre, *near[: chance.randint(0, 3)]}
    for _ in range(chance.randint(1, 5)):
        chosen.add(int(chance.choice(cold)))
    chosen.add(chance.randrange(instance.g))
    return sorted(chosen)


def _promoted(
    board: Assignment, centre: int, chance: random.Random
) -> tuple[int, Option, set[tuple[int, ...]]] | None:
    """Return, now and then, a model for which a link domain is emptied first.

    Returns
    -------
    tuple or None
        The model, its option then, and the copies that it gives up: it gets more copies, or one
        moves. None for a round that only empties and refills.
    """
    members = board.members[centre]
    if board.missing or not members or chance.random() < PLAIN:
        return None
    at = board.binding(centre)
    loads = [board.shard_loads(j, centre)[at] for j in members]
    if not any(loads):
        return None
    (j,) = chance.choices(members, loads)
    now = board.option[j]
    assert now is not None
    more = [
        o for o in board.instance.options[j]
        if o.degree == now.degree and now.copies < o.copies <= now.copies + 2
    ]  # fmt: skip
    if more and chance.random() < 0.5:
        return j, chance.choice(more), set()
    if now.degree == 1:
        return None
    return j, now, {copy for copy in board.where[j] if centre in copy}


def _domain(board: Assignment, j: int, chance: random.Random) -> list[int]:
    """Return the GPUs of a link domain in which a model may have one more copy."""
    instance = board.instance
    held = {g for copy in board.where[j] for g in copy}
    free = [g for g in np.flatnonzero(instance.columns.allowed[j]).tolist() if g not in held]
    largest = [g for g in free if instance.columns.memory[g] >= instance.columns.memory[free].max()]
    chosen = chance.choice(largest if chance.random() < 0.5 else free) if free else 0
    gpus = instance.columns.domains[instance.columns.domain_of[chosen]]
    return [int(g) for g in gpus if g < instance.g]


def _taken(
    board: Assignment, group: list[int], chance: random.Random
) -> dict[int, set[tuple[int, ...]]]:
    """Return the copies with a shard in a group, a random part of many."""
    inside = set(group)
    found = [
        (j, copy)
        for j in sorted({j for g in group for j in board.members[g]})
        for copy in board.where[j]
        if not inside.isdisjoint(copy)
    ]
    if len(found) > COPIES:
        found = chance.sample(found, COPIES)
    taken: dict[int, set[tuple[int, ...]]] = {}
    for j, copy in found:
        taken.setdefault(j, set()).add(copy)
    return taken
