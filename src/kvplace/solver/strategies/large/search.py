"""What a search over large fleets holds: the best assignment, and the bounds that are known."""

import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.certificates.certificate import Bound
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.bounds.certify import certified_rule
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.improve.memory_as_load import MemoryPacker
from kvplace.solver.improve.pair_ways import MOVABLE, WAYS
from kvplace.solver.improve.parallel_pairs import COMPILED, COMPILED_SEVERAL, GAIN, Improver
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.instance.door import load_instance, load_placement, unload_assignment
from kvplace.solver.kernels import Crew, is_compiled
from kvplace.solver.strategies.params import LargeParams
from kvplace.solver.strategies.stages import Search, Settings

if TYPE_CHECKING:
    from kvplace.solver.bounds.level_targets import Prices


class LargeState(Search):
    """One run.

    Parameters
    ----------
    problem, settings
        As of `Search`.
    threads
        How many; None for one per core. The plan does not depend on it.

    Attributes
    ----------
    columns
        The problem as arrays.
    loaded
        Seconds that loading the problem took.
    packing
        The best assignment; None before the start.
    crew
        The threads, while it runs.
    tolerance
        Part by which an exchange must lower a GPU to be made.
    prices
        Prices of size classes that prove a better bound, if any were found.
    """

    def __init__(self, problem: Problem, settings: Settings, threads: int | None = None) -> None:
        super().__init__(problem, settings)
        began = self.watch.seconds
        self.knobs: LargeParams = self.params.large
        self.instance = load_instance(problem)
        self.loaded = loaded = self.watch.seconds - began
        self.columns = self.instance.columns
        self.packing: Packing | None = None
        self.prices: Prices | None = None
        self.given: np.ndarray | None = None
        self._several: PressureBound | None = None
        self.level = fluid_level(self.columns)
        if problem.goal is Objective.PRESSURE:
            pricing = self.params.pressure_priced * self.columns.n
            priced = pricing <= self.knobs.bound_part * self.watch.left
            self._several = PressureBound(self.instance, priced=priced)
            self._bound = Bound(self._several.value, "fluid")
            if math.isfinite(self.low):
                self.level = max(self.level, self.low)
            kept = self.params.pressure_evaluation * loaded
            if not self._several.ruled:
                kept = max(kept, pricing)
        else:
            self._bound = simple_bound(self.instance)
            kept = self.params.evaluation * (self.watch.seconds - began)
        self.threads = threads
        self.tolerance = GAIN
        self._improver: Improver | None = None
        self._counted = 0
        self._value = math.inf
        self.watch.keep(kept)
        self.watch.tell("start", bound=self.low)

    @property
    def value(self) -> float:  # noqa: D102 - as of `Search`, here and below
        return self._value

    @property
    def low(self) -> float:  # noqa: D102 - of the base class
        return self.prices.target if self.prices is not None else self._bound.value

    @property
    def proof(self) -> Bound:  # noqa: D102 - of the base class
        self.watch.tell("check")
        found = None
        if self._bound.certificate is not None:
            return self._bound
        if self._several is not None:
            return self._several.certified(self.problem)
        if self.prices is not None:
            from kvplace.solver.bounds.level_bound import certified_classes  # noqa: PLC0415 - HiGHS: only here

            found = certified_classes(self.problem, self.prices)
        hottest = self.instance.model_index[single_model_bound(self.instance)[1]]
        return found or certified_rule(self.problem, self._bound, hottest, by_rule=True)

    @property
    def placement(self) -> Placement | None:  # noqa: D102 - of the base class
        if self.packing is None or not math.isfinite(self.value):
            return None
        return unload_assignment(self.problem, self.instance, self.packing.gpu_of(self.columns.n))

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.given = np.array(load_placement(self.problem, self.instance, start))

    def solve(self, start: Placement | None, *, textbook: bool = False) -> None:  # noqa: D102 - of the base class
        with closing(Crew(self.threads)) as self.crew:
            super().solve(start, textbook=textbook)
        needed = COMPILED_SEVERAL if self.instance.pressures > 1 else COMPILED
        if self.watch.limit < math.inf and not all(map(is_compiled, needed)):
            from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - rarely

            kernels_ready(needed)  # else every run as short as this one would begin anew

    def take(self, packing: Packing) -> None:
        """Begin with an assignment."""
        self.packing, self._improver = packing, None
        self._value = float(packing.pressure().max())
        self.watch.tell("start", self.value, self.low)

    @property
    def improver(self) -> Improver:
        """Improves the assignment."""
        assert self.packing is not None
        if self._improver is None:
            self._improver, self._counted = Improver(
                self.packing, self.level, self.seed + self.round, self.crew, self.watch,
                limit=self.most(math.inf), gain=self.tolerance,
            ), 0  # fmt: skip
        return self._improver

    def renew(self) -> None:
        """Forget what the improver remembers of GPUs that kicks have changed since."""
        self._improver = None

    def refute(self, bound: Bound | None) -> None:
        """Take what proves that there is no assignment, if anything does."""
        self._bound = bound or self._bound

    @property
    def held(self) -> list[list[int]]:
        """The models on each GPU."""
        assert self.packing is not None
        start, item = self.packing.start.tolist(), self.packing.item.tolist()
        counts = self.packing.models.tolist()
        return [item[first : first + k] for first, k in zip(start, counts, strict=False)]

    def packer(self) -> MemoryPacker:
        """Return what packs the memory alone."""
        return MemoryPacker(self.columns, self.crew, self.watch)

    def improved(self) -> None:
        """Note what the improver reached."""
        assert self.packing is not None
        self.steps += self.improver.exchanges - self._counted
        self._counted = self.improver.exchanges
        self._value = float(self.packing.pressure().max())

    def kicked(self, kicks: int) -> None:
        """Note what so many kicks reached."""
        assert self.packing is not None
        self.steps += kicks
        self._value = float(self.packing.pressure().max())
        self.watch.tell("search", self._value, self.low)

    @property
    def effort(self) -> float:
        """Pairs to look at per GPU, more where a pair has fewer ways to share its models out."""
        knobs = self.knobs
        ways = math.pow(2, min(2 * self.columns.n / self.columns.g - 1, MOVABLE))
        cost = (knobs.fixed + ways) / (knobs.fixed + WAYS)
        pairs = max(knobs.pairs / self.columns.g, knobs.least_pairs)
        return min(pairs, knobs.most_pairs) / cost

    @property
    def limitless(self) -> bool:
        """Whether neither time nor steps are limited, so that effort is counted."""
        return self.limit is None and self.watch.left == math.inf

    @property
    def sparse(self) -> bool:
        """Whether so few models share a GPU that exchanges cannot fill it."""
        return self.columns.n <= self.knobs.few * self.columns.g
