"""The strategy for thousands of undivided models and more, by compiled kernels.

The same plan on any machine and any number of threads, as long as no time limit cuts it short.
"""

import itertools
import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from kvplace.core.certificates.certificate import Bound
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Stop
from kvplace.solver.assignment.packed import Packing, pack_rows
from kvplace.solver.bounds.certify import certified_rule
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.construct.kernels import bisect_first_fit, most_room_first
from kvplace.solver.improve.memory_as_load import MemoryPacker
from kvplace.solver.improve.parallel_pairs import COMPILED, COMPILED_SEVERAL, GAIN, WIDE, Improver
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.instance.door import load_instance, load_placement, unload_assignment
from kvplace.solver.kernels import Crew, is_compiled
from kvplace.solver.strategies.large_bounds import price_classes, price_sets, uneven, wasteful
from kvplace.solver.strategies.params import LargeParams
from kvplace.solver.strategies.stages import Search, Settings, Stage, Strategy, run_strategy

if TYPE_CHECKING:
    from kvplace.solver.bounds.level_targets import Prices

__all__ = ["LargeSearch"]


class LargeSearch(Search):
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
        self._threads = threads
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

    @property
    def strategy(self) -> "Strategy[LargeSearch]":  # noqa: D102 - of the base class
        return STRATEGY

    @property
    def textbook(self) -> "Strategy[LargeSearch]":  # noqa: D102 - of the base class
        raise NotImplementedError  # the reference is plain Python at every size

    def take_start(self, start: Placement) -> None:  # noqa: D102 - of the base class
        self.given = np.array(load_placement(self.problem, self.instance, start))

    def solve(self, start: Placement | None) -> None:  # noqa: D102 - of the base class
        with closing(Crew(self._threads)) as self._crew:
            super().solve(start)
        needed = COMPILED_SEVERAL if self.instance.pressures > 1 else COMPILED
        if self.watch.limit < math.inf and not all(map(is_compiled, needed)):
            from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - rarely

            kernels_ready(needed)  # else every run as short as this one would begin anew

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:  # noqa: D102 - of the base class
        given = np.array(load_placement(self.problem, self.instance, start))
        spare = np.ceil(margin * self.columns.memory.astype(np.float64)).astype(np.int64)
        self.take(pack_rows(self.columns, given, spare=spare))
        self._tolerance = tolerance
        with closing(Crew(self._threads)) as self._crew:
            run_strategy(self, REFINE)
        self.limited = self.left <= 0

    _tolerance = GAIN

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
                self.packing, self.level, self.seed + self.round, self._crew, self.watch,
                limit=self.most(math.inf), gain=self._tolerance,
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
        return MemoryPacker(self.columns, self._crew, self.watch)

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
        """Pairs to look at per GPU, more where a pair has fewer subsets to look at."""
        knobs, k = self.knobs, self.columns.n / self.columns.g
        subsets = min(1 + k + k * (k - 1) / 2 + k * (k - 1) * (k - 2) / 6, WIDE)
        cost = (knobs.fixed + subsets) / (knobs.fixed + WIDE)
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


def _start(search: LargeSearch) -> None:
    """Take the best start: most room first, and first fit where that fails or few share.

    Where few share, first fit comes first: it is near the bound sooner.
    """
    if search.low == math.inf:
        return
    columns, watch, starts = search.columns, search.watch, list[Packing]()
    level = max(search.level, search.low)  # where one model decides, sizes at its pressure
    sparse = search.sparse and search.instance.pressures == 1

    def ended() -> bool:
        # A signal ends this while a kernel is compiled; the clock only where there is a plan.
        return watch.stop is not None if starts else watch.stop is Stop.INTERRUPTED

    for turn, first_fit in enumerate((True, False) if sparse else (False, True)):
        # A second start is not waited for any longer than the time limit.
        if turn and (ended() or (starts and not sparse)):
            break
        if first_fit:
            found = bisect_first_fit(columns, search.low, watch, ended)
            starts += [] if found is None else [found]
        else:
            starts = [*most_room_first(columns, level, ended), *starts]
    if search.given is not None:
        starts.append(pack_rows(columns, search.given))
    if starts:
        search.take(min(starts, key=lambda start: float(start.pressure().max())))


