"""The stages for clusters in order, and the search that runs them."""

from kvplace.core.placement import Placement
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.drop_copies import drop_copies
from kvplace.solver.improve.neighbourhoods.kinds import nearby
from kvplace.solver.strategies.assigned import (
    ask_program,
    board_of,
    going_on,
    placed,
    rank,
    refill_groups,
)
from kvplace.solver.strategies.cluster import stages, starts, supports
from kvplace.solver.strategies.cluster.search import ClusterState
from kvplace.solver.strategies.stages import Beside, Stage, Strategy

STRATEGY: Strategy[ClusterState] = Strategy(
    once=(
        Stage("configurations", starts.configure, supports.configurable, closed=True),
        Stage("start", starts.start, closed=True),
        Stage("ejection", starts.make_room, supports.roomy, steps=True),
        Stage("parallel-exchanges", starts.descend, supports.begun_large, closed=True),
        Stage("parallel-exchanges", starts.exchange, supports.exchanged, steps=True),
        Stage("pair-exchanges", starts.descend, supports.begun, closed=True),
        Stage("ejection", starts.mend, lambda s: supports.few(s) and not s.placed and not s.tiny),
        Stage("configuration-bound", ask_program, supports.quick),
        Stage("enumeration", stages.enumerate_all, lambda s: s.board is not None and s.tiny),
        Stage("exact-decisions", stages.decide, supports.decided_at_once),
        Stage("configuration-bound", stages.ask_classes, supports.classed),
        Stage("configuration-bound", stages.ask_sets, supports.asking),
        Stage("set-program", stages.cover_soon, supports.soon_covered),
    ),
    rounds=(
        Stage("group-cover", refill_groups, supports.regroupable, steps=True),
        Stage("domain-filling", stages.refill, supports.refillable, steps=True),
        Stage(
            "domain-program",
            stages.fill_by_program,
            supports.refillable,
            steps=True,
            beside=Beside("configuration-bound", stages.tighten_beside, supports.tightened_beside),
        ),
        Stage("iterated-local-search", stages.iterate, supports.kicked_first, steps=True),
        # After a good value is known: far above it, targets tell nothing and cost as much.
        Stage("configuration-bound", stages.tighten, supports.tightened),
        Stage("set-program", stages.cover, supports.coverable),
        Stage("domain-cases", stages.divide, supports.dividable),
        Stage("exact-decisions", stages.decide, supports.decided_again),
        Stage("iterated-local-search", stages.iterate, supports.kicked_last, steps=True),
        Stage("ejection", starts.make_room, supports.roomy, steps=True),
        Stage("ejection", stages.eject, supports.ejectable, steps=True),
    ),
    last=(
        Stage("balance", stages.balance, placed, closed=True),
        Stage("drop-copies", lambda s: drop_copies(s.best, s.watch), placed, closed=True),
        Stage("leximax", rank, supports.rankable, closed=True),
    ),
    repeats=supports.passes,
    kept=lambda s: s.knobs.balanced_part if supports.few(s) else 0.0,
)

REFERENCE: Strategy[ClusterState] = Strategy(
    once=(
        Stage("start", starts.start_as_reference, closed=True),
        Stage("pair-exchanges", stages.lower, placed, closed=True),
        Stage("balance", stages.balance, going_on, closed=True),
    ),
)


class ClusterSearch(ClusterState):
    """One run over a cluster."""

    strategy = STRATEGY
    textbook = REFERENCE

    @property
    def compiled(self) -> bool:  # noqa: D102 - of the base class
        return supports.priced_by_kernels(self)

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.starts.append(board_of(self.problem, self.instance, start))

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:  # noqa: D102 - of the base class
        self.board = board = board_of(self.problem, self.instance, start)
        board.spare(margin)
        if self.large:
            starts.exchange_many(self, board, tolerance)
        kinds = nearby(board)
        self.steps += settle(board, self.watch, min(self.knobs.steps, self.left), kinds, tolerance)
        self.limited = self.left <= 0
        if not self.limited:
            gain = max(tolerance, self.knobs.balance_gain)
            self.steps += level(board, self.watch, self.balance_steps, kinds, gain)
