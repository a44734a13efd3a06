"""Decide a target with options exactly: the sets that can matter, and a search for a cover.

As `kvplace.solver.exact.set_cover`, for the program with options. What options cost above the
cheapest of their model is lost from the budget, too. A cover takes one option of each model, with
as many sets as that has shards. Found: shards by kind of GPU, which are then given GPUs, those of
one copy in one link domain; that may fail. Exhausted: no placement reaches the target.
"""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import TooManyError
from kvplace.solver.column_generation.master import Entry
from kvplace.solver.column_generation.model_sets import Verdict
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.pricing import Room
from kvplace.solver.exact.seats import seated
from kvplace.solver.exact.set_cover import (
    DEPTH_FIRST_GPUS,
    SAFETY,
    Answer,
    Decision,
    integer_program,
)

__all__ = ["OptionCover"]

PART_OF_TIME = 0.5
"""Part of the time left that the integer program may take: it ends late, and its answer has to be
checked after it."""
FEW_SETS = 300
"""Sets up to which the search in Python comes first."""


@dataclass(frozen=True, slots=True)
class _Sets:
    """The sets that can matter, by ascending loss.

    Parameters
    ----------
    loss, kind
        (m,) what each loses, and its kind of GPU.
    members
        (m, k) options on it, filled up by their number.
    excess
        (rows + 1,) what an option costs above the cheapest of its model.
    """

    loss: Floats
    kind: Ints
    members: Ints
    excess: Floats


class OptionCover:
    """Decides targets of one program.

    Parameters
    ----------
    program
        The cluster.
    """

    def __init__(self, program: OptionSets) -> None:
        self.program = program

    @property
    def models(self) -> int:
        """Number of models."""
        return self.program.instance.n

    def build(self, groups: list[tuple[int, tuple[int, ...]]]) -> Assignment | None:
        """Give GPUs to the sets of a cover; None where no way was found."""
        return seated(self.program, groups)

    def decide(self, verdict: Verdict, set_limit: int, node_limit: int, watch: Watch) -> Decision:
        """Decide whether a placement at the verdict's target exists.

        Parameters
        ----------
        verdict
            Exact prices and worths at the target.
        set_limit, node_limit
            Where to give up: sets enumerated, and nodes searched.
        watch
            Ends the search early.
        """
        program = self.program
        budget = max(0.0, 1.0 - verdict.share) + SAFETY
        sets = self._sets(verdict, budget, set_limit)
        if sets is None:
            return Decision(Answer.GAVE_UP, [], 0)
        if len(sets.loss) <= FEW_SETS and program.instance.g <= DEPTH_FIRST_GPUS:
            return _Cover(self, sets).run(budget, node_limit, watch)
        decision = _integer_cover(program, sets, budget, node_limit, watch)
        if decision.answer is Answer.GAVE_UP and program.instance.g <= DEPTH_FIRST_GPUS:
            return _Cover(self, sets).run(budget, node_limit, watch)
        return decision

    def _sets(self, verdict: Verdict, budget: float, limit: int) -> _Sets | None:
        """Return the sets that lose no more than the budget; None where there are too many."""
        program, prices = self.program, verdict.prices
        rooms, fits = program.rooms(verdict.target)
        excess = prices * program.shards - program.least(prices)[program.model]
        usable = fits & (excess <= budget)[:, None]
        number = len(prices)
        loss, kinds, rows = [np.zeros(0)], [np.zeros(0, dtype=np.int64)], []
        for kind, room in enumerate(rooms):
            wide = Room(room.sizes, np.full(len(room.sizes), 1 + SAFETY * 1e-3), room.groups)
            active = np.flatnonzero(usable[:, kind])
            worth = float(verdict.worths[kind])
            try:
                groups = wide.knapsack(prices, active).above(worth - budget, limit)
            except TooManyError:
                return None
            for group in groups:
                members = active[group]
                loss.append(np.maximum(worth - prices[members].sum(axis=1), 0.0))
                kinds.append(np.full(len(members), kind))
                rows.append(members)
        width = max((members.shape[1] for members in rows), default=1)
        if sum(map(len, rows)) > limit:
            return None
        padded = [np.full((0, width), number)]
        for members in rows:
            more = width - members.shape[1]
            padded.append(np.pad(members, ((0, 0), (0, more)), constant_values=number))
        lost = np.concatenate(loss)
        order = np.argsort(lost, kind="stable")
        return _Sets(
            lost[order],
            np.concatenate(kinds)[order],
            np.concatenate(padded)[order],
            np.append(excess, 0.0),
        )


