"""A search that keeps one assignment, and takes what the configuration program proves of it.

numpy and HiGHS are imported only once that program is asked.
"""

import math
import random
from abc import abstractmethod
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.certify import searched
from kvplace.solver.clock import Within
from kvplace.solver.instance.door import load_copies, load_instance, unload_copies
from kvplace.solver.instance.instance import Instance
from kvplace.solver.strategies.knob import ProofParams
from kvplace.solver.strategies.stages import LOADING, Search, Settings

if TYPE_CHECKING:
    from kvplace.solver.column_generation.option_sets import OptionSets
    from kvplace.solver.exact.bin_completion import Completion
    from kvplace.solver.exact.close_gap import Effort, Proof

COMPLETED, UNTIMED = 3e5, 5e4
"""GPUs filled one by one, times models, before slower ways to pack memory are tried: with a time
limit, and without one, so that it takes a second or two."""
REFUTED = 0.15
"""Part of the time left in which it is asked whether all models fit, where one rule fails."""


TINY_SECONDS = 1e-9
"""Time left at least, so that parts of it are defined."""
ASKED = 0.5
"""Part of the time left in which it is asked for a bound first, under several pressures."""


class AssignedSearch(Search):
    """One run.

    Attributes
    ----------
    instance
        The problem as numbers.
    board
        The best assignment, which need not be valid; None before there is one.
    knobs
        Of its strategy.
    checking
        Longest time, in seconds, that it took to take a bound of the configuration program.
    """

    knobs: ProofParams

    def __init__(self, problem: Problem, settings: Settings) -> None:
        super().__init__(problem, settings)
        self.instance = load_instance(problem)
        self.board: Assignment | None = None
        self._proof: Proof | None = None
        self.checking = 0.0

    @property
    def placed(self) -> bool:
        """Whether there is a valid assignment."""
        return self.board is not None and self.board.valid

    @property
    def value(self) -> float:  # noqa: D102 - of the base class
        return self.best.worst() if self.placed else math.inf

    @property
    def best(self) -> Assignment:
        """The best assignment."""
        assert self.board is not None
        return self.board

    @property
    def placement(self) -> Placement | None:  # noqa: D102 - of the base class
        if not self.placed:
            return None
        return unload_copies(self.problem, self.instance, self.best.where)

    def offer(self, board: Assignment) -> None:
        """Keep an assignment if it is valid, and the best so far."""
        if board.valid and (self.board is None or board.worth() < self.board.worth()):
            self.board = board

    @property
    def deciding(self) -> "Proof":
        """What exact decisions proved, at least the bound known.

        The best assignment is among the columns of the configuration program that they ask.
        """
        from kvplace.solver.column_generation.option_sets import OptionSets  # noqa: PLC0415 - numpy and HiGHS: only here
        from kvplace.solver.exact.close_gap import Proof  # noqa: PLC0415 - numpy and HiGHS: only here

        proof = self._proof = self._proof or Proof(
            OptionSets(self.instance, compiled=self.compiled), self.low
        )
        proof.value = max(proof.value, self.low)
        if self.board is not None:
            chosen = self.board.chosen
            proof.program.add([[chosen(j).row for j in held] for held in self.board.members])
        return proof

    @property
    def compiled(self) -> bool:
        """Whether compiled kernels look for sets of that program."""
        return False

    @property
    def program(self) -> "OptionSets":
        """The configuration program with options, with the best assignment among its columns."""
        return self.deciding.program

    @abstractmethod
    def take(self, bound: Bound) -> None:
        """Take a bound of the configuration program, or of a search that rests on it."""

    def adopt(self) -> None:
        """Take what is proved: a search as it is, a certificate only if it checks."""
        from kvplace.solver.bounds.option_prices import first_checked, priced_options  # noqa: PLC0415 - HiGHS: only here

        problem, proof = self.problem, self.deciding
        if proof.searched is not None and proof.value > self.low:
            prices = priced_options(problem, proof.program, proof.searched)
            found = searched(problem, prices, self.watch)
            if found.certificate is not None or math.isfinite(found.value):
                self.take(found)
        better = [verdict for verdict in proof.verdicts if verdict.target > self.low]
        most = self.knobs.certificates
        began = self.watch.seconds
        bound = first_checked(problem, proof.program, better, most, self.watch, self.low)
        if bound is not None:
            self.checking = max(self.checking, self.watch.seconds - began)
            self.take(bound)
        proof.value, proof.searched, proof.verdicts = self.low, None, []
        self.watch.tell("bound", self.value, self.low)


def board_of(problem: Problem, instance: Instance, given: Placement) -> Assignment:
    """Return the board of a placement; a model that is where it may not be is taken off."""
    board = Assignment(instance, load_copies(problem, instance, given))
    allowed = instance.columns.allowed
    board.apply(
        (j, None, ())
        for j, copies in enumerate(board.where)
        if not all(allowed[j][g] for copy in copies for g in copy)
    )
    return board


def placed(search: AssignedSearch) -> bool:
    """Whether there is a valid assignment."""
    return search.placed


def going_on(search: AssignedSearch) -> bool:
    """Whether there is, and steps are left."""
    return search.placed and search.left > 0


def rank(search: AssignedSearch) -> None:
    """Leximax, exactly: prove the balance of the other GPUs, or find a better one."""
    from kvplace.solver.exact.enumerate import balanced_ranks  # noqa: PLC0415 - numpy: only here

    search.ranks = balanced_ranks(search.best, search.knobs.ranked, search.watch)


