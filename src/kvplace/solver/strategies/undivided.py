"""The strategy for one undivided replica of each model, free to go anywhere.

numpy and HiGHS are imported only once the simple bounds have failed to prove the start optimal.
"""

import math
import random
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, relative_gap
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.certify import Priced, bound_of, certificate_of, certified_rule, searched
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.moves_and_swaps import MoveAndSwap
from kvplace.solver.instance.door import load_instance, load_placement, unload_placement
from kvplace.solver.strategies.params import UndividedParams
from kvplace.solver.strategies.stages import Search, Settings, Stage, Strategy, run_strategy

if TYPE_CHECKING:
    from kvplace.solver.column_generation.model_sets import Configuration, Verdict
    from kvplace.solver.exact.close_gap import Proof

__all__ = ["UndividedSearch"]


class UndividedSearch(Search):
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
        self.chance = random.Random(self.seed)  # noqa: S311 - a search, not a secret
        self._program: Configuration | None = None
        self._proof: Proof | None = None
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

    def solve(self, start: Placement | None) -> None:
        """Do everything that can pay."""
        self._take_start(start)
        run_strategy(self, STRATEGY)
        self.limited = self.left <= 0 and not self.closed

    def reference(self, start: Placement | None) -> None:
        """Do what the ADRS reference does: bisect, pack best fit, move and swap, balance."""
        self._take_start(start)
        run_strategy(self, REFERENCE)
        self.limited = self.left <= 0

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:
        """Improve a valid placement by moves and swaps."""
        self.state = Assignment.single(
            self.instance, load_placement(self.problem, self.instance, start)
        )
        self.watch.tell("refine", self.value, self.low)
        self.lower(tolerance, margin)
        self.limited = self.left <= 0
        if not self.limited:
            self.balance(math.inf, tolerance, margin)

    def _take_start(self, start: Placement | None) -> None:
        if start is not None:
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
    def program(self) -> "Configuration":
        """The configuration program, with the best assignment among its columns."""
        from kvplace.solver.column_generation.model_sets import Configuration  # noqa: PLC0415 - numpy and HiGHS: only here

        self._program = self._program or Configuration(self.instance)
        if self.state is not None:
            self._program.add(self.state.gpu_of)
        return self._program

    @property
    def deciding(self) -> "Proof":
        """What exact decisions proved, at least the bound known."""
        from kvplace.solver.exact.close_gap import Proof  # noqa: PLC0415 - numpy and HiGHS: only here

        self._proof = self._proof or Proof(self.low)
        self._proof.value = max(self._proof.value, self.low)
        return self._proof

    def adopt(self) -> None:
        """Take what is proved: a search as it is, a certificate only if it checks."""
        proof, program = self.deciding, self.program

        def priced(verdict: "Verdict") -> Priced:
            worths = zip(map(int, program.memory), verdict.worths.tolist(), strict=True)
            # Upwards by more than prices are accurate to.
            safe = {memory: worth * (1 + 1e-12) for memory, worth in worths}
            return Priced(verdict.target, verdict.prices.tolist(), safe)

        if proof.searched is not None and proof.value > self.low:
            prices = certificate_of(self.problem, self.instance, priced(proof.searched))
            self.bound = searched(self.problem, prices)
            proof.searched = None
        for verdict in proof.verdicts[: -self.knobs.certificates - 1 : -1]:
            if verdict.target <= self.low:
                break
            bound = bound_of(self.problem, self.instance, "configuration", priced(verdict))
            if bound is not None:
                self.bound = bound
                break
        proof.value, proof.verdicts = self.low, []
        self.watch.tell("bound", self.value, self.low)


def _start(search: UndividedSearch) -> None:
    """Take the best of several constructions and the placement given, refined."""
    instance, knobs = search.instance, search.knobs
    if search.low == math.inf:
        return
    small = instance.n <= knobs.plain_models
    tolerances = [knobs.coarse_tolerance if small else knobs.rough_tolerance]
    if small and instance.n > knobs.tiny_models:
        tolerances.append(knobs.fine_tolerance)
    found = (bisect_target(instance, search.low, tolerance=width) for width in tolerances)
    for gpu_of in (search.given, *found):
        if gpu_of is None:
            continue
        state = Assignment.single(instance, gpu_of)
        if small:
            most = min(knobs.start_steps, search.left)
            search.steps += settle(state, search.watch, most, [MoveAndSwap(state)])
        search.offer(state)
    search.watch.tell("start", search.value, search.low)