class _Cover:
    """Depth-first exact cover under a budget.

    A state is the option of each model that has one, the shards that lack a GPU, and the options
    that no further set may hold.
    """

    def __init__(self, cover: OptionCover, sets: _Sets) -> None:
        program = cover.program
        self._build, self._program, self._sets = cover.build, program, sets
        self._n = program.instance.n
        self._model = np.append(program.model, self._n)
        self._shards: list[int] = [*program.shards.tolist(), 0]
        self._rows = [slice(a, b) for a, b in pairwise(program.instance.starts)]
        self._models = self._model[sets.members]

    def run(self, budget: float, node_limit: int, watch: Watch) -> Decision:
        """Search."""
        self._nodes, self._limit, self._watch = 0, node_limit, watch
        self._refused = False
        blocked = np.zeros(len(self._model), dtype=bool)
        lacking = np.full(self._n, -1)  # of models without an option yet
        left = self._program.count.astype(np.int64)
        live = np.arange(len(self._sets.loss))
        found = self._descend(live, blocked, lacking, left, budget, [])
        if found is not None:
            return Decision(Answer.FOUND, self._groups(found), self._nodes)
        gave_up = self._nodes > node_limit or self._refused
        return Decision(Answer.GAVE_UP if gave_up else Answer.IMPOSSIBLE, [], self._nodes)

    def _groups(self, chosen: list[int]) -> list[tuple[int, tuple[int, ...]]]:
        number, sets = len(self._model) - 1, self._sets
        return [
            (int(sets.kind[c]), tuple(r for r in sets.members[c].tolist() if r < number))
            for c in chosen
        ]

    def _descend(
        self, live: Ints, blocked: Bools, lacking: Ints, left: Ints, rest: float, chosen: list[int]
    ) -> list[int] | None:
        if not lacking.any():
            if self._build(self._groups(chosen)) is not None:
                return chosen
            self._refused = True  # by link domains or rules, of which the sets know nothing
            return None
        self._nodes += 1
        if self._nodes & 63 == 0 and self._watch.stop:
            self._nodes = self._limit + 1
        if self._nodes > self._limit:
            return None
        sets = self._sets
        count = np.bincount(self._models[live].ravel(), minlength=self._n + 1)[: self._n]
        count[lacking == 0] = len(live) + 1
        pivot = int(count.argmin())
        if not count[pivot]:
            return None
        holding = live[(self._models[live] == pivot).any(axis=1)]
        open_ = np.append(lacking, 0)[self._models[holding]] < 0
        cost = sets.loss[holding] + np.where(open_, sets.excess[sets.members[holding]], 0).sum(1)
        tried = np.zeros(len(sets.loss), dtype=bool)
        for at in np.argsort(cost, kind="stable").tolist():
            if cost[at] > rest:
                break
            c = int(holding[at])
            now, lack, room = blocked.copy(), lacking.copy(), left.copy()
            self._take(c, now, lack)
            room[sets.kind[c]] -= 1
            budget = rest - float(cost[at])
            keep = ~(now[sets.members[live]].any(axis=1) | tried[live])
            keep &= (sets.loss[live] <= budget) & (room[sets.kind[live]] > 0)
            found = self._descend(live[keep], now, lack, room, budget, [*chosen, c])
            if found is not None or self._nodes > self._limit:
                return found
            tried[c] = True
        return None

    def _take(self, c: int, blocked: Bools, lacking: Ints) -> None:
        """Use a set: its models get its options, and lack one shard less."""
        for row in self._sets.members[c].tolist():
            j = int(self._model[row])
            if j == self._n:
                break
            if lacking[j] < 0:
                lacking[j] = self._shards[row]
                blocked[self._rows[j]] = True
                blocked[row] = False
            lacking[j] -= 1
            if not lacking[j]:
                blocked[row] = True


def _integer_cover(
    program: OptionSets, sets: _Sets, budget: float, node_limit: int, watch: Watch
) -> Decision:
    """Decide the cover as an integer program in HiGHS.

    That all losses together are within the budget follows from the rest, and is left out: it is
    too fine for the program's tolerances.

    Parameters
    ----------
    program, watch
        As for `OptionCover.decide`.
    sets
        Those that can matter.
    budget
        What the choice of an option may lose.
    node_limit
        A part of it bounds the branch and bound nodes.
    """
    number, n = len(program.model), program.instance.n
    limits = [(0.0, 0.0)] * number + [(1.0, 1.0)] * n
    limits += [(-math.inf, float(k)) for k in program.count]
    shards: list[int] = program.shards.tolist()
    usable = np.flatnonzero(sets.excess[:-1] <= budget).tolist()
    choices = [
        Entry((row, number + int(program.model[row])), (-float(shards[row]), 1.0)) for row in usable
    ]
    members = [[row for row in rows if row < number] for rows in sets.members.tolist()]
    groups = [
        Entry((*rows, number + n + kind), (1.0,) * (len(rows) + 1))
        for rows, kind in zip(members, sets.kind.tolist(), strict=True)
    ]
    columns = [(choices, 1), (groups, max(shards, default=1))]
    answer, nodes, taken = integer_program(limits, columns, node_limit, PART_OF_TIME * watch.left)
    times = dict(enumerate(taken[len(choices) :].tolist()))
    found = [(int(sets.kind[c]), tuple(members[c])) for c in sorted(Counter(times).elements())]
    return Decision(answer, found, nodes)
