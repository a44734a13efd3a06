"""What a search over undivided models holds: the best assignment, and what is proved."""

import math

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.solver.bounds.certify import certified_rule
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.instance.door import load_placement
from kvplace.solver.strategies.assigned import AssignedSearch
from kvplace.solver.strategies.params import UndividedParams
from kvplace.solver.strategies.stages import Settings


class UndividedState(AssignedSearch):
    """One run.

    Attributes
    ----------
    bound
        Best bound, certified unless it is a simple one.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        super().__init__(problem, settings)
        self.knobs: UndividedParams = self.params.undivided
        self.bound = simple_bound(self.instance)
        self.given: list[int] | None = None
        self.watch.tell("bound", bound=self.bound.value)

    @property
    def low(self) -> float:  # noqa: D102 - of the base class
        return self.bound.value

    @property
    def proof(self) -> Bound:  # noqa: D102 - of the base class
        hottest = self.instance.model_index[single_model_bound(self.instance)[1]]
        return certified_rule(self.problem, self.bound, hottest)

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.given = load_placement(self.problem, self.instance, start)

    def lower(self, tolerance: float = 1e-9, margin: float = 0.0) -> None:
        """Lower the maximum of the best state by moves and swaps."""
        kinds = [MoveAndSwap(self.best, margin)]
        self.steps += settle(self.best, self.watch, self.left, kinds, tolerance)
        self.watch.tell("refine", self.value)

    def balance(self, most: float, tolerance: float = 1e-9, margin: float = 0.0) -> None:
        """Balance what the maximum leaves open, by at most so many moves and swaps."""
        kinds = [MoveAndSwap(self.best, margin)]
        self.steps += level(self.best, self.watch, most, kinds, tolerance, again=True)

    @property
    def long(self) -> bool:
        """Whether the time limit leaves room for compiled kernels."""
        return self.knobs.compiled_seconds <= self.watch.limit < math.inf

    @property
    def density(self) -> float:
        """Models per GPU."""
        return self.instance.n / self.instance.g

    def take(self, bound: Bound) -> None:  # noqa: D102 - of the base class
        self.bound = bound
