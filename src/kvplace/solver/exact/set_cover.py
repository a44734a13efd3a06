"""Decide a target exactly: enumerate the sets that can matter, then search for a cover.

With dual prices y and worths z of the configuration program, every placement at the target
loses ``z - y(set)`` on each GPU, and all losses together are ``sum z - sum y``: the budget. So
only sets that lose no more than the budget can occur, and a search that picks, again and again,
the model with the fewest sets left ends quickly near the program's own threshold. Found: a
placement. Exhausted: no placement reaches the target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import highspy
import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import Knapsack, TooManyError
from kvplace.solver.column_generation.master import Entry, add_columns, quiet_highs
from kvplace.solver.column_generation.model_sets import Configuration, Verdict

__all__ = ["Answer", "Decision", "SetCover", "decide_cover", "integer_program"]

SAFETY = 1e-9
"""Relative width by which sizes and budgets are widened, so that rounding loses no set."""

PAIRS = 2.5
"""Up to so many models per GPU covers are nearly matchings, at which HiGHS is good."""
DEPTH_FIRST_SETS = 1_000
"""Sets above which HiGHS then takes over from the search in Python."""
DEPTH_FIRST_GPUS = 300
"""Depth up to which the search in Python goes."""


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
        Where found: type of GPU and models of each GPU that holds any.
    nodes
        Nodes of the search.
    """

    answer: Answer
    groups: list[tuple[int, tuple[int, ...]]]
    nodes: int


class SetCover:
    """Decides targets of undivided models.

    Parameters
    ----------
    program
        The fleet.
    """

    def __init__(self, program: Configuration) -> None:
        self.program = program

    @property
    def models(self) -> int:
        """Number of models."""
        return self.program.arrays.n

    def decide(self, verdict: Verdict, set_limit: int, node_limit: int, watch: Watch) -> Decision:
        """Decide whether a placement at the verdict's target exists, as `decide_cover` does."""
        return decide_cover(self.program, verdict, set_limit, node_limit, watch)

    def build(self, groups: list[tuple[int, tuple[int, ...]]]) -> Assignment:
        """Put each set on a GPU of its type, in order."""
        program = self.program
        free = {t: [g for g, type_ in enumerate(program.type_of) if type_ == t] for t, _ in groups}
        gpu_of = [0] * program.arrays.n
        for type_, members in sorted(groups):
            g = free[type_].pop(0)
            for j in members:
                gpu_of[j] = g
        return Assignment.single(program.arrays, gpu_of)


def decide_cover(
    program: Configuration, verdict: Verdict, set_limit: int, node_limit: int, watch: Watch
) -> Decision:
    """Decide whether a placement at the verdict's target exists.

    Parameters
    ----------
    program
        The fleet.
    verdict
        Exact prices and worths at the target.
    set_limit, node_limit
        Where to give up: sets enumerated, and nodes searched.
    watch
        Ends the search early.
    """
    sizes = program.sizes(verdict.target)
    budget = max(0.0, 1.0 - float(verdict.prices.sum())) + SAFETY
    kept, capacity = program.size + program.keep, program.capacity(verdict.target)
    columns: list[tuple[float, int, tuple[int, ...]]] = []
    for type_, memory in enumerate(program.memory):
        worth = float(verdict.worths[type_])
        prices = verdict.prices
        try:
            room = capacity[type_] * (1 + SAFETY * 1e-3)
            groups = Knapsack(sizes, prices, room).above(worth - budget, set_limit)
        except TooManyError:
            return Decision(Answer.GAVE_UP, [], 0)
        for group in groups:
            loss = np.maximum(worth - prices[group].sum(axis=1), 0.0)
            fits = kept[group].sum(axis=1) <= memory
            fits &= program.size[group].sum(axis=1) < memory
            columns.extend(
                (float(loss[at]), type_, tuple(int(j) for j in group[at]))
                for at in np.flatnonzero(fits)
            )
        if len(columns) > set_limit:
            return Decision(Answer.GAVE_UP, [], 0)
    columns.sort()
    if program.arrays.n <= PAIRS * program.arrays.g and len(columns) > DEPTH_FIRST_SETS:
        return integer_cover(program, columns, node_limit, watch)
    if program.arrays.g > DEPTH_FIRST_GPUS:
        return Decision(Answer.GAVE_UP, [], 0)
    search = _Cover(len(sizes), columns, program.count.astype(int).tolist())
    return search.run(budget, node_limit, watch)


def integer_cover(
    program: Configuration,
    columns: list[tuple[float, int, tuple[int, ...]]],
    node_limit: int,
    watch: Watch,
) -> Decision:
    """Decide the cover as a set partitioning program in HiGHS.

    Parameters
    ----------
    program, watch
        As for `decide_cover`.
    columns
        Loss, type and models of each set that can matter.
    node_limit
        A part of it bounds the branch and bound nodes.
    """
    models = program.arrays.n
    rows = [(*members, models + type_) for _, type_, members in columns]
    limits = [(1.0, 1.0)] * models + [(-math.inf, float(k)) for k in program.count]
    entries = [Entry(row, (1.0,) * len(row)) for row in rows]
    answer, nodes, times = integer_program(limits, [(entries, 1)], node_limit, watch.left)
    groups = [columns[c][1:] for c in np.flatnonzero(times).tolist()]
    return Decision(answer, groups, nodes)