def _pack(search: LargeSearch) -> None:
    """No rule packs the memory: do it by exchanges, or prove that there is no way."""
    from kvplace.solver.bounds.level_bound import refuted  # noqa: PLC0415 - HiGHS: only here

    if search.low == math.inf:
        return
    knobs, watch, packer = search.knobs, search.watch, search.packer()
    for turn in itertools.count():
        most = math.inf if turn else knobs.packed * search.effort
        gpu_of = packer.run(most, knobs.kicked_patience * search.effort, search.seed + turn)
        if gpu_of is not None:
            search.take(pack_rows(search.columns, gpu_of))
            return
        if not turn:
            search.refute(refuted(search.problem, search.columns, watch))
        if search.low == math.inf or watch.stop or (search.limitless and turn >= knobs.packings):
            return


def _pair(search: LargeSearch) -> None:
    """Pair every GPU with its opposite while that pays."""
    search.improver.balance()
    search.improved()


def _relieve(search: LargeSearch) -> None:
    """Lower the hottest GPUs."""
    knobs, usual = search.knobs, search.effort
    # Under several pressures kicks take longer, and exchanges go on helping.
    soon = _kicked(search) and search.instance.pressures == 1
    patience = knobs.kicked_patience if soon else knobs.timed_patience
    patience = knobs.patience if search.limitless else patience
    effort = usual if search.limitless else math.inf
    search.improver.relieve(search.low * (1 + search.settings.gap), effort, patience * usual)
    search.improved()


def _kick(search: LargeSearch) -> None:
    """Go on with kicks, twice as long each time, where exchanges no longer help."""
    from kvplace.solver.improve.iterated_pairs import COMPILED as KICKS  # noqa: PLC0415 - rarely
    from kvplace.solver.improve.iterated_pairs import iterate_pairs  # noqa: PLC0415 - same
    from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - same

    assert search.packing is not None
    if not kernels_ready(KICKS):
        return
    goal, seed = search.low * (1 + search.gap), search.seed + search.round
    several = search.instance.pressures > 1
    kicks = search.knobs.few_kicks if several else search.knobs.kicks << search.round
    made = iterate_pairs(search.packing, goal, kicks, seed, GAIN, search.watch, search.left)
    search.kicked(made)


def _relieve_again(search: LargeSearch) -> None:
    """Lower all GPUs that kicks left near the hottest, which gives that one partners again."""
    search.renew()
    goal, patience = search.low * (1 + search.settings.gap), search.knobs.kicked_patience
    search.improver.relieve(goal, math.inf, patience * search.effort)
    search.improved()


def _rest(search: LargeSearch) -> None:
    """Lower the GPUs that a proved maximum leaves open."""
    search.improver.relieve(0.0, search.knobs.rest_part * search.effort, math.inf)
    search.improved()


def _kicked(search: LargeSearch) -> bool:
    """Whether time is left for kicks, of which each looks at all GPUs."""
    few = search.columns.g <= search.knobs.kicked_gpus
    return _placed(search) and few and search.watch.limit < math.inf


def _alternating(search: LargeSearch) -> bool:
    """Whether kicks and exchanges take turns: under several pressures either ends soon alone."""
    return _kicked(search) and search.instance.pressures > 1


def _placed(search: LargeSearch) -> bool:
    return math.isfinite(search.value)


def _proved(search: LargeSearch) -> bool:
    met = search.value <= search.low * (1 + OPTIMAL_GAP)
    return _placed(search) and met and search.settings.gap < OPTIMAL_GAP


STRATEGY: Strategy[LargeSearch] = Strategy(
    once=(
        Stage("start", _start, closed=True),
        Stage("exact-packing", _pack, lambda s: not _placed(s)),
        Stage("pair-exchanges", _pair, _placed, closed=True, steps=True),
        Stage("configuration-bound", price_classes, wasteful, closed=True),
        Stage("parallel-exchanges", _relieve, _placed, closed=True, steps=True),
        Stage("configuration-bound", price_sets, uneven),
    ),
    rounds=(
        Stage("iterated-local-search", _kick, _kicked, steps=True),
        Stage("parallel-exchanges", _relieve_again, _alternating, steps=True),
    ),
    last=(Stage("balance", _rest, _proved, closed=True, steps=True),),
    repeats=lambda search: search.knobs.turns if _alternating(search) else search.knobs.rounds,
)

REFINE: Strategy[LargeSearch] = Strategy(
    once=(
        Stage("pair-exchanges", _pair, lambda s: s.limit is None, closed=True, steps=True),
        Stage("parallel-exchanges", _relieve, closed=True, steps=True),
    ),
    last=(Stage("balance", _rest, closed=True, steps=True),),
)
