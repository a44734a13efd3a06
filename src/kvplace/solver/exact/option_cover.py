"""Decide a target exactly: enumerate the sets that can matter, then ask for a cover by them.

With dual prices y and worths z of the configuration program, every placement at the target loses
``z - y(set)`` on each GPU, and what its options cost above the cheapest of their models; all
losses together are ``sum z - sum y``: the budget. So only sets that lose no more can occur, and
near the program's own threshold these are few. A cover takes one option of each model, with as many
sets as that has shards. Found: shards by kind of GPU, which are then given GPUs, those of one copy
in one link domain; that may fail. Exhausted: no placement reaches the target.
"""

import math
from collections import Counter
from collections.abc import Sequence

import highspy
import numpy as np

from kvplace.solver.array_types import Bools
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import TooManyError
from kvplace.solver.column_generation.master import Entry, add_columns, add_rows, quiet_highs
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.column_generation.pricing import Column, Room
from kvplace.solver.exact.seats import seated

SAFETY = 1e-9
"""Relative width by which sizes and budgets are widened, so that rounding loses no set."""
FEW_SETS, MORE = 300, 50
"""Sets up to which the integer program has so many times as many nodes: each takes little time."""
PART_OF_TIME = 0.5
"""Part of the time left that the integer program may take: it ends late, and its answer has to be
checked after it."""


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


def integer_cover(
    program: OptionSets,
    sets: Sequence[Column],
    usable: Bools,
    node_limit: int,
    watch: Watch,
    *,
    surplus: bool = False,
) -> tuple[Assignment | None, bool]:
    """Return a placement by some sets, None where none was found, and whether there is no cover.

    That all losses together are within the budget follows from the rest, and is left out: it is
    too fine for the program's tolerances.

    Parameters
    ----------
    program
        The cluster.
    sets
        Those that can matter.
    usable
        (rows,) which options a model may take.
    node_limit
        A part of it bounds the branch and bound nodes.
    watch
        Ends the search early.
    surplus
        Whether a model may be in more sets than it has shards.
    """
    number, n = len(program.model), program.instance.n
    limits = [(0.0, math.inf if surplus else 0.0)] * number + [(1.0, 1.0)] * n
    limits += [(-math.inf, float(k)) for k in program.count]
    shards: list[int] = program.shards.tolist()
    choices = [
        Entry((row, number + int(program.model[row])), (-float(shards[row]), 1.0))
        for row in np.flatnonzero(usable).tolist()
    ]
    groups = [Entry((*rows, number + n + kind), (1.0,) * (len(rows) + 1)) for kind, rows in sets]
    options: dict[str, object] = {"mip_max_nodes": max(1, node_limit // 200)}
    if watch.left < math.inf:
        options["time_limit"] = max(PART_OF_TIME * watch.left, 0.0)
    highs = quiet_highs(**options)
    add_rows(highs, *zip(*limits, strict=True))
    add_columns(highs, choices, upper=1.0, whole=True)
    add_columns(highs, groups, upper=float(max(shards, default=1)), whole=True)
    highs.run()
    status = highs.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        return None, bool(status == highspy.HighsModelStatus.kInfeasible)
    taken = np.round(np.array(highs.getSolution().col_value)).astype(np.int64)
    times = dict(enumerate(taken[len(choices) :].tolist()))
    found = [sets[c] for c in Counter(times).elements()]
    return seated(program, _without_surplus(program, found)), False


def covered(
    program: OptionSets, target: float, within: Bools | None, nodes: int, watch: Watch
) -> Assignment | None:
    """Return an assignment at a target by sets known, of some options; None where none was found.

    Column generation leaves a few thousand sets behind, of which the program takes fractions. An
    integer program over those alone tells whether whole ones do as well (a restricted master
    heuristic: Joncour et al., Electronic Notes in Discrete Mathematics 36, 2010). A model covered
    more often than it has shards leaves out the rest. What is not found says nothing.
    """
    known, usable = program.known(target, within)
    return integer_cover(program, known, usable, nodes, watch, surplus=True)[0]


def _without_surplus(program: OptionSets, groups: list[Column]) -> list[Column]:
    """Leave out shards above what their models have, and what is left of no set."""
    covered = Counter(row for _, rows in groups for row in rows)
    chosen: dict[int, int] = {}
    for row, times in covered.items():
        if times >= program.shards[row]:
            chosen.setdefault(int(program.model[row]), row)
    left = {row: int(program.shards[row]) for row in chosen.values()}
    kept = []
    for kind, rows in groups:
        some = []
        for row in rows:
            if left.get(row, 0):
                left[row] -= 1
                some.append(row)
        if some:
            kept.append((kind, tuple(some)))
    return kept
