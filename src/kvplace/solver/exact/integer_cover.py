"""Decide a cover as an integer program in HiGHS: sets that can matter, and what is said of them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import highspy
import numpy as np

from kvplace.solver.array_types import Bools
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Entry, add_columns, add_rows, quiet_highs
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.pricing import Column

__all__ = ["Answer", "Decision", "integer_cover"]

PART_OF_TIME = 0.5
"""Part of the time left that the integer program may take: it ends late, and its answer has to be
checked after it."""


class Answer(Enum):
    """What the search says of a target."""

    FOUND = "found"
    IMPOSSIBLE = "impossible"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class Decision:
    """Answer of the search.

    Parameters
    ----------
    answer
        What is known.
    groups
        Where found: kind of GPU and options of each GPU that holds any.
    """

    answer: Answer
    groups: list[Column]


def integer_cover(
    program: OptionSets,
    sets: Sequence[Column],
    usable: Bools,
    node_limit: int,
    watch: Watch,
    *,
    surplus: bool = False,
) -> Decision:
    """Decide the cover as an integer program in HiGHS.

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
    add_columns(highs, choices, upper=1.0)
    add_columns(highs, groups, upper=float(max(shards, default=1)))
    total = len(choices) + len(groups)
    kinds = np.array([highspy.HighsVarType.kInteger] * total)
    highs.changeColsIntegrality(total, np.arange(total, dtype=np.int32), kinds)
    highs.run()
    status = highs.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        proved = status == highspy.HighsModelStatus.kInfeasible
        return Decision(Answer.IMPOSSIBLE if proved else Answer.GAVE_UP, [])
    taken = np.round(np.array(highs.getSolution().col_value)).astype(np.int64)
    times = dict(enumerate(taken[len(choices) :].tolist()))
    return Decision(Answer.FOUND, [sets[c] for c in Counter(times).elements()])
