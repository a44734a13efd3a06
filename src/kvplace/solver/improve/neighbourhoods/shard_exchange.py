"""Moves of one shard off a GPU, and swaps of two; of split models, too, within a link domain."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change, moved
from kvplace.solver.improve.neighbourhoods.neighbourhood import (
    TRIED,
    Neighbourhood,
    stays,
    try_changes,
    uneven,
)

PARTNERS = 192
"""GPUs, the coldest first, with which one is exchanged."""


class ShardExchange(Neighbourhood):
    """Moves and swaps with the coldest GPUs and those of the same link domain."""

    def relieve(self, board: Assignment, g: int, goal: float) -> set[int] | None:
        """Make the best move of a shard off a GPU, or swap of two, that ends below a pressure."""
        for changes in exchanges(board, g, _partners(board, g, goal), goal, TRIED):
            found = try_changes(board, changes, goal)
            if found is not None:
                return found
        return None


def exchanges(
    board: Assignment, g: int, partners: Ints, goal: float, most: int | None = None
) -> Iterator[list[Change]]:
    """Yield moves of a shard off a GPU and swaps of two, the least pressure afterwards first.

    Parameters
    ----------
    board, g
        The assignment, which is to be as it was when the next is asked for; and the GPU.
    partners
        GPUs to exchange with.
    goal
        Pressure that both GPUs must end below.
    most
        Exchanges looked at; None for all.
    """
    mine = [j for j in board.members[g] if not uneven(board, j)]
    if not mine or not len(partners):
        return
    allowed = board.instance.columns.allowed
    value, pairs = exchange_values(board, g, mine, partners)
    few = np.flatnonzero(value < goal)
    for at in few[np.argsort(value[few], kind="stable")][:most].tolist():
        a, h, b = pairs(at)
        if a in board.members[h] or b in board.members[g]:
            continue
        if b < 0:
            yield [moved(board, a, g, h)]
        elif allowed[b][g] and stays(board, b, h, g) and not uneven(board, b):
            yield [moved(board, a, g, h), moved(board, b, h, g)]


def exchange_values(
    board: Assignment, g: int, mine: list[int], partners: Ints
) -> tuple[Floats, Callable[[int], tuple[int, int, int]]]:
    """Return the larger pressure after each exchange, and what an exchange is by its number.

    An exchange gives a model of `mine` to a partner, and takes one of its models or none, -1.
    """
    instance = board.instance
    theirs: list[int] = []
    owner: list[int] = []
    for at, h in enumerate(partners.tolist()):
        held = board.members[h]
        theirs += [-1, *held]
        owner += [at] * (len(held) + 1)
    at_ = np.array(owner)
    hosts = partners[at_]
    size_a, keep_a, loads_a = _needs(board, mine)
    size_b, keep_b, loads_b = _needs(board, theirs)
    type_g, type_h = instance.type_at(g), instance.columns.type_of[hosts]
    columns = np.arange(len(theirs))
    here = loads_a[:, None, type_g] - loads_b[:, type_g]
    there = loads_a[:, type_h] - loads_b[columns, type_h]
    value = board.arrays.exchanged(
        g, hosts, size_a[:, None] - size_b, keep_a[:, None] - keep_b,
        list(np.moveaxis(here, 2, 0)), list(np.moveaxis(there, 2, 0)),
    )  # fmt: skip
    may = np.array([instance.columns.allowed[j][hosts] for j in mine])
    for row, j in enumerate(mine):
        if board.chosen(j).degree > 1:
            may[row] &= instance.columns.domain_of[hosts] == instance.columns.domain_of[g]
    value[~may] = math.inf
    width = len(theirs)

    def pair(number: int) -> tuple[int, int, int]:
        row, column = divmod(number, width)
        return mine[row], int(hosts[column]), theirs[column]

    return value.ravel(), pair


def _needs(board: Assignment, models: list[int]) -> tuple[Floats, Floats, Floats]:
    """Return bytes, least KV bytes and, by load type and pressure, loads of shards; 0 for -1."""
    columns = board.instance.columns
    options = [board.option[j] if j >= 0 else None for j in models]
    row = np.array([o.row if o else -1 for o in options])
    there = row >= 0
    return (
        np.where(there, columns.size[row], 0.0),
        np.where(there, columns.keep[row], 0.0),
        np.where(there[:, None, None], columns.loads[row], 0.0),
    )


def _partners(board: Assignment, g: int, goal: float) -> Ints:
    """Return the GPUs to exchange with: the coldest, and those of the same link domain."""
    kvpr = board.arrays.pressure
    if len(kvpr) <= PARTNERS:
        partners = np.flatnonzero(kvpr < goal)
    else:
        near = board.instance.columns.domains[board.instance.columns.domain_of[g]]
        near = near[near < len(kvpr)]
        cold = np.argpartition(kvpr, PARTNERS)[:PARTNERS]
        partners = np.union1d(near, cold)
        partners = partners[kvpr[partners] < goal]
    found: Ints = partners[partners != g]
    return found
