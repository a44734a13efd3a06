"""The strategy for tensor parallel, copies, rules and several pressures, at every size."""

import math
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.standing import standing_of, tiers_of
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.bounds.pressures import PressureBound
from kvplace.solver.construct.target_search import construct, some_assignment
from kvplace.solver.exact.enumerate import Enumeration
from kvplace.solver.improve.descent import level, settle
from kvplace.solver.improve.drop_copies import drop_copies
from kvplace.solver.improve.neighbourhoods.kinds import nearby, wide
from kvplace.solver.instance.door import load_copies, load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.large_neighbourhood.ejection import Packer
from kvplace.solver.large_neighbourhood.ruin_and_recreate import rebuild
from kvplace.solver.strategies.params import ClusterParams
from kvplace.solver.strategies.stages import (
    Search,
    Settings,
    Stage,
    Strategy,
    run_stages,
    run_strategy,
)

if TYPE_CHECKING:
    from kvplace.solver.bounds.pressure_classes import PressureClasses
    from kvplace.solver.bounds.size_classes import LevelBound
    from kvplace.solver.column_generation.option_sets import OptionSets
    from kvplace.solver.exact.close_gap import Proof

__all__ = ["ClusterSearch"]


class ClusterSearch(Search):
    """One run.

    Attributes
    ----------
    instance
        The problem as numbers.
    chooser
        The options of its models.
    board
        The best assignment, which need not be valid; None before the start.
    starts
        Assignments to begin with.
    """

    repaired_before = False

    def __init__(self, problem: Problem, settings: Settings) -> None:
        super().__init__(problem, settings)
        began = self.watch.seconds
        self.knobs: ClusterParams = self.params.cluster
        self.instance = load_instance(problem)
        self.chooser = Chooser(self.instance)
        several = problem.goal is Objective.PRESSURE
        self._fluid = PressureBound(problem) if several else FluidBound(self.chooser)
        self._low = self._fluid.value
        self._searched = False
        self.classes: LevelBound | PressureClasses | None = None
        self._priced: Bound | None = None
        self._sought = Bound(0.0, "trivial")
        self._program: OptionSets | None = None
        self._proof: Proof | None = None
        self.board: Assignment | None = None
        self.starts: list[Assignment] = []
        self.packer = Packer(self.chooser, self.seed, self.watch)
        self.watch.keep(self.params.cluster_evaluation * (self.watch.seconds - began))
        self.watch.tell("bound", bound=self._low)

    @property
    def value(self) -> float:  # noqa: D102 - as of `Search`, here and below
        return self.board.worst() if self.board is not None and self.board.valid else math.inf

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
        certified = self._priced
        if certified is None and self.classes is not None:
            certified = self.classes.certified(self.problem)
        certified = certified or self._fluid.certified(self.problem)
        kept = self.board is not None and self.board.valid and not any(self.board.flaws)
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
    def placement(self) -> Placement | None:  # noqa: D102 - of the base class
        if self.board is None or not self.board.valid:
            return None
        return unload_copies(self.problem, self.instance, self.board.where)

    @property
    def large(self) -> bool:
        """Whether compiled kernels pay."""
        return self.instance.n * self.instance.g > self.knobs.large

    @property
    def best(self) -> Assignment:
        """The best assignment."""
        assert self.board is not None
        return self.board

    def solve(self, start: Placement | None) -> None:  # noqa: D102 - of the base class
        if start is not None:
            self.starts.append(self.board_of(start))
        run_strategy(self, STRATEGY)
        self.limited = self.left <= 0 and not self.closed

    def reference(self, start: Placement | None) -> None:  # noqa: D102 - of the base class
        if start is not None:
            self.starts.append(self.board_of(start))
        run_stages(self, REFERENCE)
        self.limited = self.left <= 0

    def refine(self, start: Placement, tolerance: float, margin: float) -> None:  # noqa: D102 - of the base class
        if self._low == math.inf:
            return
        self.board = board = self.board_of(start)
        if not board.valid:
            self._repair()
        if not self.best.valid:
            return
        board = self.best
        board.spare(margin)
        if self.large:
            exchange_many(self, board, tolerance)
        kinds = nearby(board)
        self.steps += settle(board, self.watch, min(self.knobs.steps, self.left), kinds, tolerance)
        self.limited = self.left <= 0
        if not self.limited:
            gain = max(tolerance, self.knobs.balance_gain)
            self.steps += level(board, self.watch, self.balance_steps, kinds, gain)

    def _repair(self) -> None:
        """Rebuild what is broken, and failing that place everything anew; no step counts."""
        board, limit, self.limit = self.best, self.limit, None
        for turn in range(self.knobs.repairs):
            rounds = self.knobs.rounds << 2 * turn
            rebuild(board, math.inf, rounds, self.seed + turn, self.watch)
            if board.valid or self.watch.stop:
                break
            if turn == 0 and self._tiny:
                _enumerate(self)
                if self._searched:
                    break
        else:
            self.board = None
            run_stages(self, STRATEGY.once[:4])
        self.steps, self.limit = 0, limit

    @property
    def _tiny(self) -> bool:
        return self.instance.n * self.instance.g <= self.knobs.tiny

    @property
    def balance_steps(self) -> int:
        """Steps of the balance at most."""
        return self.knobs.steps + 10 * self.instance.g

    def board_of(self, given: Placement) -> Assignment:
        """Return the board of a placement; a model that is where it may not be is taken off."""
        board = Assignment(self.instance, load_copies(self.problem, self.instance, given))
        board.apply(
            (j, None, ())
            for j, copies in enumerate(board.where)
            if not all(self.instance.columns.allowed[j][g] for copy in copies for g in copy)
        )
        return board

    def searched(self) -> None:
        """Note that every way to place the cluster was looked at."""
        self._low, self._searched = self.value, True

    @property
    def program(self) -> "OptionSets":
        """The configuration program with options, with the best assignment among its columns."""
        from kvplace.solver.column_generation.option_sets import OptionSets  # noqa: PLC0415 - HiGHS: only here

        self._program = self._program or OptionSets(self.instance)
        if self.board is not None:
            option = self.board.option
            held = ([option[j] for j in members] for members in self.board.members)
            self._program.add([[o.row for o in options if o is not None] for options in held])
        return self._program

    @property
    def deciding(self) -> "Proof":
        """What exact decisions proved, at least the bound known."""
        from kvplace.solver.exact.close_gap import Proof  # noqa: PLC0415 - HiGHS: only here

        self._proof = self._proof or Proof(self.low)
        self._proof.value = max(self._proof.value, self.low)
        return self._proof

    def adopt(self) -> None:
        """Take what is proved: a search as it is, a certificate only if it checks."""
        from kvplace.solver.bounds.option_prices import certified_options, searched_options  # noqa: PLC0415 - HiGHS: only here

        proof = self.deciding
        if proof.searched is not None:
            self._sought = searched_options(self.problem, self.program, proof.searched)
            self._low = max(self._low, self._sought.value)
        for verdict in proof.verdicts[: -self.knobs.certificates - 1 : -1]:
            if self._priced is not None and verdict.target <= self._priced.value:
                break
            bound = certified_options(self.problem, self.program, verdict)
            if bound is not None:
                self._priced, self._low = bound, max(self._low, bound.value)
                break
        proof.value, proof.searched, proof.verdicts = self.low, None, []
        self.watch.tell("bound", self.value, self.low)

    def raise_bound(self, board: Assignment | None) -> None:
        """Ask the configuration program on size classes for a bound, once."""
        if self.classes is not None:
            return
        if isinstance(self._fluid, PressureBound):
            if board is not None:
                from kvplace.solver.bounds.pressure_classes import PressureClasses  # noqa: PLC0415 - HiGHS: only here

                self.classes = PressureClasses(self._fluid)
                self.classes.rise(self._low, board.worst(), self.watch)
                self._low = max(self._low, self.classes.value)
            return
        from kvplace.solver.bounds.size_classes import LevelBound  # noqa: PLC0415 - HiGHS: only here

        self.classes = LevelBound(self.chooser)
        self.classes.rise(self._low, board, self.watch)
        self._low = max(self._low, self.classes.value)


