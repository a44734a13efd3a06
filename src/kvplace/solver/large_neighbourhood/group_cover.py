"""Regroup: cut the fleet into groups of GPUs and refill each exactly at a lower target.

Groups are dealt so that each holds hot and cold GPUs alike; a group at the target is a small
cover (`kvplace.solver.exact.set_cover`) priced by size, where only nearly full sets matter. When
every group reaches the target so does the fleet, whatever its size.
"""

import random

from kvplace.solver.assignment.lists import State
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.model_sets import Configuration, Verdict
from kvplace.solver.exact.set_cover import Answer, decide_cover
from kvplace.solver.instance.instance import Instance

__all__ = ["regroup"]

SETS = 10_000
"""Sets that may matter in one group."""
ROUNDS = 100
"""Rounds of column generation for those prices."""
PRICED = 24
"""GPUs up to which a group is also tried at the prices of its configuration program."""


def regroup(
    state: State,
    target: float,
    group: int,
    nodes: int,
    chance: random.Random,
    watch: Watch,
    limit: float,
) -> tuple[State, int]:
    """Refill groups of GPUs whose hottest is above a target, until all or none reach it.

    Parameters
    ----------
    state
        Not changed.
    target
        Max KVPR to reach in each group.
    group
        GPUs per group.
    nodes
        Search nodes per group.
    chance
        Random numbers for the dealing.
    watch
        Ends the search.
    limit
        Groups tried at most.

    Returns
    -------
    tuple
        A state that is never worse, and the groups tried.
    """
    current = State(state.arrays, state.gpu_of)
    count = max(1, -(-current.arrays.g // group))
    order = sorted(range(current.arrays.g), key=lambda g: (-current.kvpr[g], g))
    groups: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, len(order), count):
        row = order[start : start + count]
        chance.shuffle(row)
        for at, g in enumerate(row):
            groups[at].append(g)
    tried = 0
    for members in groups:
        if watch.stop or tried >= limit:
            break
        if max(current.kvpr[g] for g in members) > target:
            _refill(current, members, target, nodes, watch)
            tried += 1
    return current, tried


def _refill(state: State, gpus: list[int], target: float, nodes: int, watch: Watch) -> bool:
    """Place the models of some GPUs anew so that each is at or below the target."""
    arrays = state.arrays
    models = [j for g in gpus for j in state.members[g]]
    part = Instance.undivided(
        size=[arrays.size[j] for j in models],
        keep=[arrays.keep[j] for j in models],
        load=[arrays.load[j] for j in models],
        memory=[arrays.memory[g] for g in gpus],
        model_index=models,
        gpu_index=gpus,
    )
    program = Configuration(part)
    sizes = program.sizes(target)
    total = float(program.memory @ program.count)
    if sizes.sum() > total:
        return False
    verdict = Verdict(target, 1.0, sizes / total, program.memory / total, exact=True)
    decision = decide_cover(program, verdict, SETS, nodes, watch)
    if decision.answer is Answer.GAVE_UP and len(gpus) <= PRICED:
        program.add([at for at, g in enumerate(gpus) for _ in state.members[g]])
        verdict = program.decide(target, watch, rounds=ROUNDS)
        if verdict.impossible or not verdict.exact:
            return False
        decision = decide_cover(program, verdict, SETS, nodes, watch)
    if decision.answer is not Answer.FOUND:
        return False
    free: dict[int, list[int]] = {}
    for at, g in enumerate(gpus):
        free.setdefault(int(program.type_of[at]), []).append(g)
    home = {j: g for g in gpus for j in state.members[g]}
    for type_, members in sorted(decision.groups):
        g = free[type_].pop(0)
        for at in members:
            j = models[at]
            if home[j] != g:
                state.exchange(home[j], [j], g, [])
    return True
