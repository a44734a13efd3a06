"""The portfolio behind ``auto``: starts, search, bounds and proofs, each while it can still pay.

What runs depends on the instance and on counted effort, never on the clock, so that a run
without a time limit gives the same plan everywhere. numpy and HiGHS are imported only once the
simple bounds have failed to prove the start optimal.
"""

import math
import random
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, relative_gap
from kvplace.solver.assignment.lists import State
from kvplace.solver.bounds.certify import Priced, bound_of
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.improve.moves_and_swaps import balance, lower_maximum
from kvplace.solver.instance.instance import Instance

if TYPE_CHECKING:
    from kvplace.solver.column_generation.model_sets import Configuration
    from kvplace.solver.exact.close_gap import Proof

__all__ = ["Portfolio"]

QUICK_MODELS = 80
"""Up to so many models the configuration program is asked before any search."""
QUICK_DENSITY = 6
"""And up to so many per GPU: with more, it takes long and says what the fluid bound says."""
TINY_MODELS = 24
"""Up to so many models exact decisions come before the local search, too."""
QUICK_ROUNDS = 60
"""Rounds of column generation of that first question."""
PROGRAM_MODELS = 600
"""Above so many models it is not asked at all: the fluid bound is then as good."""
PLAIN_MODELS = 300
"""Up to so many models the rest is balanced in plain Python."""
ROUNDS = 60
"""Rounds of column generation per target in the first round; doubled every round."""
BEST_FIT_DENSITY = 2.5
"""Up to so many models per GPU best fit decreasing is the only start: it is then the best."""
SEARCHED_GPUS = 24
"""Up to so many GPUs an exact search is tried in the first round; doubled every round."""
REGROUPED_DENSITY = 6.0
"""Above so many models per GPU a group has too many sets to be refilled exactly."""
GROUP = 12
"""GPUs refilled together in the first round; four more in each of the next two."""
COMPILED_SECONDS = 5.0
"""A time limit that leaves room to load compiled kernels for refilling groups."""
SQUEEZES = 300
"""Groups without gain, then, that end a target in the first round; doubled every round."""
DEALINGS = 10
"""Dealings without gain after which a nearer target is tried."""
TIMED_ROUNDS = 20
"""Rounds at most where a time limit leaves room for them."""
TINY_ROUNDS = 3
"""The same for fleets so small that what three rounds leave open, rounding keeps open."""
IDLE_ROUNDS = 4
"""Rounds without any gain, each twice the effort of the last, after which even time left over
is not used."""
CHECKED_MODELS = 5_000
"""Models up to which a certificate of dual feasible functions is checked, and so used."""
CHECKED = 3
"""Certificates tried, the best first, before a bound is given up."""
DEFAULT_ROUNDS = 1
KICKS = 200
"""Kicks without gain that end the local search of the first round; doubled every round."""