def _start_as_reference(search: UndividedSearch) -> None:
    """Take the better of best fit at a bisected target and the placement given."""
    found = bisect_target(search.instance, search.low) if search.low < math.inf else None
    for gpu_of in (found, search.given):
        if gpu_of is not None:
            search.offer(Assignment.single(search.instance, gpu_of))
    if search.state is not None:
        search.lower()


def _pack(search: UndividedSearch) -> None:
    """No rule packs the weights: find a way, or prove that there is none."""
    from kvplace.solver.exact.close_gap import Effort, pack_exactly  # noqa: PLC0415 - numpy and HiGHS: only here
    from kvplace.solver.exact.set_cover import SetCover  # noqa: PLC0415 - same

    effort = Effort(nodes=search.knobs.packing_nodes)
    state = pack_exactly(SetCover(search.program), search.deciding, effort, search.watch)
    search.adopt()
    if state is not None:
        search.offer(state)
    elif search.instance.n <= search.knobs.tiny_models and search.low < math.inf:
        _enumerate(search)
    if search.state is not None:
        search.lower()


def _ask_program(search: UndividedSearch) -> None:
    """Ask the configuration program whether nothing is better than the start."""
    from kvplace.solver.exact.close_gap import nothing_below  # noqa: PLC0415 - numpy and HiGHS: only here

    rounds = search.knobs.quick_rounds
    nothing_below(search.program, search.deciding, search.value, search.watch, rounds)
    search.adopt()


def _ask_classes(search: UndividedSearch) -> None:
    """Ask the program over size classes, which does not grow with the models, for a bound."""
    import numpy as np  # noqa: PLC0415 - large fleets only

    from kvplace.solver.assignment.packed import pack_rows  # noqa: PLC0415 - same
    from kvplace.solver.bounds.size_classes import certified_classes, packing_bound  # noqa: PLC0415 - HiGHS: only here

    assert search.state is not None
    columns = search.instance.columns
    packing = pack_rows(columns, np.array(search.state.gpu_of, dtype=np.int64))
    prices = packing_bound(columns, packing, search.low, search.watch)
    bound = None if prices is None else certified_classes(search.problem, prices)
    if bound is not None and bound.value > search.low:
        search.bound = bound
        search.watch.tell("bound", search.value, search.low)


def _decide(search: UndividedSearch) -> None:
    """Raise the bound, then decide targets between it and the value."""
    from kvplace.solver.exact.close_gap import Effort, close_gap, program_bound  # noqa: PLC0415 - numpy and HiGHS: only here
    from kvplace.solver.exact.set_cover import SetCover  # noqa: PLC0415 - same

    knobs, state = search.knobs, search.state
    assert state is not None
    program, proof = search.program, search.deciding
    effort = Effort(
        nodes=knobs.nodes << min(search.round, 6),
        rounds=knobs.program_rounds << min(search.round + 2 * search.long, 6),
    )
    program_bound(program, proof, state.worst(), effort, search.watch)
    # With several models per GPU, a search over many GPUs gives up until late rounds.
    pairs = search.density <= knobs.best_fit_density
    if pairs or search.instance.g <= knobs.searched_gpus << (0 if search.long else search.round):
        search.offer(close_gap(SetCover(program), state, proof, search.gap, effort, search.watch))
    search.adopt()


def _enumerate(search: UndividedSearch) -> None:
    """Try all placements of a tiny fleet, where they are few enough."""
    from kvplace.solver.exact.enumerate import Enumeration  # noqa: PLC0415 - numpy: only here

    enumeration = Enumeration(search.instance, nodes=search.knobs.enumerated)
    enumeration.run((0.0,), (search.value * (1 - OPTIMAL_GAP / 2),), search.watch)
    if enumeration.best is not None:
        gpu_of = [copies[0][0] for copies in enumeration.best]
        search.offer(Assignment.single(search.instance, gpu_of))
    if enumeration.complete:
        search.bound = Bound(search.value * (1 - OPTIMAL_GAP / 2), "search")
        search.watch.tell("search", search.value, search.low)


