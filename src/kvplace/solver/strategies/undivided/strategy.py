"""The stages for undivided models in order, and the search that runs them."""

import math

from kvplace.core.placement import Placement
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_placement
from kvplace.solver.strategies.assigned import (
    ask_program,
    far,
    going_on,
    placed,
    rank,
    refill_groups,
)
from kvplace.solver.strategies.stages import Stage, Strategy
from kvplace.solver.strategies.undivided import stages
from kvplace.solver.strategies.undivided.search import UndividedState

STRATEGY: Strategy[UndividedState] = Strategy(
    once=(
        Stage("start", stages.start, closed=True),
        Stage("exact-packing", stages.pack, lambda s: not s.placed),
        Stage("configuration-bound", ask_program, stages.quick),
        Stage("exact-decisions", stages.decide, stages.tiny),
        Stage("enumeration", stages.enumerate_all, stages.tiny),
    ),
    rounds=(
        Stage("iterated-local-search", stages.iterate, placed, steps=True),
        Stage("group-cover", refill_groups, lambda s: far(s) and stages.covered(s), steps=True),
        Stage("exact-decisions", stages.decide, lambda s: s.placed and stages.small(s)),
        # What loads compiled kernels comes after what often needs none: that takes up to a second.
        Stage("group-cover", refill_groups, stages.covered, steps=True),
        Stage("iterated-local-search", stages.kick, lambda s: s.placed and s.long, steps=True),
    ),
    last=(
        Stage("balance", stages.balance, placed, closed=True),
        Stage("leximax", rank, lambda s: stages.optimal(s) and not s.watch.stop, closed=True),
    ),
    repeats=stages.rounds,
    idle=lambda s: s.knobs.idle_rounds,
)

REFERENCE: Strategy[UndividedState] = Strategy(
    once=(Stage("start", stages.start_as_reference, closed=True),),
    last=(Stage("balance", lambda s: s.balance(math.inf), going_on, closed=True),),
)


class UndividedSearch(UndividedState):
    """One run over undivided models."""

    strategy = STRATEGY
    textbook = REFERENCE

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:
        """Improve a valid placement by moves and swaps."""
        self.board = Assignment.single(
            self.instance, load_placement(self.problem, self.instance, start)
        )
        self.watch.tell("refine", self.value, self.low)
        self.lower(tolerance, margin)
        self.limited = self.left <= 0
        if not self.limited:
            self.balance(math.inf, tolerance, margin)
