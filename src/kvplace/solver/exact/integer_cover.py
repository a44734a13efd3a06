"""Cover all models by sets, as an integer program in HiGHS."""

import math
from collections import Counter
from collections.abc import Sequence

import highspy
import numpy as np

from kvplace.solver.array_types import Bools
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Entry, add_columns, add_rows, quiet_highs
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.pricing import Column
from kvplace.solver.exact.seats import seated

PART_OF_TIME = 0.5
"""Part of the time left that the integer program may take: it ends late, and its answer has to be
checked after it."""


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


def covered(program: OptionSets, target: float, nodes: int, watch: Watch) -> Assignment | None:
    """Return an assignment at a target by sets known; None where none was found.

    Column generation leaves a few thousand sets behind, of which the program takes fractions. An
    integer program over those alone tells whether whole ones do as well (a restricted master
    heuristic: Joncour et al., Electronic Notes in Discrete Mathematics 36, 2010). A model covered
    more often than it has shards leaves out the rest. What is not found says nothing.
    """
    known, usable = program.known(target)
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
