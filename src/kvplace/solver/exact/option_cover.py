"""Decide a target exactly: enumerate the sets that can matter, then search for a cover.

With dual prices y and worths z of the configuration program, every placement at the target loses
``z - y(set)`` on each GPU, and what its options cost above the cheapest of their models; all
losses together are ``sum z - sum y``: the budget. So only sets that lose no more can occur, and a
search that picks, again and again, the model with the fewest sets left ends quickly near the
program's own threshold. A cover takes one option of each model, with as many sets as that has
shards. Found: shards by kind of GPU, which are then given GPUs, those of one copy in one link
domain; that may fail. Exhausted: no placement reaches the target.
"""

from itertools import pairwise

import numpy as np

from kvplace.solver.array_types import Bools, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import TooManyError
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.column_generation.pricing import Room
from kvplace.solver.exact.integer_cover import Answer, Decision, Sets, integer_cover
from kvplace.solver.exact.seats import seated

__all__ = ["decide_cover"]

SAFETY = 1e-9
"""Relative width by which sizes and budgets are widened, so that rounding loses no set."""
DEPTH_FIRST_GPUS = 300
"""Depth up to which the search in Python goes."""
FEW_SETS = 300
"""Sets up to which the search in Python comes first."""


def decide_cover(
    program: OptionSets, verdict: Verdict, set_limit: int, node_limit: int, watch: Watch
) -> Decision:
    """Decide whether a placement at the verdict's target exists.

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
    sets = _sets(program, verdict, budget, set_limit)
    if sets is None:
        return Decision(Answer.GAVE_UP, [])
    if len(sets.loss) <= FEW_SETS and program.instance.g <= DEPTH_FIRST_GPUS:
        return _Cover(program, sets).run(budget, node_limit, watch)
    decision = integer_cover(program, sets, budget, node_limit, watch)
    if decision.answer is Answer.GAVE_UP and program.instance.g <= DEPTH_FIRST_GPUS:
        return _Cover(program, sets).run(budget, node_limit, watch)
    return decision


def _sets(program: OptionSets, verdict: Verdict, budget: float, limit: int) -> Sets | None:
    """Return the sets that lose no more than the budget; None where there are too many."""
    prices = verdict.prices
    rooms, fits = program.rooms(verdict.target)
    excess = prices * program.shards - program.least(prices)[program.model]
    usable = fits & (excess <= budget)[:, None]
    loss, kinds = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    members: list[tuple[int, ...]] = []
    for kind, room in enumerate(rooms):
        wide = Room(room.sizes, room.capacity * (1 + SAFETY * 1e-3), room.groups)
        active = np.flatnonzero(usable[:, kind])
        worth = float(verdict.worths[kind])
        try:
            groups = wide.knapsack(prices, active).above(worth - budget, limit)
        except TooManyError:
            return None
        for group in groups:
            rows = active[group]
            loss.append(np.maximum(worth - prices[rows].sum(axis=1), 0.0))
            kinds.append(np.full(len(rows), kind))
            members += map(tuple, rows.tolist())
    if len(members) > limit:
        return None
    lost = np.concatenate(loss)
    order = np.argsort(lost, kind="stable")
    return Sets(
        lost[order], np.concatenate(kinds)[order], [members[at] for at in order.tolist()], excess
    )


class _Cover:
    """Depth-first exact cover under a budget.

    A state is the option of each model that has one, the shards that lack a GPU, and the options
    that no further set may hold.
    """

    def __init__(self, program: OptionSets, sets: Sets) -> None:
        self._program, self._sets = program, sets
        self._n = program.instance.n
        self._model = np.append(program.model, self._n)
        self._shards: list[int] = [*program.shards.tolist(), 0]
        self._rows = [slice(a, b) for a, b in pairwise(program.instance.starts)]
        # Sets are filled up by an option that is none.
        number, width = len(program.model), max(map(len, sets.members), default=1)
        rows = [(*held, *[number] * (width - len(held))) for held in sets.members]
        self._members: Ints = np.array(rows, dtype=np.int64).reshape(-1, width)
        self._models, self._excess = self._model[self._members], np.append(sets.excess, 0.0)

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
            return Decision(Answer.FOUND, self._groups(found))
        gave_up = self._nodes > node_limit or self._refused
        return Decision(Answer.GAVE_UP if gave_up else Answer.IMPOSSIBLE, [])

    def _groups(self, chosen: list[int]) -> list[tuple[int, tuple[int, ...]]]:
        return [(int(self._sets.kind[c]), self._sets.members[c]) for c in chosen]

    def _descend(
        self, live: Ints, blocked: Bools, lacking: Ints, left: Ints, rest: float, chosen: list[int]
    ) -> list[int] | None:
        if not lacking.any():
            if seated(self._program, self._groups(chosen)) is not None:
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
        cost = sets.loss[holding] + np.where(open_, self._excess[self._members[holding]], 0).sum(1)
        tried = np.zeros(len(sets.loss), dtype=bool)
        for at in np.argsort(cost, kind="stable").tolist():
            if cost[at] > rest:
                break
            c = int(holding[at])
            now, lack, room = blocked.copy(), lacking.copy(), left.copy()
            self._take(c, now, lack)
            room[sets.kind[c]] -= 1
            budget = rest - float(cost[at])
            keep = ~(now[self._members[live]].any(axis=1) | tried[live])
            keep &= (sets.loss[live] <= budget) & (room[sets.kind[live]] > 0)
            found = self._descend(live[keep], now, lack, room, budget, [*chosen, c])
            if found is not None or self._nodes > self._limit:
                return found
            tried[c] = True
        return None

    def _take(self, c: int, blocked: Bools, lacking: Ints) -> None:
        """Use a set: its models get its options, and lack one shard less."""
        for row in self._sets.members[c]:
            j = int(self._model[row])
            if lacking[j] < 0:
                lacking[j] = self._shards[row]
                blocked[self._rows[j]] = True
                blocked[row] = False
            lacking[j] -= 1
            if not lacking[j]:
                blocked[row] = True
