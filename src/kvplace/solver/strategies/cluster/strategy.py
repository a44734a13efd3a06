"""The stages for clusters in order, and the search that runs them."""

import math

from kvplace.core.placement import Placement
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.drop_copies import drop_copies
from kvplace.solver.improve.neighbourhoods.kinds import nearby
from kvplace.solver.strategies.assigned import ask_program
from kvplace.solver.strategies.cluster.search import ClusterState
from kvplace.solver.strategies.cluster.stages import (
    ask_classes,
    balance,
    cover,
    decide,
    divide,
    eject,
    enumerate_all,
    iterate,
    lower,
    rank,
    refill,
    tighten,
    tighten_beside,
)
from kvplace.solver.strategies.cluster.starts import (
    configure,
    descend,
    exchange_many,
    mend,
    repair,
    start,
    start_as_reference,
    start_further,
)
from kvplace.solver.strategies.cluster.supports import (
    begun,
    coverable,
    dividable,
    ejectable,
    few,
    keeps,
    long,
    passes,
    placed,
    quick,
    rankable,
    refillable,
    tightened,
    tightened_beside,
)
from kvplace.solver.strategies.stages import Beside, Stage, Strategy, run_stages

__all__ = ["REFERENCE", "STRATEGY", "ClusterSearch"]

BEGINNING: tuple[Stage[ClusterState], ...] = (
    Stage("configurations", configure, lambda s: s.large and s.instance.pressures == 1),
    Stage("start", start, closed=True),
    Stage("parallel-exchanges", descend, lambda s: begun(s) and s.large, closed=True),
    Stage("pair-exchanges", descend, lambda s: begun(s) and not s.large, closed=True),
    Stage("ejection", mend, lambda s: few(s) and not s.placed and not s.tiny),
)
"""What places all models, and betters that."""

STRATEGY: Strategy[ClusterState] = Strategy(
    once=(
        *BEGINNING,
        Stage("configuration-bound", ask_program, quick),
        Stage("enumeration", enumerate_all, lambda s: begun(s) and s.tiny),
        Stage("start", start_further, lambda s: begun(s) and s.tiny),
        Stage("pair-exchanges", descend, lambda s: begun(s) and s.tiny),
        Stage("exact-decisions", decide, lambda s: quick(s) and not long(s)),
        Stage(
            "configuration-bound",
            ask_classes,
            lambda s: few(s) and placed(s) and (keeps(s) or not refillable(s)),
        ),
    ),
    rounds=(
        Stage(
            "domain-filling",
            refill,
            refillable,
            steps=True,
            beside=Beside("configuration-bound", tighten_beside, tightened_beside),
        ),
        # After a good value is known: far above it, targets tell nothing and cost as much.
        Stage("configuration-bound", tighten, tightened),
        Stage("set-program", cover, coverable),
        Stage("domain-cases", divide, dividable),
        Stage("exact-decisions", decide, lambda s: quick(s) and (long(s) or s.round > 0)),
        Stage("iterated-local-search", iterate, long, steps=True),
        Stage("ejection", eject, ejectable, steps=True),
    ),
    last=(
        Stage("balance", balance, placed, closed=True),
        Stage("drop-copies", lambda s: drop_copies(s.best, s.watch), placed, closed=True),
        Stage("leximax", rank, rankable, closed=True),
    ),
    repeats=passes,
)

REFERENCE: Strategy[ClusterState] = Strategy(
    once=(
        Stage("start", start_as_reference, closed=True),
        Stage("pair-exchanges", lower, placed, closed=True),
        Stage("balance", balance, lambda s: placed(s) and s.left > 0, closed=True),
    ),
)


class ClusterSearch(ClusterState):
    """One run over a cluster."""

    strategy = STRATEGY
    textbook = REFERENCE

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.starts.append(self.board_of(start))

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:  # noqa: D102 - of the base class
        if self._low == math.inf:
            return
        self.board = board = self.board_of(start)
        if not board.valid:
            self._repair()
        if not self.best.valid:
            return
        board = self.best
        board.spare(margin)
        if self.large:
            exchange_many(self, board, tolerance)
        kinds = nearby(board)
        self.steps += settle(board, self.watch, min(self.knobs.steps, self.left), kinds, tolerance)
        self.limited = self.left <= 0
        if not self.limited:
            gain = max(tolerance, self.knobs.balance_gain)
            self.steps += level(board, self.watch, self.balance_steps, kinds, gain)

    def _repair(self) -> None:
        """Mend what is broken, and failing that place everything anew; no step counts."""
        limit, self.limit = self.limit, None
        repair(self)
        if not self.placed and self.tiny and not self.watch.stop:
            enumerate_all(self)
        if not self.placed and not self._searched and not self.watch.stop:
            self.board = None
            run_stages(self, BEGINNING)
        self.steps, self.limit = 0, limit