def _price(search: UndividedSearch, stage: str) -> None:
    """Raise the bound by the price functions of a stage."""
    from kvplace.solver.bounds.price_functions import price_functions, raise_bound  # noqa: PLC0415 - numpy: only here

    for function in price_functions():
        if function.stage == stage:
            bound = raise_bound(
                function, search.problem, search.instance, search.low, search.value, search.watch
            )
            if bound is not None:
                search.bound = bound
                search.watch.tell("bound", search.value, search.low)


def _iterate(search: UndividedSearch) -> None:
    """Local search with kicks from the best state."""
    from kvplace.solver.large_neighbourhood.iterated import iterate  # noqa: PLC0415 - numpy: only here

    assert search.state is not None
    knobs = search.knobs
    kicks = min(knobs.kicks, knobs.kicks_per_model * search.instance.n) << search.round
    target = search.low * (1 + search.gap)
    state, steps = iterate(
        search.state, target, kicks, search.seed + search.round, search.watch, search.left
    )
    search.steps += steps
    search.offer(state)


def _cover(search: UndividedSearch) -> None:
    """Refill groups of GPUs exactly at lower targets, by kernels where there is time for them."""
    compiled = search.long and search.instance.n <= search.knobs.program_models
    (_cover_compiled if compiled else _cover_plain)(search)


def _cover_plain(search: UndividedSearch) -> None:
    """Refill groups of GPUs at lower and lower targets while that works."""
    from kvplace.solver.large_neighbourhood.group_cover import regroup  # noqa: PLC0415 - numpy: only here

    assert search.state is not None
    knobs, round_ = search.knobs, search.round
    chance = random.Random(search.seed + round_)  # noqa: S311 - a search, not a secret
    group, nodes = knobs.group + 4 * min(round_, 2), knobs.group_nodes << min(round_, 4)
    state, part, failures = search.state, knobs.first_part, 0
    for _ in range(knobs.group_targets << round_):
        if part < knobs.least_part or search.watch.stop or search.left <= 0:
            break
        target = search.low + (search.value - search.low) * (1 - part)
        hot = _above(state, target)
        state, refilled = regroup(state, target, group, nodes, chance, search.watch, search.left)
        search.steps += refilled
        failures = failures + 1 if _above(state, target) >= hot else 0
        if state.worst() < search.value:
            search.state = state
            search.watch.tell("regroup", search.value)
            if search.closed:
                return
        if failures >= knobs.deals:
            part, failures = part / 2, 0


def _above(state: Assignment, target: float) -> int:
    """Count the GPUs above a target."""
    return sum(kvpr > target for kvpr in state.pressure)


def _cover_compiled(search: UndividedSearch) -> None:
    """Do the same with compiled kernels."""
    search.watch.tell("loading kernels (compiled once, which takes seconds)")
    from kvplace.solver.large_neighbourhood.group_cover import squeeze  # noqa: PLC0415 - numba: only here

    assert search.state is not None
    # Where targets are possible, prices may be anything; at the bound they say what is short.
    ends = (search.value * (1 - OPTIMAL_GAP), search.low)
    verdicts = [search.program.decide(target, search.watch) for target in ends]
    chance = random.Random(search.seed + search.round)  # noqa: S311 - a search, not a secret
    tries = search.knobs.squeezes << min(search.round, 6)
    search.state, refilled = squeeze(
        search.state, search.low, verdicts, tries, chance, search.watch, search.left
    )
    search.steps += refilled