def effort_of(search: AssignedSearch, further: int = 0) -> "Effort":
    """Return what exact decisions may spend, which doubles every round, and so often further."""
    from kvplace.solver.exact.close_gap import Effort  # noqa: PLC0415 - HiGHS: only here

    knobs, round_ = search.knobs, search.round
    return Effort(
        nodes=knobs.nodes << min(round_, 6), rounds=knobs.program_rounds << min(round_ + further, 6)
    )


def ask_program(search: AssignedSearch) -> None:
    """Ask the configuration program whether nothing is better than the start."""
    from kvplace.solver.exact.close_gap import nothing_below  # noqa: PLC0415 - HiGHS: only here

    with search.watch.part(ASKED if search.instance.pressures > 1 else 1.0):
        nothing_below(search.deciding, search.value, search.watch, search.knobs.program_rounds)
    search.adopt()


def refute(search: AssignedSearch, rounds: int) -> None:
    """Ask the configuration program for a while whether memory has no room for all models.

    The bound is infinite then.
    """
    watch = Within(search.watch, search.watch.left * REFUTED)
    if search.deciding.refutes(math.inf, watch, rounds):
        search.adopt()


def completed(search: AssignedSearch, completion: "Completion", effort: float) -> None:
    """Pack memory GPU by GPU.

    Parameters
    ----------
    search
        Nothing of it is valid.
    completion
        Of its instance.
    effort
        GPUs filled, times the number of models, after which no further run begins; `UNTIMED` at
        most without a time limit.
    """
    if search.watch.limit == math.inf:
        effort = min(effort, UNTIMED)
    found = completion.complete(effort / search.instance.n)
    if found is not None:
        search.board = found
        search.watch.tell("pack", search.value, search.low)


def decided(search: AssignedSearch, effort: "Effort", *, closing: bool) -> None:
    """Raise the bound by the configuration program; to close the gap, decide targets, too."""
    from kvplace.solver.exact.close_gap import climb, close_gap  # noqa: PLC0415 - HiGHS: only here

    proof, watch = search.deciding, search.watch
    kept = max(search.knobs.checked_part, search.checking / max(watch.left, TINY_SECONDS))
    if kept >= 1:
        return  # what is proved could not be checked any more
    with watch.part(1 - kept):
        climb(proof, search.value, effort.rounds, watch)
        if closing:
            search.offer(close_gap(proof, search.best, search.gap, effort, watch))
    search.adopt()


def ready(search: Search, kernels: str) -> bool:
    """Whether some of `warm` need not be compiled within a time limit; if not, that begins.

    None are ready where memory does not suffice for the compiler.
    """
    try:
        from kvplace.solver.kernels import need_memory  # noqa: PLC0415 - numba
        from kvplace.solver.large_neighbourhood import warm  # noqa: PLC0415 - numba

        need_memory()
    except MemoryError:
        return False
    return search.watch.limit == math.inf or warm.kernels_ready(getattr(warm, kernels))


def far(search: AssignedSearch) -> bool:
    """Whether the value is far above the bound, and groups of GPUs are refilled first for it."""
    knobs = search.knobs
    pays = search.instance.g >= knobs.far_gpus and search.watch.limit >= knobs.far_seconds
    return search.placed and pays and search.value > search.low * (1 + knobs.far)


def refill_groups(search: AssignedSearch) -> None:
    """Refill groups of GPUs exactly at lower targets, by compiled kernels.

    Far above the bound that goes on with twice as many groups while it helps; also where it does
    not, of undivided models with a time limit.
    """
    search.watch.tell(LOADING)
    from kvplace.solver.large_neighbourhood.group_cover import squeeze  # noqa: PLC0415 - numba: only here

    if not ready(search, "TIGHT"):
        return  # it would break the limit; a later round finds them compiled
    knobs, chance = search.knobs, random.Random(search.seed + search.round)  # noqa: S311 - a search, not a secret
    patient = search.instance.simple and search.watch.limit < math.inf
    tries, before = knobs.squeezes << min(search.round, 6), math.inf
    with search.watch.part(knobs.far_part if far(search) else 1.0):
        while patient or search.value < before:
            # Where targets are possible, prices may be anything; at the bound they say what is
            # short.
            verdicts = [
                search.program.decide(at, search.watch, settle=not far(search))
                for at in (search.value * (1 - OPTIMAL_GAP), search.low)
            ]
            before = search.value
            search.board, refilled = squeeze(
                search.best, search.low, verdicts, tries, chance, search.watch, search.left
            )
            search.steps += refilled
            tries *= 2
            if search.watch.stop or search.left <= 0 or not far(search):
                break


def kicked(search: AssignedSearch, kicks: int, part: float) -> None:
    """Exchange movable shards with kicks, by compiled kernels.

    Parameters
    ----------
    search
        Its best assignment is bettered in place.
    kicks
        Kicks without gain that end it in the first round; doubled every round.
    part
        Part of the time left that it may take.
    """
    search.watch.tell(LOADING)
    from kvplace.solver.improve.movable_shards import iterate_mobile  # noqa: PLC0415 - numba

    if not ready(search, "EXCHANGING"):
        return  # it would break the limit; a later round finds them compiled
    target, seed = search.low * (1 + search.gap), search.seed + search.round
    with search.watch.part(part):
        search.steps += iterate_mobile(
            search.best, target, kicks << search.round, seed, search.watch, search.left
        )
    search.watch.tell("search", search.value, search.low)
