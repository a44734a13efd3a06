"""What a search over undivided models holds: the best assignment, and what is proved.

numpy and HiGHS are imported only once the simple bounds have failed to prove the start optimal.
"""

import math
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.certify import certified_rule
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.instance.door import load_instance, load_placement, unload_placement
from kvplace.solver.strategies.params import UndividedParams
from kvplace.solver.strategies.stages import Search, Settings

if TYPE_CHECKING:
    from kvplace.solver.column_generation.option_sets import OptionSets

__all__ = ["UndividedState"]


class UndividedState(Search):
    """One run.

    Attributes
    ----------
    instance
        The problem as numbers.
    state
        Best assignment; None where none was found.
    bound
        Best bound, certified unless it is a simple one.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        super().__init__(problem, settings)
        self.knobs: UndividedParams = self.params.undivided
        self.instance = load_instance(problem)
        self.bound = simple_bound(self.instance)
        self.state: Assignment | None = None
        self.given: list[int] | None = None
        self._program: OptionSets | None = None
        self.watch.tell("bound", bound=self.bound.value)

    @property
    def value(self) -> float:  # noqa: D102 - as of `Search`, here and below
        return math.inf if self.state is None else self.state.worst()

    @property
    def low(self) -> float:  # noqa: D102 - of the base class
        return self.bound.value

    @property
    def proof(self) -> Bound:  # noqa: D102 - of the base class
        hottest = self.instance.model_index[single_model_bound(self.instance)[1]]
        return certified_rule(self.problem, self.bound, hottest)

    @property
    def placement(self) -> Placement | None:  # noqa: D102 - of the base class
        if self.state is None:
            return None
        return unload_placement(self.problem, self.instance, self.state.gpu_of)

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.given = load_placement(self.problem, self.instance, start)

    def offer(self, state: Assignment) -> None:
        """Keep a state if it is the best so far."""
        if state.worst() < self.value:
            self.state = state

    def lower(self, tolerance: float = 1e-9, margin: float = 0.0) -> None:
        """Lower the maximum of the best state by moves and swaps."""
        assert self.state is not None
        kinds = [MoveAndSwap(self.state, margin)]
        self.steps += settle(self.state, self.watch, self.left, kinds, tolerance)
        self.watch.tell("refine", self.value)

    def balance(self, most: float, tolerance: float = 1e-9, margin: float = 0.0) -> None:
        """Balance what the maximum leaves open, by at most so many moves and swaps."""
        assert self.state is not None
        kinds = [MoveAndSwap(self.state, margin)]
        self.steps += level(self.state, self.watch, most, kinds, tolerance, again=True)

    @property
    def long(self) -> bool:
        """Whether the time limit leaves room for compiled kernels."""
        return self.knobs.compiled_seconds <= self.watch.limit < math.inf

    @property
    def density(self) -> float:
        """Models per GPU."""
        return self.instance.n / self.instance.g

    @property
    def program(self) -> "OptionSets":
        """The configuration program, with the best assignment among its columns."""
        from kvplace.solver.column_generation.option_sets import OptionSets  # noqa: PLC0415 - numpy and HiGHS: only here

        self._program = self._program or OptionSets(self.instance)
        if self.state is not None:
            self._program.add(self.state.members)
        return self._program

    def adopt(self) -> None:
        """Take what is proved: a search as it is, a certificate only if it checks."""
        from kvplace.solver.bounds.option_prices import certified_options, searched_options  # noqa: PLC0415 - HiGHS: only here

        proof, program = self.deciding, self.program
        if proof.searched is not None and proof.value > self.low:
            self.bound = searched_options(self.problem, program, proof.searched, self.watch)
            proof.searched = None
        for verdict in proof.verdicts[: -self.knobs.certificates - 1 : -1]:
            if verdict.target <= self.low:
                break
            bound = certified_options(self.problem, program, verdict)
            if bound is not None:
                self.bound = bound
                break
        proof.value, proof.verdicts = self.low, []
        self.watch.tell("bound", self.value, self.low)
