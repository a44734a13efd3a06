"""What a search over clusters holds: the best assignment, its starts, and what is proved."""

import math
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.standing import standing_of, tiers_of
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.clock import Within
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import Packer
from kvplace.solver.strategies.assigned import AssignedSearch
from kvplace.solver.strategies.params import ClusterParams
from kvplace.solver.strategies.stages import Settings

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats
    from kvplace.solver.bounds.level_bound import LevelBound
    from kvplace.solver.large_neighbourhood.domain_program import DomainProgram
    from kvplace.solver.strategies.cluster.tail import Tail

CERTIFIED = 0.5
"""Part of the time left that the check of a bound on size classes may take, once it is found."""


class ClusterState(AssignedSearch):
    """One run.

    Attributes
    ----------
    chooser
        The options of the models.
    loading
        Seconds that it took to load the problem.
    starts
        Assignments to begin with.
    aimed
        Lowest target that the program of a start met, sizes rounded to the nearest level; ``inf``
        before.
    unmet
        Highest target at which no room was made in the last round for what is too hot; 0 for none.
    aimed_at
        (levels + 1,) the prices of that program; None before.
    tail
        What raised the bound by the models of the tail; None for none.
    fillings, aimed_part
        Fillings of link domains at the next target, and the part of the gap that it is below the
        value, under one pressure.
    filling_program
        The program of whole link domains, which keeps the fillings it knows; None before.
    asked
        Last round in which the configuration program was asked for a bound; -1 before the first.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        began = settings.watch.seconds
        super().__init__(problem, settings)
        self.knobs: ClusterParams = self.params.cluster
        self.chooser = Chooser(self.instance)
        several = problem.goal is Objective.PRESSURE
        self._fluid = PressureBound(self.instance) if several else FluidBound(self.chooser)
        self._low = self._fluid.value
        self._searched = False
        self.classes: LevelBound | None = None
        self.tail: Tail | None = None
        self._priced: Bound | None = None
        self._certified: Bound | None = None
        self._sought = Bound(0.0, "trivial")
        self.starts: list[Assignment] = []
        self.asked, self.aimed, self.unmet = -1, math.inf, 0.0
        self.fillings, self.aimed_part = self.knobs.fillings, self.knobs.most_part
        self.aimed_at: Floats | None = None
        self.filling_program: DomainProgram | None = None
        self.packer = Packer(self.chooser, self.seed, self.watch)
        self.loading = self.watch.seconds - began
        models, options = self.instance.n, len(self.instance.size)
        # Options take time to load, and none afterwards, but under several pressures.
        loading = self.loading * (1.0 if several else 2 * models / max(1, models + options))
        self.certifying = self.params.cluster_certificate * loading
        one, more = self.params.cluster_evaluation, self.params.cluster_pressure_evaluation
        self.watch.keep((more if several else one) * loading + self.certifying)
        self.watch.tell("bound", bound=self._low)

    @property
    def low(self) -> float:  # noqa: D102 - of the base class
        return self._low

    @property
    def closed(self) -> bool:  # noqa: D102 - of the base class
        board = self.board
        if self._searched or (board is None and self._low == math.inf):
            return True
        return board is not None and not any(board.flaws) and super().closed

    @property
    def proof(self) -> Bound:  # noqa: D102 - of the base class
        certified, levels = self._priced, self.classes
        if levels is not None and (certified is None or levels.value > certified.value):
            ended = self._certified is not None or self.watch.limit < math.inf  # it was tried
            found = self._certified if ended else levels.certified(self.problem)
            if certified is None or (found is not None and found.value > certified.value):
                certified = found
        certified = certified or self._fluid.certified(self.problem)
        kept = self.placed and not any(self.best.flaws)
        if self._sought.value > certified.value:
            return self._sought
        if self._searched and not (kept and self._low <= certified.value):
            return Bound(self._low, "search", None, self._breaches())
        return certified

    def _breaches(self) -> tuple[float, ...]:
        """Return what the best placement breaks of soft rules, tier by tier."""
        placement = self.placement
        if placement is None or not tiers_of(self.problem):
            return ()
        return standing_of(self.problem, evaluate(self.problem, placement)).breaches

    @property
    def large(self) -> bool:
        """Whether compiled kernels pay."""
        return self.instance.n * self.instance.g > self.knobs.large

    @property
    def many(self) -> bool:
        """Whether models are too many for searches that look at each of them."""
        columns, knobs = self.instance.columns, self.knobs
        mixed = columns.keeps and bool((columns.memory != columns.memory[0]).any())
        return self.instance.n > (knobs.many_kept if mixed else knobs.many)

    @property
    def tiny(self) -> bool:
        """Whether every way to place the models can be looked at."""
        return self.instance.n * self.instance.g <= self.knobs.tiny

    @property
    def packed(self) -> int:
        """Copies placed at each target by ejection in the first pass."""
        return self.knobs.packed + self.knobs.packed_per_model * self.instance.n

    @property
    def balance_steps(self) -> int:
        """Steps of the balance at most."""
        return self.knobs.steps + 10 * self.instance.g

    def searched(self) -> None:
        """Note that every way to place the cluster was looked at."""
        self._low, self._searched = self.value, True

    def take(self, bound: Bound) -> None:  # noqa: D102 - of the base class
        if bound.method == "search":
            self._sought = bound
        else:
            self._priced = bound
        self._low = max(self._low, bound.value)

    def raise_bound(
        self, board: Assignment | None, part: float | None = None, *, again: bool = False
    ) -> None:
        """Ask the configuration program on size classes for a bound, once, under one pressure.

        Parameters
        ----------
        board
            An assignment whose sets of models it begins with; None for none.
        part
            Part of the time left that it may take, before the certificate is checked; None for
            `ClusterParams.bound_part`.
        again
            Ask another time, with what is known from the last.
        """
        if self.instance.pressures > 1 or (self.classes is not None and not again):
            return
        from kvplace.solver.bounds.level_bound import LevelBound  # noqa: PLC0415 - HiGHS: only here

        self.classes = self.classes or LevelBound(self.chooser)
        with self.watch.part(part or self.knobs.bound_part):
            self.classes.rise(self._low, board, self.watch, self.aimed, self.aimed_at)
        self._low = max(self._low, self.classes.value)
        if self.watch.limit < math.inf and self.classes.value:
            within = Within(self.watch, self.watch.left * CERTIFIED)
            self._certified = self.classes.certified(self.problem, within)

    def raise_again(self, part: float) -> None:
        """Ask size classes once more, for targets up to a value that was not known before.

        Parameters
        ----------
        part
            Part of the time left that it may take.
        """
        certified, low = self._certified, self._low
        self.raise_bound(self.best, part, again=True)
        unproved = self.watch.limit < math.inf and self._certified is None
        if self._low <= low or unproved:
            self._certified, self._low = certified, low

    def raise_by_tail(self, part: float) -> bool:
        """Raise the bound by the tail of the cluster in a part of the time left; whether that did.

        A tail that did not is not asked again.
        """
        from kvplace.solver.strategies.cluster.tail import Tail, tail_of  # noqa: PLC0415 - HiGHS: only here

        known = 0 < self.low < self.value < math.inf
        if not known or self.watch.left < self.knobs.tail_seconds:
            return False
        if self.tail is None:
            found = tail_of(self.problem, self.chooser, self.low, self.knobs.tail_options)
            if found is not None:
                self.tail = Tail(self.problem, found, self.low, compiled=self.compiled)
        if not self.ask_tail(part):
            self.tail = None
        return self.tail is not None

    def ask_tail(self, part: float) -> bool:
        """Ask the tail, if any, for a bound in a part of the time left; whether it is better."""
        low = self.low
        if self.tail is not None:
            bound = self.tail.rise(low, self.value, part, self.knobs, self.watch)
            if bound is not None:
                self.take(bound)
        return self.low > low