def integer_program(
    limits: Sequence[tuple[float, float]],
    columns: Sequence[tuple[Sequence[Entry], int]],
    node_limit: int,
    seconds: float,
) -> tuple[Answer, int, Ints]:
    """Decide by HiGHS whether columns, each taken a number of times, keep the limits of all rows.

    Parameters
    ----------
    limits
        Least and most of each row.
    columns
        Groups of columns, and how often each of a group may be taken.
    node_limit
        A part of it bounds the branch and bound nodes.
    seconds
        When to give up.

    Returns
    -------
    tuple
        The answer, the nodes, and how often each column is taken: empty where none was found.
    """
    options: dict[str, object] = {"mip_max_nodes": max(1, node_limit // 200)}
    if seconds < math.inf:
        options["time_limit"] = max(seconds, 0.0)
    highs = quiet_highs(**options)
    none, empty = np.array([], dtype=np.int32), np.array([])
    for least, most in limits:
        highs.addRow(least, most, 0, none, empty)
    for entries, most in columns:
        add_columns(highs, entries, upper=float(most))
    total = sum(len(entries) for entries, _ in columns)
    kinds = np.array([highspy.HighsVarType.kInteger] * total)
    highs.changeColsIntegrality(total, np.arange(total, dtype=np.int32), kinds)
    highs.run()
    status, nodes = highs.getModelStatus(), int(highs.getInfo().mip_node_count)
    taken: Ints = np.zeros(0, dtype=np.int64)
    if status == highspy.HighsModelStatus.kInfeasible:
        return Answer.IMPOSSIBLE, nodes, taken
    if status != highspy.HighsModelStatus.kOptimal:
        return Answer.GAVE_UP, nodes, taken
    taken = np.round(np.array(highs.getSolution().col_value)).astype(np.int64)
    return Answer.FOUND, nodes, taken


class _Cover:
    """Depth-first exact cover under a budget; models are bits of an integer."""

    def __init__(
        self,
        models: int,
        columns: list[tuple[float, int, tuple[int, ...]]],
        count: list[int],
    ) -> None:
        self._models = models
        self._loss = [loss for loss, _, _ in columns]
        self._type = [type_ for _, type_, _ in columns]
        self._members = [members for _, _, members in columns]
        self._mask = [sum(1 << j for j in members) for _, _, members in columns]
        self._count = count

    def run(self, budget: float, node_limit: int, watch: Watch) -> Decision:
        """Search; the stack holds the columns still to be tried at each depth."""
        self._nodes, self._limit, self._watch = 0, node_limit, watch
        found = self._descend(list(range(len(self._mask))), 0, budget, list(self._count), [])
        if found is not None:
            groups = [(self._type[c], self._members[c]) for c in found]
            return Decision(Answer.FOUND, groups, self._nodes)
        answer = Answer.GAVE_UP if self._nodes > node_limit else Answer.IMPOSSIBLE
        return Decision(answer, [], self._nodes)

    def _descend(
        self, columns: list[int], covered: int, budget: float, left: list[int], chosen: list[int]
    ) -> list[int] | None:
        if covered == (1 << self._models) - 1:
            return chosen
        self._nodes += 1
        if self._nodes & 255 == 0 and self._watch.stop:
            self._nodes = self._limit + 1
        if self._nodes > self._limit:
            return None
        pivot = self._rarest(columns, covered)
        if pivot < 0:
            return None
        bit = 1 << pivot
        mask, loss, type_of = self._mask, self._loss, self._type
        for c in columns:
            if not mask[c] & bit:
                continue
            rest = budget - loss[c]
            if rest < 0:
                break  # columns are sorted by loss
            type_ = type_of[c]
            left[type_] -= 1
            taken = mask[c]
            full = {t for t, count in enumerate(left) if count == 0}
            live = [
                d
                for d in columns
                if not mask[d] & taken and loss[d] <= rest and type_of[d] not in full
            ]
            found = self._descend(live, covered | taken, rest, left, [*chosen, c])
            left[type_] += 1
            if found is not None or self._nodes > self._limit:
                return found
        return None

    def _rarest(self, columns: list[int], covered: int) -> int:
        """Return the uncovered model with the fewest columns; -1 where one has none."""
        count = [0] * self._models
        for c in columns:
            for j in self._members[c]:
                count[j] += 1
        best, arg = len(columns) + 1, -1
        for j, number in enumerate(count):
            if number < best and not covered >> j & 1:
                best, arg = number, j
        return arg if best else -1