def _balance(search: UndividedSearch) -> None:
    """Leximax: balance what the maximum leaves open."""
    state, knobs = search.state, search.knobs
    assert state is not None
    search.watch.tell("balance", state.worst())
    most = knobs.balance_per_gpu * search.instance.g + knobs.balance_steps
    if search.instance.n <= knobs.plain_models:
        search.balance(most, knobs.balance_gain)
        return
    from kvplace.solver.improve.neighbourhoods.subset_exchange import SubsetExchange  # noqa: PLC0415 - numpy: only here
    from kvplace.solver.improve.subsets import Subsets  # noqa: PLC0415 - same

    kinds = [SubsetExchange(Subsets(state, width=1), search.instance.g)]
    search.steps += level(state, search.watch, most, kinds, knobs.balance_gain)


def _rank(search: UndividedSearch) -> None:
    """Leximax, exactly: prove the balance of the other GPUs, or find a better one."""
    from kvplace.solver.exact.leximax import rank  # noqa: PLC0415 - small fleets only

    assert search.state is not None
    found = rank(search.state, search.knobs.ranked, search.watch)
    if found.gpu_of is not None:
        search.state = Assignment.single(search.instance, found.gpu_of)
    search.ranks = found.ranks


def _placed(search: UndividedSearch) -> bool:
    return search.state is not None


def _small(search: UndividedSearch) -> bool:
    return search.instance.n <= search.knobs.program_models


def _tiny(search: UndividedSearch) -> bool:
    return _placed(search) and search.instance.n <= search.knobs.tiny_models


def _optimal(search: UndividedSearch) -> bool:
    """Whether the worst GPU of a tiny fleet is proved optimal, so that the others count."""
    return _tiny(search) and relative_gap(search.value, search.low) <= OPTIMAL_GAP


def _quick(search: UndividedSearch) -> bool:
    knobs = search.knobs
    few = search.instance.n <= min(knobs.quick_models, knobs.quick_density * search.instance.g)
    return _placed(search) and few


def _checked(search: UndividedSearch) -> bool:
    return _placed(search) and search.instance.n <= search.knobs.checked_models


def _covered(search: UndividedSearch) -> bool:
    knobs = search.knobs
    sparse = knobs.best_fit_density < search.density <= knobs.covered_density
    return _placed(search) and sparse and search.instance.g > knobs.group * 3 // 2


def _wasteful(search: UndividedSearch) -> bool:
    """Whether few of many models share a GPU, so that memory lies waste; asked once."""
    sparse = search.density <= search.knobs.classes_density
    return _placed(search) and sparse and not _small(search) and search.round == 0


def _rounds(search: UndividedSearch) -> int:
    knobs = search.knobs
    if search.watch.left == math.inf and search.limit is None:
        return knobs.default_rounds
    return knobs.timed_rounds if search.instance.n > knobs.tiny_models else knobs.tiny_rounds


STRATEGY: Strategy[UndividedSearch] = Strategy(
    once=(
        Stage("start", _start, closed=True),
        Stage("exact-packing", _pack, lambda s: not _placed(s) and _small(s)),
        Stage("configuration-bound", _ask_program, _quick),
        Stage("exact-decisions", _decide, _tiny),
        Stage("enumeration", _enumerate, _tiny),
        Stage("lifted-bound", lambda s: _price(s, "lifted-bound"), _checked),
        Stage("stepped-bound", lambda s: _price(s, "stepped-bound"), _checked),
        Stage(
            "dual-feasible-bound",
            lambda s: _price(s, "dual-feasible-bound"),
            lambda s: _checked(s) and not _small(s),
        ),
    ),
    rounds=(
        Stage("iterated-local-search", _iterate, _placed, steps=True),
        Stage("exact-decisions", _decide, lambda s: _placed(s) and _small(s)),
        Stage("group-cover", _cover, _covered, steps=True),
        Stage("configuration-bound", _ask_classes, _wasteful),
    ),
    last=(
        Stage("balance", _balance, _placed, closed=True),
        Stage("leximax", _rank, lambda s: _optimal(s) and not s.watch.stop, closed=True),
    ),
    repeats=_rounds,
    idle=lambda s: s.knobs.idle_rounds,
)

REFERENCE: Strategy[UndividedSearch] = Strategy(
    once=(Stage("start", _start_as_reference, closed=True),),
    last=(
        Stage(
            "balance",
            lambda s: s.balance(math.inf),
            lambda s: _placed(s) and s.left > 0,
            closed=True,
        ),
    ),
)
