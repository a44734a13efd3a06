"""The portfolio for clusters: tensor parallel, copies and rules, at every size.

The counterpart of `kvplace.solver.strategies.undivided`; the effort is counted, never timed, so
that a run without a time limit gives the same plan everywhere.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, relative_gap
from kvplace.solver.assignment.cluster import Board
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import construct
from kvplace.solver.exact.enumerate import Enumeration
from kvplace.solver.improve.descent import drop_copies, level, settle
from kvplace.solver.improve.pair_exchange_cluster import Wide
from kvplace.solver.instance.door import load_copies, load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import Packer
from kvplace.solver.large_neighbourhood.ruin_and_recreate import rebuild

if TYPE_CHECKING:
    from kvplace.solver.bounds.size_classes import LevelBound

__all__ = ["General"]

TINY = 64
"""GPUs times models up to which every way is enumerated."""
GAIN = 1e-9
"""Relative gain that a step must exceed where no other is asked for."""
LEVEL_GAIN = 1e-4
"""The same of steps that balance the rest."""
STEPS = 2_000
"""Steps of one descent."""
ROUNDS = 150
"""Rounds without gain that end the rebuilding of the first pass; doubled every pass."""
MANY = 20_000
"""Models up to which the configuration program is asked for a bound before there is a start, and
up to which GPUs are emptied and filled again one by one."""
OTHER_START = 0.35
"""Share of the time left that a start by the configuration program leaves to another one."""
LOOSE = 0.01
"""Part above the bound of the target that the program met from which a better bound is sought."""
LARGE = 1_000_000
"""Models times GPUs above which compiled kernels pay."""
AT_ONCE = 8
"""Turns of compiled exchanges, of many GPUs, without a step in between."""
TURNS = 30
"""Turns of compiled exchanges and single steps."""
WORK = 1e6
"""Pairs of GPUs looked at per turn."""
LEAST_EFFORT, MOST_EFFORT = 10.0, 400.0
"""The same per GPU, at least and at most."""
WIDE_GPUS = 20_000
"""GPUs up to which all wide exchanges of the hottest are looked at."""
FEW_STEPS = 100
"""Steps of one descent of more GPUs, where the kernels do more in the time."""
PACKED = 200
"""Copies placed at each target by ejection in the first pass; doubled every pass."""
REPAIRS = 3
"""Times that a start which breaks something is rebuilt, each with four times the effort, before all
is placed anew."""
PASSES = 2
TIMED_PASSES = 12


class General:
    """One run.

    Parameters
    ----------
    problem
        What is solved.
    gap, seed, iterations, watch
        As in `kvplace.solver.strategies.undivided`.

    Attributes
    ----------
    board
        The best assignment; None where none was valid.
    steps
        Exchanges made and perturbations tried.
    """

    def __init__(
        self, problem: Problem, *, gap: float, seed: int, iterations: int | None, watch: Watch
    ) -> None:
        self._problem = problem
        self.instance = load_instance(problem)
        self.chooser = Chooser(self.instance)
        self._several = self.instance.pressures > 1
        self._fluid = PressureBound(problem) if self._several else FluidBound(self.chooser)
        self._low = self._fluid.value
        self._searched = False
        self._levels: LevelBound | None = None
        self.board: Board | None = None
        self.steps = 0
        self._gap = max(gap, OPTIMAL_GAP)
        self._seed = seed
        self._iterations = iterations
        self._watch = watch

    def run(self, given: Placement | None) -> bool:
        """Solve; return whether the steps allowed were used up."""
        watch = self._watch
        watch.tell("bound", bound=self._low)
        if self._low == math.inf:
            return False
        best = self._start(given)
        watch.tell("start", best.worst() if best.valid else None, self._low)
        if self._enumerate(best):
            self._low, self._searched = (best.worst() if best.valid else math.inf), True
        else:
            self._search(best)
        limited = self._spent
        if best.valid:
            self._balance(best)
            self.board = best
        return limited and not self._closed(best)

    def reference(self, given: Placement | None, limit: int) -> bool:
        """Do what a textbook would: best fit at a bisected target, moves and swaps, balancing.

        Returns whether the steps allowed were used up.
        """
        if self._low == math.inf:
            return False
        boards = [] if given is None else [self._board_of(given)]
        boards += construct(self.chooser, self._low, self._watch)
        self.board = min(boards, key=Board.worth)
        if not self.board.valid:
            self.board = None
            return False
        self.steps = settle(self.board, self._watch, limit)
        if self.steps >= limit:
            return True
        self.steps += level(self.board, self._watch, STEPS + 10 * self.instance.g)
        return False

    def improve(self, given: Placement, tolerance: float, margin: float) -> bool:
        """Repair one placement and improve it by moves and swaps.

        All is placed anew only where no repair is found. Returns whether the steps allowed were
        used up; they count from the repaired placement on.
        """
        if self._low == math.inf:
            return False
        board = self._board_of(given)
        if not board.valid:
            limit, self._iterations = self._iterations, None
            board = self._repaired(board)
            self.steps, self._iterations = 0, limit
        if not board.valid:
            return False
        self.board = board
        board.spare = margin * self.instance.columns.memory.astype(np.float64)
        if self.instance.n * self.instance.g > LARGE:
            self._exchange_many(board, tolerance)
        self.steps += settle(board, self._watch, min(STEPS, self._left), tolerance=tolerance)
        if self._spent:
            return True
        most = STEPS + 10 * self.instance.g
        self.steps += level(board, self._watch, most, max(tolerance, LEVEL_GAIN))
        return False

    @property
    def _left(self) -> float:
        """Steps that may still be made."""
        return math.inf if self._iterations is None else max(0, self._iterations - self.steps)

    @property
    def _spent(self) -> bool:
        """Whether no further step may be made."""
        return self._left <= 0

    def _repaired(self, board: Board) -> Board:
        """Repair a board around what is broken, and failing that place everything anew."""
        for turn in range(REPAIRS):
            rebuild(board, math.inf, ROUNDS << 2 * turn, self._seed + turn, self._watch)
            if board.valid or self._watch.stop:
                return board
            if turn == 0 and self._enumerate(board):
                self._low, self._searched = (board.worst() if board.valid else math.inf), True
                return board
        return self._start(None)

    @property
    def bound(self) -> Bound:
        """The best bound, certified where it does not rest on a search."""
        levels = self._levels.certified(self._problem) if self._levels is not None else None
        fluid = levels or self._fluid.certified(self._problem)
        kept = self.board is not None and not any(self.board.flaws)
        if self._searched and not (kept and self._low <= fluid.value):
            return Bound(self._low, "search")
        return fluid

    def _closed(self, board: Board) -> bool:
        """Whether all rules are kept and the gap is what was asked for."""
        return not any(board.flaws) and relative_gap(board.worst(), self._low) <= self._gap

    def _board_of(self, given: Placement) -> Board:
        """Return the board of a placement; a model that is where it may not be is taken off."""
        board = Board(self.instance, load_copies(self._problem, self.instance, given))
        board.apply(
            (j, None, ())
            for j, copies in enumerate(board.where)
            if not all(self.instance.columns.allowed[j][g] for copy in copies for g in copy)
        )
        return board

    def _start(self, given: Placement | None) -> Board:
        """Return the best of several constructions and the placement given, descended."""
        boards = []
        if given is not None:
            boards.append(self._board_of(given))
        large = self.instance.n * self.instance.g > LARGE
        configured = self._configured_in_time() if large and not self._several else None
        if configured is not None:
            boards.append(configured)
        for board in construct(self.chooser, self._low, self._watch) if not boards else ():
            boards.append(board)
            if self._closed(board):
                break
        boards = sorted(boards, key=Board.worth)[: 1 if large else 3]
        for board in boards:
            if large:
                self._exchange_many(board)
            else:
                most = min(STEPS, self._left)
                self.steps += settle(board, self._watch, most, Wide(board))
        return min(boards, key=Board.worth)

    def _configured_in_time(self) -> Board | None:
        """Return `_configured`, ended so early that time is left for another start."""
        watch = self._watch
        if watch.left == math.inf:
            return self._configured()
        kept = watch.keep(0.0)
        watch.keep(kept + OTHER_START * (watch.left - kept))
        board = self._configured()
        watch.keep(kept)
        return board

    def _configured(self) -> Board | None:
        """Return what the configuration program on levels of size makes of it, if valid."""
        from kvplace.solver.construct.from_configurations import Configurer  # noqa: PLC0415 - HiGHS: only here

        few = self.instance.n <= MANY
        if few:
            self._raise_bound(None)
        self._watch.tell("configure", bound=self._low)
        configurer = Configurer(self.chooser, self._seed)
        board = configurer.build(self._low, self._watch)
        if board is not None and board.missing:
            rebuild(board, math.inf, ROUNDS, self._seed, self._watch)
        if not few and configurer.target > self._low * (1 + LOOSE):
            self._raise_bound(None)
        return board if board is not None and board.valid else None

    def _exchange_many(self, board: Board, gain: float = GAIN) -> None:
        """Improve the mobile shards by compiled kernels, and what is not by itself, in turn."""
        from kvplace.solver.improve.movable_shards import Regions, improve_mobile  # noqa: PLC0415 - numba

        regions = Regions(self.instance)
        effort = min(max(WORK / self.instance.g, LEAST_EFFORT), MOST_EFFORT)
        wide = Wide(board) if self.instance.g <= WIDE_GPUS else None
        level_, turns = max(self._low, 1e-300), 1 if wide else AT_ONCE
        for turn in range(TURNS):
            before = board.worst()
            if wide is not None or turn:
                most = min(STEPS if wide else FEW_STEPS, self._left)
                self.steps += settle(board, self._watch, most, wide, gain)
            self._watch.tell("improve", board.worst(), self._low)
            self.steps += improve_mobile(
                board, regions, level_, effort, self._seed + turn, self._watch, turns,
                limit=None if self._iterations is None else int(self._left), gain=gain,
            )  # fmt: skip
            self._watch.tell("improve", board.worst(), self._low)
            if self._watch.stop or self._spent or self._closed(board):
                break
            if board.worst() >= before * (1 - 1e-6):
                break

    def _enumerate(self, board: Board) -> bool:
        """Look at every way to place a tiny cluster; whether none was left out."""
        if self.instance.n * self.instance.g > TINY or self._closed(board):
            return False
        exhausted = Enumeration(self.instance)
        worst = (0.0, *[math.inf] * len(board.costs.vector))
        exhausted.run(
            board.flaws if board.valid else worst,
            board.worst() if board.valid else math.inf,
            self._watch,
        )
        if exhausted.best is not None:
            board.reset(exhausted.best)
        return exhausted.complete

    def _search(self, board: Board) -> None:
        """Improve a board in place with growing effort."""
        watch = self._watch
        if self.instance.n > MANY:
            return
        packer = Packer(self.chooser, self._seed, watch)
        timed = watch.left < math.inf or self._iterations is not None
        passes = TIMED_PASSES if timed else PASSES
        self._raise_bound(board)
        for pass_ in range(passes):
            if watch.stop or self._spent or self._closed(board):
                break
            target = self._low * (1 + self._gap)
            seed = self._seed + pass_
            self.steps += rebuild(board, target, ROUNDS << pass_, seed, watch, self._left)
            if board.valid:
                self._squeeze(board, packer, (PACKED + 8 * self.instance.n) << pass_)

    def _raise_bound(self, board: Board | None) -> None:
        """Ask the configuration program by levels, once."""
        if self._levels is not None or self._several:
            return
        if board is not None and (not board.valid or self._closed(board)):
            return
        from kvplace.solver.bounds.size_classes import LevelBound  # noqa: PLC0415 - HiGHS: only here

        levels = LevelBound(self.chooser)
        levels.rise(self._low, board, self._watch)
        self._levels = levels
        self._low = max(self._low, levels.value)

    def _squeeze(self, board: Board, packer: Packer, rounds: int) -> None:
        """Pack at lower and lower targets, nearer to the value each time that fails twice."""
        part, tried = 0.5, 0
        while part > 0.01 and not self._watch.stop and not self._closed(board):
            target = self._low + (board.worst() - self._low) * (1 - part)
            most = int(min(rounds, self._left))
            if most < 1:
                break
            found, tries = packer.pack(board, target, most)
            self.steps += tries
            if found is not None:
                self.steps += settle(found, self._watch, min(STEPS, self._left), Wide(found))
                if found.worth() < board.worth():
                    board.reset(found.where)
                    self._watch.tell("pack", board.worst())
                    tried = 0
                    continue
            tried += 1  # a packing that breaks more soft rules is none either
            part /= 1 if tried % 2 else 2

    def _balance(self, board: Board) -> None:
        """Balance what the maximum leaves open, and stop copies that bring nothing."""
        self._watch.tell("balance", board.worst(), self._low)
        self.steps += level(board, self._watch, STEPS + 10 * self.instance.g)
        drop_copies(board, self._watch)