def _configure(search: ClusterSearch) -> None:
    """Build a start from configurations, ended so early that time is left for another one."""
    watch = search.watch
    if watch.left < math.inf:
        if not search.starts and search.instance.n <= search.knobs.many:  # else it takes longer
            search.board = some_assignment(search.chooser, search.low, watch)
            watch.tell("start", search.value, search.low)
        kept = watch.keep(0.0)
        watch.keep(kept + (1 - search.knobs.configured_part) * (watch.left - kept))
        _configure_at_leisure(search)
        watch.keep(kept)
    else:
        _configure_at_leisure(search)


def _configure_at_leisure(search: ClusterSearch) -> None:
    from kvplace.solver.construct.from_configurations import Configurer  # noqa: PLC0415 - HiGHS: only here

    knobs, few = search.knobs, search.instance.n <= search.knobs.many
    if few:
        search.raise_bound(None)
    search.watch.tell("configure", bound=search.low)
    configurer = Configurer(search.chooser, search.seed)
    board = configurer.build(search.low, search.watch)
    if board is not None and board.missing:
        rebuild(board, math.inf, knobs.rounds, search.seed, search.watch)
    if not few and configurer.target > search.low * (1 + knobs.loose):
        search.raise_bound(None)
    if board is not None and board.valid:
        search.starts.append(board)


