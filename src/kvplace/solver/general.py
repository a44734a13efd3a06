"""The portfolio for clusters: tensor parallel, copies and rules, at every size.

The counterpart of `kvplace.solver.portfolio`; the effort is counted, never timed, so that a run
without a time limit gives the same plan everywhere.
"""

import math

from kvplace.core.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Stop, relative_gap
from kvplace.solver.board import Board
from kvplace.solver.choose import Chooser, construct
from kvplace.solver.cluster import Cluster
from kvplace.solver.descend import drop_copies, level, settle
from kvplace.solver.eject import Packer
from kvplace.solver.enumerate import Enumeration
from kvplace.solver.relax import fluid_bound
from kvplace.solver.ruin import rebuild
from kvplace.solver.watch import Watch

__all__ = ["General"]

TINY = 64
"""GPUs times models up to which every way is enumerated."""
STEPS = 2_000
"""Steps of one descent."""
ROUNDS = 150
"""Rounds without gain that end the rebuilding of the first pass; doubled every pass."""
PASSES = 2
TIMED_PASSES = 12


class General:
    """One run.

    Parameters
    ----------
    problem
        What is solved.
    gap, seed, iterations, watch
        As in `kvplace.solver.portfolio.Portfolio`; `iterations` are rounds of rebuilding.

    Attributes
    ----------
    board
        The best assignment; None where none was valid.
    bound
        Best bound.
    steps
        Steps and rounds that gained.
    """

    def __init__(
        self, problem: Problem, *, gap: float, seed: int, iterations: int | None, watch: Watch
    ) -> None:
        self.cluster = Cluster(problem)
        self.bound = Bound(0.0, "trivial")
        self.board: Board | None = None
        self.steps = 0
        self._gap = max(gap, OPTIMAL_GAP)
        self._seed = seed
        self._iterations = iterations
        self._watch = watch

    def run(self, given: Placement | None) -> Stop:
        """Solve; return why it ended."""
        watch = self._watch
        self.bound = fluid_bound(self.cluster)
        watch.tell("bound", bound=self.bound.value)
        if self.bound.value == math.inf:
            return Stop.INFEASIBLE
        best = self._start(given)
        watch.tell("start", best.worst() if best.valid else None, self.bound.value)
        complete = self._search(best)
        if not best.valid:
            if complete:
                self.bound = Bound(math.inf, "search")
                return Stop.INFEASIBLE
            return watch.stop or Stop.LOCAL_OPTIMUM
        self.board = best
        if relative_gap(best.worst(), self.bound.value) <= OPTIMAL_GAP:
            return watch.stop or Stop.OPTIMAL
        if self._closed(best):
            return Stop.GAP
        return watch.stop or (
            Stop.LOCAL_OPTIMUM if self._iterations is None else Stop.ITERATION_LIMIT
        )

    def improve(self, given: Placement, limit: int | None) -> Stop:
        """Repair and improve one placement by moves and swaps, and nothing else."""
        self.bound = fluid_bound(self.cluster)
        board = Board(self.cluster, self.cluster.load(given))
        if not board.valid:
            rebuild(board, math.inf, 10 * ROUNDS, self._seed, self._watch)
        steps = settle(board, self._watch, STEPS if limit is None else limit)
        self.steps += steps
        self.board = board if board.valid else None
        if limit is not None and steps >= limit:
            return Stop.ITERATION_LIMIT
        self.steps += level(board, self._watch, STEPS + 10 * self.cluster.g)
        return self._watch.stop or Stop.LOCAL_OPTIMUM

    def _closed(self, board: Board) -> bool:
        return board.valid and relative_gap(board.worst(), self.bound.value) <= self._gap

    def _start(self, given: Placement | None) -> Board:
        """Return the best of several constructions and the placement given, descended."""
        best: Board | None = None
        boards = list(construct(self.cluster, self.bound.value, self._watch))
        if given is not None:
            boards.insert(0, Board(self.cluster, self.cluster.load(given)))
        for board in sorted(boards, key=Board.worth)[:3]:
            self.steps += settle(board, self._watch, STEPS)
            if best is None or board.worth() < best.worth():
                best = board
        assert best is not None
        return best

    def _search(self, board: Board) -> bool:
        """Improve a board in place; whether every way was looked at."""
        watch = self._watch
        if self.cluster.n * self.cluster.g <= TINY and not self._closed(board):
            exhausted = Enumeration(self.cluster)
            exhausted.run(
                board.flaws if board.valid else (0.0, *[math.inf] * len(board.costs.vector)),
                board.worst() if board.valid else math.inf,
                watch,
            )
            if exhausted.best is not None:
                board.reset(exhausted.best)
            if exhausted.complete:
                if board.valid:
                    self.bound = Bound(board.worst(), "search")
                self._balance(board)
                return True
        packer = Packer(Chooser(self.cluster), self._seed, watch)
        passes = PASSES if watch.left == math.inf else TIMED_PASSES
        for pass_ in range(passes):
            if watch.stop or self._closed(board):
                break
            target = self.bound.value * (1 + self._gap)
            rounds = (ROUNDS if self._iterations is None else self._iterations) << pass_
            self.steps += rebuild(board, target, rounds, self._seed + pass_, watch)
            self._squeeze(board, packer, 200 << pass_)
        self._balance(board)
        return False

    def _squeeze(self, board: Board, packer: Packer, rounds: int) -> None:
        """Pack at lower and lower targets, nearer to the value each time that fails."""
        part = 0.5
        while part > 0.01 and not self._watch.stop and not self._closed(board):
            value = board.worst() if board.valid else math.inf
            target = self.bound.value + (value - self.bound.value) * (1 - part)
            if value == math.inf:
                return
            found = packer.pack(board, target, rounds)
            if found is None:
                part /= 2
                continue
            settle(found, self._watch, STEPS)
            if found.worth() < board.worth():
                board.reset(found.where)
                self.steps += 1
                self._watch.tell("pack", board.worst())

    def _balance(self, board: Board) -> None:
        """Balance what the maximum leaves open, and stop copies that bring nothing."""
        if not board.valid:
            return
        self._watch.tell("balance", board.worst(), self.bound.value)
        self.steps += level(board, self._watch, STEPS + 10 * self.cluster.g)
        drop_copies(board, self._watch)