class Portfolio:
    """One run of ``auto``.

    Parameters
    ----------
    problem, arrays
        What is solved, for the checker and for the search.
    bound
        The simple bound.
    gap
        Certified gap at which to stop.
    seed
        Of the kicks.
    iterations
        Steps at most; None for the default effort.
    watch
        Clock and listener.

    Attributes
    ----------
    state
        Best assignment; None where none was found.
    bound
        Best bound.
    steps
        Exchanges and kicks made.
    """

    def __init__(
        self,
        problem: Problem,
        arrays: Instance,
        bound: Bound,
        *,
        gap: float,
        seed: int,
        iterations: int | None,
        watch: Watch,
    ) -> None:
        self._problem = problem
        self.arrays = arrays
        self.bound = bound
        self.state: State | None = None
        self.steps = 0
        self._gap = max(gap, OPTIMAL_GAP)
        self._seed = seed
        self._iterations = iterations
        self._watch = watch
        self._long = COMPILED_SECONDS <= watch.limit < math.inf

    def run(self, given: list[int] | None) -> bool:
        """Solve; return whether the steps allowed were used up."""
        self._start(given)
        if self.state is not None and self._value_open():
            self._search()
        elif self.state is None and self.bound.value < math.inf:
            self._pack()
        limited = self._left <= 0
        if self.state is None:
            return limited
        self._balance(self.state)
        return limited and self._value_open()

    @property
    def _left(self) -> float:
        """Steps that may still be made."""
        return math.inf if self._iterations is None else max(0, self._iterations - self.steps)

    def _value_open(self) -> bool:
        """Whether the gap is above what was asked for."""
        assert self.state is not None
        return relative_gap(self.state.worst(), self.bound.value) > self._gap

    def _start(self, given: list[int] | None) -> None:
        """Take the best of several constructions and the placement given, refined."""
        arrays, watch = self.arrays, self._watch
        if self.bound.value == math.inf:
            return
        tolerances = [1e-2] if arrays.n <= PLAIN_MODELS else [0.1]
        if TINY_MODELS < arrays.n <= PLAIN_MODELS:
            tolerances.append(1e-9)  # refined, either may be the better start
        found = (bisect_target(arrays, self.bound.value, tolerance=t) for t in tolerances)
        for gpu_of in (given, *found):
            if gpu_of is None:
                continue
            state = State(arrays, gpu_of)
            if arrays.n <= PLAIN_MODELS:
                self.steps += lower_maximum(state, int(min(50, self._left)), watch=watch)
            self._offer(state)
        watch.tell("start", self.state.worst() if self.state else None, self.bound.value)

    def _offer(self, state: State) -> None:
        """Keep a state if it is the best so far."""
        if self.state is None or state.worst() < self.state.worst():
            self.state = state

    def _search(self) -> None:
        """Alternate local search, bounds and exact decisions with growing effort."""
        from kvplace.solver.column_generation.model_sets import Configuration  # noqa: PLC0415 - numpy and HiGHS: only here
        from kvplace.solver.exact.close_gap import Proof, nothing_below  # noqa: PLC0415 - same

        program = Configuration(self.arrays)
        proof = Proof(self.bound.value)
        affordable = self.arrays.n <= PROGRAM_MODELS
        sparse = BEST_FIT_DENSITY < self.arrays.n / self.arrays.g <= REGROUPED_DENSITY
        sparse = sparse and self.arrays.g > GROUP * 3 // 2
        assert self.state is not None
        if self.arrays.n <= min(QUICK_MODELS, QUICK_DENSITY * self.arrays.g):
            program.add(self.state.gpu_of)
            nothing_below(program, proof, self.state.worst(), self._watch, QUICK_ROUNDS)
            self._take(program, proof)
        if self.arrays.n <= TINY_MODELS and self._value_open():
            self._prove(program, proof, 0)
            if self._value_open():
                self._exhaust()
        if self._value_open():
            self._price()
            proof.value = self.bound.value
        self._spread()
        if not affordable:
            self._price("dual-feasible")
            proof.value = self.bound.value
        rounds = DEFAULT_ROUNDS
        if self._watch.left < math.inf or self._iterations is not None:
            rounds = TIMED_ROUNDS if self.arrays.n > TINY_MODELS else TINY_ROUNDS
        idle, known = 0, (math.inf, 0.0)
        for round_ in range(rounds):
            now = (self.state.worst(), self.bound.value)
            idle, known = (idle + 1 if now == known else 0), now
            if not self._value_open() or self._watch.stop or idle > IDLE_ROUNDS:
                break
            if round_ and self._left <= 0:
                break
            self._iterate(round_)
            if affordable and self._value_open() and not self._watch.stop:
                self._prove(program, proof, round_)
            if sparse and self._value_open() and not self._watch.stop and self._left > 0:
                if affordable and self._long:
                    self._squeeze(program, round_)
                else:
                    self._regroup(round_)

    def _spread(self) -> None:
        """Try the starts that are best where many models share a GPU."""
        from kvplace.solver.large_neighbourhood.iterated import most_free_first  # noqa: PLC0415 - numpy: only here

        if self.arrays.n <= BEST_FIT_DENSITY * self.arrays.g:
            return
        for keys in (self.arrays.load, [float(size) for size in self.arrays.size]):
            gpu_of = most_free_first(self.arrays, keys)
            if gpu_of is not None:
                self._offer(State(self.arrays, gpu_of))

    def _exhaust(self) -> None:
        """Try all placements of a tiny fleet, where they are few enough."""
        from kvplace.solver.exact.enumerate_undivided import exhaust  # noqa: PLC0415 - few fleets need it

        value = self.state.worst() if self.state else math.inf
        gpu_of, complete = exhaust(self.arrays, value, self._watch)
        if gpu_of is not None:
            self._offer(State(self.arrays, gpu_of))
            value = self.state.worst() if self.state else math.inf
        if complete:
            self.bound = Bound(value * (1 - OPTIMAL_GAP / 2), "search")
            self._watch.tell("search", value, self.bound.value)

    def _price(self, method: str | None = None) -> None:
        """Raise the bound by the price functions of a method, or by all the others."""
        from kvplace.solver.bounds.price_functions import price_functions, raise_bound  # noqa: PLC0415 - numpy: only here

        assert self.state is not None
        for function in price_functions():
            if (function.method == "dual-feasible") != (method == "dual-feasible"):
                continue
            if not self._value_open() or self.arrays.n > CHECKED_MODELS:
                return
            value, low = self.state.worst(), self.bound.value
            bound = raise_bound(function, self._problem, self.arrays, low, value, self._watch)
            if bound is not None:
                self.bound = bound
                self._watch.tell("bound", value, bound.value)

    def _iterate(self, round_: int) -> None:
        """Local search with kicks from the best state."""
        from kvplace.solver.large_neighbourhood.iterated import iterate  # noqa: PLC0415 - numpy: only here

        assert self.state is not None
        kicks = min(KICKS, 5 * self.arrays.n) << round_
        target = self.bound.value * (1 + self._gap)
        state, steps = iterate(
            self.state, target, kicks, self._seed + round_, self._watch, self._left
        )
        self.steps += steps
        self._offer(state)

    def _prove(self, program: "Configuration", proof: "Proof", round_: int) -> None:
        """Raise the bound, then decide targets between it and the value."""
        from kvplace.solver.exact.close_gap import Effort, close_gap, program_bound  # noqa: PLC0415 - same

        assert self.state is not None
        program.add(self.state.gpu_of)
        effort = Effort(
            nodes=10_000 << min(round_, 6),
            rounds=ROUNDS << min(round_ + 2 * self._long, 6),
        )
        program_bound(program, proof, self.state.worst(), effort, self._watch)
        # With several models per GPU, a search over many GPUs gives up until late rounds.
        pairs = self.arrays.n <= BEST_FIT_DENSITY * self.arrays.g
        if pairs or self.arrays.g <= SEARCHED_GPUS << (0 if self._long else round_):
            self._offer(close_gap(program, self.state, proof, self._gap, effort, self._watch))
        self._take(program, proof)

    def _take(self, program: "Configuration", proof: "Proof") -> None:
        """Adopt what is proved: a search as it is, a certificate only if it checks."""
        if proof.searched and proof.value > self.bound.value:
            self.bound = Bound(proof.value, "search")
        for verdict in proof.verdicts[: -CHECKED - 1 : -1]:
            if verdict.target <= self.bound.value:
                break
            worths = dict(zip(map(int, program.memory), verdict.worths.tolist(), strict=True))
            # Upwards by more than prices are accurate to.
            safe = {memory: worth * (1 + 1e-12) for memory, worth in worths.items()}
            priced = Priced(verdict.target, verdict.prices.tolist(), safe)
            bound = bound_of(self._problem, self.arrays, "configuration", priced)
            if bound is not None:
                self.bound = bound
                break
        proof.value, proof.verdicts = self.bound.value, []
        value = self.state.worst() if self.state else None
        self._watch.tell("bound", value, self.bound.value)

    def _regroup(self, round_: int) -> None:
        """Refill groups of GPUs at lower and lower targets while that works."""
        from kvplace.solver.large_neighbourhood.group_cover import regroup  # noqa: PLC0415 - numpy: only here

        assert self.state is not None
        chance = random.Random(self._seed + round_)  # noqa: S311 - a search, not a secret
        group = GROUP + 4 * min(round_, 2)
        state, step, failures = self.state, 0.2, 0
        for _ in range(30 << round_):
            if step < 0.01 or self._watch.stop or self._left <= 0:
                break
            target = self.bound.value + (self.state.worst() - self.bound.value) * (1 - step)
            hot = _above(state, target)
            state, refilled = regroup(
                state, target, group, 2_000 << min(round_, 4), chance, self._watch, self._left
            )
            self.steps += refilled
            failures = failures + 1 if _above(state, target) >= hot else 0
            if state.worst() < self.state.worst():
                self.state = state
                self._watch.tell("regroup", state.worst())
                if not self._value_open():
                    return
            if failures >= DEALINGS:
                step, failures = step / 2, 0

    def _squeeze(self, program: "Configuration", round_: int) -> None:
        """Do the same with compiled kernels, where the time limit has room to load them."""
        self._watch.tell("loading kernels (compiled once, which takes seconds)")
        from kvplace.solver.large_neighbourhood.group_cover_compiled import squeeze  # noqa: PLC0415 - numba: only here

        assert self.state is not None
        value = self.state.worst()
        # Where targets are possible, prices may be anything; at the bound they say what is short.
        ends = (value * (1 - OPTIMAL_GAP), self.bound.value)
        verdicts = [program.decide(target, self._watch) for target in ends]
        chance = random.Random(self._seed + round_)  # noqa: S311 - a search, not a secret
        tries = SQUEEZES << min(round_, 6)
        self.state, refilled = squeeze(
            self.state, self.bound.value, verdicts, tries, chance, self._watch, self._left
        )
        self.steps += refilled

    def _balance(self, state: State) -> None:
        """Leximax: balance what the maximum leaves open."""
        self._watch.tell("balance", state.worst())
        if self.arrays.n <= PLAIN_MODELS:
            self.steps += balance(
                state, 10 * self.arrays.g + 200, tolerance=1e-6, watch=self._watch
            )
            return
        from kvplace.solver.improve.pair_exchange import Exchanger  # noqa: PLC0415 - numpy: only here
        from kvplace.solver.large_neighbourhood.iterated import level  # noqa: PLC0415 - numpy: only here

        self.steps += level(Exchanger(state, width=1), self._watch, 10 * self.arrays.g + 200)

    def _pack(self) -> None:
        """No rule packs the weights: find a way, or prove that there is none."""
        if self.arrays.n > PROGRAM_MODELS:
            return
        from kvplace.solver.column_generation.model_sets import Configuration  # noqa: PLC0415 - numpy and HiGHS: only here
        from kvplace.solver.exact.close_gap import Effort, Proof, pack_exactly  # noqa: PLC0415 - same

        proof = Proof(self.bound.value)
        program = Configuration(self.arrays)
        state = pack_exactly(program, proof, Effort(nodes=50_000), self._watch)
        self._take(program, proof)
        if state is not None:
            self._offer(state)
        elif self.arrays.n <= TINY_MODELS and self.bound.value < math.inf:
            self._exhaust()
        if self.state is not None:
            limit = None if self._iterations is None else int(self._left)
            self.steps += lower_maximum(self.state, limit, watch=self._watch)
            if self._value_open():
                self._search()


def _above(state: State, target: float) -> int:
    """Count the GPUs above a target."""
    return sum(kvpr > target for kvpr in state.kvpr)