def _start(search: ClusterSearch) -> None:
    """Take the best of several constructions, where there is no start yet."""
    if search.low == math.inf:
        return
    if _annealed(search, placed=True) and search.watch.limit < math.inf:
        from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - numba

        kernels_ready()  # else they are compiled beside what comes first
    soon = [] if search.board is None else [search.board]
    anew = not search.starts and not (soon and search.watch.stop)
    for board in construct(search.chooser, search.low, search.watch) if anew else ():
        search.starts.append(board)
        search.board = board
        if search.closed:
            break
    search.starts += soon
    search.starts.sort(key=Assignment.worth)
    search.board = search.starts[0]


def _start_as_reference(search: ClusterSearch) -> None:
    """Take the best of several constructions and the placement given."""
    if search.low < math.inf:
        search.starts += construct(search.chooser, search.low, search.watch)
        search.board = min(search.starts, key=Assignment.worth)


def _descend(search: ClusterSearch) -> None:
    """Descend from the best starts, by kernels and single steps in turn where GPUs are many."""
    boards = search.starts[: 1 if search.large else search.knobs.starts]
    for board in boards:
        if search.large:
            exchange_many(search, board)
        else:
            most = min(search.knobs.steps, search.left)
            search.steps += settle(board, search.watch, most, wide(board))
    search.board = min(boards, key=Assignment.worth)
    search.starts = []
    best = search.best
    search.watch.tell("start", best.worst() if best.valid else None, search.low)


def exchange_many(search: ClusterSearch, board: Assignment, gain: float | None = None) -> None:
    """Improve the movable shards by compiled kernels, and what is not by itself, in turn."""
    from kvplace.solver.improve.movable_shards import Regions, improve_mobile  # noqa: PLC0415 - numba

    knobs, instance, watch = search.knobs, search.instance, search.watch
    gain = knobs.gain if gain is None else gain
    regions = Regions(instance)
    effort = min(max(knobs.pairs / instance.g, knobs.least_pairs), knobs.most_pairs)
    every = instance.g <= knobs.wide_gpus
    kinds = wide(board) if every else nearby(board)
    aim, turns = max(search.low, 1e-300), 1 if every else knobs.at_once
    for turn in range(knobs.turns):
        before = board.worst()
        if every or turn:
            most = min(knobs.steps if every else knobs.few_steps, search.left)
            search.steps += settle(board, watch, most, kinds, gain)
        watch.tell("improve", board.worst(), search.low)
        search.steps += improve_mobile(
            board, regions, aim, effort, search.seed + turn, watch, turns,
            limit=search.most(math.inf), gain=gain,
        )  # fmt: skip
        watch.tell("improve", board.worst(), search.low)
        near = not any(board.flaws) and board.worst() <= search.low * (1 + search.gap)
        if watch.stop or search.left <= 0 or near or board.worst() >= before * (1 - 1e-6):
            break


def _enumerate(search: ClusterSearch) -> None:
    """Look at every way to place a tiny cluster."""
    board, enumeration = search.best, Enumeration(search.instance)
    worst = (0.0, *[math.inf] * len(board.costs.vector))
    enumeration.run(board.flaws if board.valid else worst, (search.value,), search.watch)
    if enumeration.best is not None:
        board.reset(enumeration.best)
    if enumeration.complete:
        search.searched()


def _ask_program(search: ClusterSearch) -> None:
    """Ask the configuration program whether nothing is better than the start."""
    from kvplace.solver.exact.close_gap import nothing_below  # noqa: PLC0415 - HiGHS: only here

    rounds = search.knobs.quick_rounds
    nothing_below(search.program, search.deciding, search.value, search.watch, rounds)
    search.adopt()


