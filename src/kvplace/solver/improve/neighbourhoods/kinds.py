"""Which kinds of steps a problem has, in the order in which they are tried."""

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.subsets import Subsets
from kvplace.solver.improve.neighbourhoods.neighbourhood import Neighbourhood
from kvplace.solver.improve.neighbourhoods.replacement import AnotherCopy, AnotherSplit, Reseat
from kvplace.solver.improve.neighbourhoods.shard_exchange import ShardExchange
from kvplace.solver.improve.neighbourhoods.subset_exchange import SubsetExchange

MOST = 6
"""Shards of a GPU that are exchanged in pairs; of those beyond, none are."""
WIDE = 500
"""GPUs with which pairs are exchanged first; twenty times as many after them."""


def nearby(board: Assignment) -> list[Neighbourhood]:
    """Return the kinds of steps with the coldest GPUs and those of the same link domain."""
    kinds: list[Neighbourhood] = [ShardExchange(), Reseat(), AnotherCopy(), AnotherSplit()]
    return [kind for kind in kinds if kind.applies(board)]


def wide(board: Assignment) -> list[Neighbourhood]:
    """Return those, and exchanges of pairs of shards with all GPUs."""
    subsets = Subsets(board, models=MOST)
    kinds = [SubsetExchange(subsets, WIDE, 20 * WIDE), *nearby(board)]
    return [kind for kind in kinds if kind.applies(board)]
