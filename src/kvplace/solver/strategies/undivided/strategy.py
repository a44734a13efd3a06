"""The stages for undivided models in order, and the search that runs them."""

import math

from kvplace.core.placement import Placement
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.instance.door import load_placement
from kvplace.solver.strategies.assigned import ask_program
from kvplace.solver.strategies.stages import Stage, Strategy
from kvplace.solver.strategies.undivided.improve import (
    balance,
    cover,
    iterate,
    kick,
    start,
    start_as_reference,
)
from kvplace.solver.strategies.undivided.proofs import (
    ask_classes,
    decide,
    enumerate_all,
    pack,
    rank,
)
from kvplace.solver.strategies.undivided.search import UndividedState
from kvplace.solver.strategies.undivided.supports import (
    covered,
    optimal,
    placed,
    quick,
    rounds,
    small,
    tiny,
    wasteful,
)

__all__ = ["REFERENCE", "STRATEGY", "UndividedSearch"]

STRATEGY: Strategy[UndividedState] = Strategy(
    once=(
        Stage("start", start, closed=True),
        Stage("exact-packing", pack, lambda s: not placed(s)),
        Stage("configuration-bound", ask_program, quick),
        Stage("exact-decisions", decide, tiny),
        Stage("enumeration", enumerate_all, tiny),
    ),
    rounds=(
        Stage("iterated-local-search", iterate, placed, steps=True),
        Stage("exact-decisions", decide, lambda s: placed(s) and small(s)),
        # What loads compiled kernels comes after what often needs none: that takes up to a second.
        Stage("group-cover", cover, covered, steps=True),
        Stage("iterated-local-search", kick, lambda s: placed(s) and s.long, steps=True),
        Stage("configuration-bound", ask_classes, wasteful),
    ),
    last=(
        Stage("balance", balance, placed, closed=True),
        Stage("leximax", rank, lambda s: optimal(s) and not s.watch.stop, closed=True),
    ),
    repeats=rounds,
    idle=lambda s: s.knobs.idle_rounds,
)

REFERENCE: Strategy[UndividedState] = Strategy(
    once=(Stage("start", start_as_reference, closed=True),),
    last=(
        Stage(
            "balance",
            lambda s: s.balance(math.inf),
            lambda s: placed(s) and s.left > 0,
            closed=True,
        ),
    ),
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