def _decide(search: ClusterSearch) -> None:
    """Raise the bound by the configuration program, then decide targets below the value."""
    from kvplace.solver.exact.close_gap import Effort, close_gap, program_bound  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.exact.option_cover import OptionCover  # noqa: PLC0415 - same

    knobs, board, program, proof = search.knobs, search.best, search.program, search.deciding
    round_ = min(search.round, 6)
    effort = Effort(nodes=knobs.nodes << round_, rounds=knobs.program_rounds << round_)
    program_bound(program, proof, search.value, effort, search.watch)
    if not any(board.flaws):
        found = close_gap(OptionCover(program), board, proof, search.gap, effort, search.watch)
        if found.worth() < board.worth():
            search.board = found
    search.adopt()


def _iterate(search: ClusterSearch) -> None:
    """Exchange movable shards with kicks, by compiled kernels."""
    search.watch.tell("loading kernels (compiled once, which takes a quarter of a minute)")
    from kvplace.solver.improve.movable_shards import Regions, iterate_mobile  # noqa: PLC0415 - numba
    from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - numba

    if search.watch.limit < math.inf and not kernels_ready():
        return  # it would break the limit; a later round finds them compiled
    kicks, seed = search.knobs.kicks << search.round, search.seed + search.round
    target = search.low * (1 + search.gap)
    most = int(min(kicks, search.left))
    board = search.best
    search.steps += iterate_mobile(
        board, Regions(search.instance), target, most, seed, search.watch
    )
    search.watch.tell("search", board.worst(), search.low)


def _rebuild(search: ClusterSearch) -> None:
    """Empty groups of GPUs around what is worst, and fill them again."""
    rounds, seed = search.knobs.rounds << search.round, search.seed + search.round
    target = search.low * (1 + search.gap)
    search.steps += rebuild(search.best, target, rounds, seed, search.watch, search.left)


def _anneal(search: ClusterSearch) -> None:
    """Pack at lower and lower targets by compiled moves, nearer to the value after failures."""
    search.watch.tell("loading kernels (compiled once, which takes a quarter of a minute)")
    from kvplace.solver.large_neighbourhood.anneal import Annealer  # noqa: PLC0415 - numba: only here
    from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - numba

    if search.watch.limit < math.inf and not kernels_ready():
        return  # it would break the limit; a later round finds them compiled
    board, knobs = search.best, search.knobs
    annealer = Annealer(search.chooser, search.seed + search.round, search.watch)
    moves = (knobs.moves + knobs.moves_per_copy * sum(map(len, board.where))) << search.round
    part = knobs.most_part
    while part > knobs.least_part and search.left > 0 and not search.watch.stop:
        if search.closed:
            break
        target = search.low + (board.worst() - search.low) * (1 - part)
        packed, tried = annealer.pack(board, target, int(min(moves, search.left)))
        search.steps += tried
        if packed:
            search.watch.tell("pack", board.worst())
        part = min(part * 1.5, knobs.most_part) if packed else part / 2


def _eject(search: ClusterSearch) -> None:
    """Pack at lower and lower targets, nearer to the value each time that fails twice."""
    board, knobs = search.best, search.knobs
    rounds = (knobs.packed + knobs.packed_per_model * search.instance.n) << search.round
    part, tried = 0.5, 0
    while part > 0.01 and search.left > 0 and not search.watch.stop and not search.closed:
        target = search.low + (board.worst() - search.low) * (1 - part)
        found, tries = search.packer.pack(board, target, int(min(rounds, search.left)))
        search.steps += tries
        if found is not None:
            most = min(knobs.steps, search.left)
            search.steps += settle(found, search.watch, most, wide(found))
            if found.worth() < board.worth():
                board.reset(found.where)
                search.watch.tell("pack", board.worst())
                tried = 0
                continue
        tried += 1  # a packing that breaks more soft rules is none either
        part /= 1 if tried % 2 else 2


def _lower(search: ClusterSearch) -> None:
    """Relieve the hottest GPU until nothing helps."""
    search.steps += settle(search.best, search.watch, search.left, nearby(search.best))


def _balance(search: ClusterSearch) -> None:
    """Balance what the maximum leaves open."""
    search.watch.tell("balance", search.value, search.low)
    search.steps += level(search.best, search.watch, search.balance_steps, nearby(search.best))


