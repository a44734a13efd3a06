"""The configuration program under several pressures: size classes of weighted sizes.

At a target and a weighting of the pressures every shard has one size and every GPU one capacity,
so the program over size classes says what it says of one pressure: where few models share a GPU,
what no set of them fills lies waste. It is asked at the weighting of the fluid bound and at each
resource alone.
"""

import numpy as np

from kvplace.core.certificates.certificate import GRID, Bound
from kvplace.core.certificates.weighted import weighted_limit
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.certify import checked
from kvplace.solver.bounds.pressures import PressureBound, weighted_certificate
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables
from kvplace.solver.column_generation.level_program import LevelProgram
from kvplace.solver.column_generation.levels import LevelRooms, need_of

__all__ = ["PressureClasses"]

TARGETS = 12
"""Targets decided per weighting."""
CLOSE = 1e-4
"""Relative distance of bound and value at which no further target is decided."""
MARGIN = 1e-7
"""Relative distance that sizes keep from a class, on the safe side."""


class PressureClasses:
    """The bound of one problem.

    Parameters
    ----------
    fluid
        Its fluid bound, at which the search begins.

    Attributes
    ----------
    value
        The best bound, not yet certified; 0 where none was found.
    once
        As of `LevelBound`; never.
    """

    def __init__(self, fluid: PressureBound) -> None:
        self._fluid = fluid
        self._found: tuple[Tables, Floats] | None = None
        self.value, self.once = 0.0, False

    def rise(self, low: float, high: float, watch: Watch) -> None:
        """Look for impossible targets between a bound and the value of an assignment.

        From a bound of 0, where nobody asks for anything, there is nothing to look for.
        """
        if low <= 0:
            return
        for weighting in self._fluid.weightings(low):
            program = LevelProgram()

            def impossible(
                target: float, weighting: Floats = weighting, program: LevelProgram = program
            ) -> bool:
                return self._impossible(target, weighting, program, watch)

            # A weighting that says nothing just above the bound says nothing at all.
            low = max(low, self.value)
            probes = [(low * (1 + CLOSE), True), (high * (1 - CLOSE / 10), False)]
            bisect(impossible, low, high, width=CLOSE, most=TARGETS, probes=probes, watch=watch)

    def _impossible(
        self, target: float, weighting: Floats, program: LevelProgram, watch: Watch
    ) -> bool:
        each, shards, capacity = self._fluid.weighted(target, weighting)
        largest = float(capacity.max())
        fit = np.isfinite(each) & (each < largest)
        if not fit.any(axis=1).all():
            return False
        classes: Ints = np.floor(np.where(fit, each, 0.0) / largest * GRID * (1 - MARGIN)).astype(
            np.int64
        )
        rooms = np.floor(capacity / largest * GRID * (1 + 1e-12)).astype(np.int64)
        levels, kind = np.unique(rooms, return_inverse=True)
        count = np.bincount(kind, weights=self._fluid.count).astype(np.float64)
        need, _ = need_of(GRID, classes, each, shards, fit)
        found = program.decide(need, LevelRooms(levels, count), watch)
        if found.excess > 0:
            self.value, self._found = target, (found.table, weighting)
            watch.tell("bound", bound=target)
        return found.excess > 0

    def certified(self, problem: Problem) -> Bound | None:
        """Return the bound with its certificate, or None where there is none that checks."""
        if self._found is None:
            return None
        table, weighting = self._found
        weights = self._fluid.whole_weights(problem, self.value, weighting)
        largest = max(
            weighted_limit(self.value, memory, of) for (_, memory), of in weights.items() if any(of)
        )
        by_class: list[int] = table.prices.tolist()

        def price(size: int) -> int:
            return by_class[min(GRID, size * GRID // largest)]

        def worth(limit: int) -> int:
            return int(table.worth(np.array([limit * GRID // largest]))[0])

        certificate = weighted_certificate(problem, self.value, weights, price, worth)
        return checked(problem, "configuration", certificate)
