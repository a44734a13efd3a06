"""Steps that keep soft rules better, whatever they do to pressures short of too full a GPU."""

import math
from collections.abc import Iterator
from itertools import chain, combinations, islice

import numpy as np

from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.improve.neighbourhoods.shard_exchange import exchanges

EXCHANGES = 2_500
"""Moves and swaps of a fleet up to which all are tried, which takes some 0.3 s."""
SETS = 500
"""Sets of parts of a link domain that are looked at, and taken up, to change places with."""


def keep_rules(board: Assignment, watch: Watch, most: float = math.inf) -> int:
    """Move shards and swap pairs while that breaks less of the rules; return the steps made.

    Of the exchanges of one GPU with the others, those come first that leave the least pressure.

    Parameters
    ----------
    board
        Changed in place.
    watch, most
        End it early: time, and steps.
    """
    steps, (n, g) = 0, (board.instance.n, board.instance.g)
    waiting = list(range(g)) if n * (n + g) <= EXCHANGES else []
    while waiting and steps < most and any(board.flaws) and not watch.stop:
        if _better(board, waiting.pop()):
            steps += 1
            waiting = list(range(g))
    return steps


def change_places(board: Assignment, watch: Watch, most: float = math.inf) -> int:
    """Exchange what the GPUs of a copy hold for what GPUs like them hold in another link domain.

    Pressures stay as they are. Copies are those of models under soft rules that are broken.

    Parameters
    ----------
    board, watch, most
        As of `keep_rules`.
    """
    steps = 0
    while steps < most and any(board.flaws) and _placed_better(board, watch):
        steps += 1
    return steps


def _placed_better(board: Assignment, watch: Watch) -> bool:
    """Make the first such exchange after which less is broken; return whether there is one."""
    flaws, broken = board.flaws, board.costs.breaking(soft=True)
    linked = {_linked(board, copy[0]) for j in broken for copy in board.where[j]}
    for source, target in ((gpus, to) for gpus in linked for to in _places(board, gpus)):
        if watch.stop:
            return False
        undo, _ = board.apply(_exchanged(board, source, target))
        if board.flaws < flaws and board.worst() < math.inf:
            return True
        board.apply(undo)
    return False


def _linked(board: Assignment, g: int) -> tuple[int, ...]:
    """Return the GPUs that copies link with one, itself among them."""
    found: set[int] = set()
    more = {g}
    while more:
        found |= more
        held = (copy for at in more for j in board.members[at] for copy in board.where[j]
                if at in copy)  # fmt: skip
        more = set(chain.from_iterable(held)) - found
    return tuple(sorted(found))


def _places(board: Assignment, source: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield as many GPUs of one kind in another link domain that no copy links with others."""
    instance, columns = board.instance, board.instance.columns
    for number, domain in enumerate(columns.domains):
        if number == columns.domain_of[source[0]]:
            continue
        parts = dict.fromkeys(_linked(board, g) for g in domain.tolist() if g < instance.g)
        sizes = range(1, len(source) + 1)
        for some in islice(chain.from_iterable(combinations(parts, n) for n in sizes), SETS):
            gpus = tuple(chain.from_iterable(some))
            kinds = {(instance.type_at(g), int(instance.memory[g])) for g in (*source, *gpus)}
            if len(gpus) == len(source) and len(kinds) == 1:
                yield gpus


def _exchanged(board: Assignment, source: tuple[int, ...], target: tuple[int, ...]) -> list[Change]:
    """Return the changes by which GPUs change places; none where a model may not be there."""
    to = dict(zip((*source, *target), (*target, *source), strict=True))
    shards = [(j, g) for g in to for j in board.members[g]]
    if not all(board.instance.columns.allowed[j][to[g]] for j, g in shards):
        return []
    return [
        (j, board.option[j], tuple(tuple(sorted(to.get(g, g) for g in c)) for c in board.where[j]))
        for j in dict.fromkeys(j for j, _ in shards)
    ]


def _better(board: Assignment, g: int) -> bool:
    """Make the first exchange of a GPU after which less is broken; return whether there is one."""
    flaws, others = board.flaws, np.delete(np.arange(board.instance.g), g)
    for changes in exchanges(board, g, others, math.inf):
        undo, touched = board.apply(changes)
        if board.flaws < flaws and all(board.pressure[t] < math.inf for t in touched):
            return True
        board.apply(undo)
    return False