def _rank(search: ClusterSearch) -> None:
    """Leximax, exactly: prove the balance of the other GPUs, or find a better one."""
    board, ranks = search.best, search.instance.g
    enumeration = Enumeration(search.instance, nodes=search.knobs.ranked)
    enumeration.run(board.flaws, sorted(board.pressure, reverse=True), search.watch)
    if enumeration.best is not None:
        board.reset(enumeration.best)
    search.ranks = ranks if enumeration.complete else 1


def _rankable(search: ClusterSearch) -> bool:
    """Whether the maximum of a tiny cluster is proved, and no copy is there to be chosen.

    Copies that bring little are not made, so that leximax is not all that is asked for.
    """
    chosen = any(len({o.copies for o in options}) > 1 for options in search.instance.options)
    proved = _placed(search) and search.closed and search.gap <= OPTIMAL_GAP
    return proved and search._tiny and not chosen and not search.watch.stop  # noqa: SLF001 - its own


def _placed(search: ClusterSearch) -> bool:
    return search.board is not None and search.board.valid


def _begun(search: ClusterSearch) -> bool:
    return search.board is not None


def _few(search: ClusterSearch) -> bool:
    return search.board is not None and search.instance.n <= search.knobs.many


def _quick(search: ClusterSearch) -> bool:
    """Whether there are several pressures, and few enough models for a program of their sets."""
    knobs, instance = search.knobs, search.instance
    few = instance.n <= knobs.quick_density * instance.g
    few &= len(instance.size) <= knobs.quick_options
    # At no pressure at all, what is left is broken soft rules, of which the program says nothing.
    return few and instance.pressures > 1 and _placed(search) and search.value > 0


def _long(search: ClusterSearch) -> bool:
    """Whether there are several pressures, and time to load the kernels."""
    knobs, several = search.knobs, search.instance.pressures > 1
    return several and _few(search) and _placed(search) and search.watch.limit >= knobs.compiled


def _annealed(search: ClusterSearch, *, placed: bool = False) -> bool:
    """Whether there are enough shards for compiled moves, and time to load the kernels."""
    knobs, instance = search.knobs, search.instance
    many = instance.n * instance.g >= knobs.annealed
    timed = knobs.compiled <= search.watch.limit < math.inf
    return many and (placed or _placed(search)) and (timed or search.large)


def _passes(search: ClusterSearch) -> int:
    timed = search.watch.left < math.inf or search.limit is not None
    return search.knobs.timed_passes if timed else search.knobs.passes


STRATEGY: Strategy[ClusterSearch] = Strategy(
    once=(
        Stage("configurations", _configure, lambda s: s.large and s.instance.pressures == 1),
        Stage("start", _start, closed=True),
        Stage("parallel-exchanges", _descend, lambda s: _begun(s) and s.large, closed=True),
        Stage("pair-exchanges", _descend, lambda s: _begun(s) and not s.large, closed=True),
        Stage("configuration-bound", _ask_program, _quick),
        Stage("enumeration", _enumerate, lambda s: _begun(s) and s._tiny),  # noqa: SLF001 - its own
        Stage("exact-decisions", _decide, lambda s: _quick(s) and not _long(s)),
        Stage(
            "configuration-bound",
            lambda s: s.raise_bound(s.board),
            lambda s: _few(s) and _placed(s),
        ),
    ),
    rounds=(
        Stage("iterated-local-search", _iterate, _long, steps=True),
        # Where there is time for kernels, exact decisions come after them: near a good value.
        Stage("exact-decisions", _decide, lambda s: _quick(s) and (_long(s) or s.round > 0)),
        Stage("annealing", _anneal, _annealed, steps=True),
        Stage("ruin-and-recreate", _rebuild, _few, steps=True),
        Stage("ejection", _eject, lambda s: _few(s) and _placed(s), steps=True),
    ),
    last=(
        Stage("balance", _balance, _placed, closed=True),
        Stage("drop-copies", lambda s: drop_copies(s.best, s.watch), _placed, closed=True),
        Stage("leximax", _rank, _rankable, closed=True),
    ),
    repeats=_passes,
)

REFERENCE = (
    Stage("start", _start_as_reference, closed=True),
    Stage("pair-exchanges", _lower, _placed, closed=True),
    Stage("balance", _balance, lambda s: _placed(s) and s.left > 0, closed=True),
)
