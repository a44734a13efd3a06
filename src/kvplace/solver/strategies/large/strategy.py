"""The stages for large fleets in order, and the search that runs them.

The plan is the same on any machine and any number of threads, as long as no time limit cuts it
short.
"""

from contextlib import closing

import numpy as np

from kvplace.core.placement import Placement
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.instance.door import load_placement
from kvplace.solver.kernels import Crew
from kvplace.solver.strategies.large import stages
from kvplace.solver.strategies.large.search import LargeState
from kvplace.solver.strategies.stages import Stage, Strategy, run_strategy

STRATEGY: Strategy[LargeState] = Strategy(
    once=(
        Stage("start", stages.start, closed=True),
        Stage("exact-packing", stages.pack, lambda s: not stages.placed(s)),
        Stage("pair-exchanges", stages.pair, stages.placed, closed=True, steps=True),
        Stage("configuration-bound", stages.price_classes, stages.wasteful, closed=True),
        Stage("parallel-exchanges", stages.relieve, stages.placed, closed=True, steps=True),
        Stage("gpu-filling", stages.fill, stages.fillable, closed=True),
        Stage("configuration-bound", stages.price_sets, stages.uneven),
    ),
    rounds=(
        Stage("iterated-local-search", stages.kick, stages.kicked, steps=True),
        Stage("parallel-exchanges", stages.relieve_again, stages.alternating, steps=True),
    ),
    last=(Stage("balance", stages.rest, stages.proved, closed=True, steps=True),),
    repeats=lambda search: (
        search.knobs.turns if stages.alternating(search) else search.knobs.rounds
    ),
)

REFINE: Strategy[LargeState] = Strategy(
    once=(
        Stage("pair-exchanges", stages.pair, lambda s: s.limit is None, closed=True, steps=True),
        Stage("parallel-exchanges", stages.relieve, closed=True, steps=True),
    ),
    last=(Stage("balance", stages.rest, closed=True, steps=True),),
)


class LargeSearch(LargeState):
    """One run."""

    @property
    def strategy(self) -> Strategy[LargeState]:  # noqa: D102 - of the base class
        return STRATEGY

    @property
    def textbook(self) -> Strategy[LargeState]:  # noqa: D102 - of the base class
        raise NotImplementedError  # the reference is plain Python at every size

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:  # noqa: D102 - of the base class
        given = np.array(load_placement(self.problem, self.instance, start))
        spare = np.ceil(margin * self.columns.memory.astype(np.float64)).astype(np.int64)
        self.take(pack_rows(self.columns, given, spare=spare))
        self.tolerance = tolerance
        with closing(Crew(self.threads)) as self.crew:
            run_strategy(self, REFINE)
        self.limited = self.left <= 0
