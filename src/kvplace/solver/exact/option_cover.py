"""Decide a target exactly: enumerate the sets that can matter, then ask for a cover by them.

With dual prices y and worths z of the configuration program, every placement at the target loses
``z - y(set)`` on each GPU, and what its options cost above the cheapest of their models; all
losses together are ``sum z - sum y``: the budget. So only sets that lose no more can occur, and
near the program's own threshold these are few. A cover takes one option of each model, with as many
sets as that has shards. Found: shards by kind of GPU, which are then given GPUs, those of one copy
in one link domain; that may fail. Exhausted: no placement reaches the target.
"""

import numpy as np

from kvplace.solver.array_types import Bools
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import TooManyError
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.column_generation.pricing import Column, Room
from kvplace.solver.exact.integer_cover import integer_cover

SAFETY = 1e-9
"""Relative width by which sizes and budgets are widened, so that rounding loses no set."""
FEW_SETS, MORE = 300, 50
"""Sets up to which the integer program has so many times as many nodes: each takes little time."""


def decide_cover(
    program: OptionSets, verdict: Verdict, set_limit: int, node_limit: int, watch: Watch
) -> tuple[Assignment | None, bool]:
    """Return a placement at the verdict's target, None where none was found; and if there is none.

    Parameters
    ----------
    program
        The cluster.
    verdict
        Exact prices and worths at the target.
    set_limit, node_limit
        Where to give up: sets enumerated, and nodes searched.
    watch
        Ends the search early.
    """
    budget = max(0.0, 1.0 - verdict.share) + SAFETY
    least = program.least(verdict.prices)[program.model]
    usable: Bools = verdict.prices * program.shards - least <= budget
    sets = _sets(program, verdict, usable, budget, set_limit)
    if sets is None:
        return None, False
    more = MORE if len(sets) <= FEW_SETS else 1
    return integer_cover(program, sets, usable, more * node_limit, watch)


def _sets(
    program: OptionSets, verdict: Verdict, usable: Bools, budget: float, limit: int
) -> list[Column] | None:
    """Return the sets that lose no more than the budget; None where there are too many."""
    rooms, fits = program.rooms(verdict.target)
    found: list[Column] = []
    for kind, room in enumerate(rooms):
        wide = Room(room.sizes, room.capacity * (1 + SAFETY * 1e-3), room.groups)
        active = np.flatnonzero(fits[:, kind] & usable)
        floor = float(verdict.worths[kind]) - budget
        try:
            groups = wide.knapsack(verdict.prices, active).above(floor, limit)
        except TooManyError:
            return None
        found += [(kind, tuple(rows)) for group in groups for rows in active[group].tolist()]
    return found if len(found) <= limit else None
