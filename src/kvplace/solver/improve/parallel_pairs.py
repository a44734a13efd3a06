"""Improvement: hot GPUs exchange models with colder ones, many disjoint pairs at once.

First every GPU with its opposite in the order of KVPR, which balances the whole; then, again
and again, the GPUs above a target between the level and the worst, each with partners of its
own: first one that suits it at once, looked for among many others, then some drawn at random. All
choices are counted or seeded, and pairs are disjoint, so that neither the clock nor the number of
threads decides. Under several pressures GPUs exchange within blocks drawn at random instead, where
that lowers what they exceed a target by.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.clock import Watch
from kvplace.solver.improve.iterated_pairs import COMPILED as ITERATED
from kvplace.solver.improve.iterated_pairs import iterate_pairs
from kvplace.solver.improve.matching import applies, colder, match, subsets_of
from kvplace.solver.improve.pair_annealing import Heat, anneal
from kvplace.solver.improve.pair_kernel import relieve
from kvplace.solver.instance.pressure import pressures
from kvplace.solver.kernels import Crew, compiled_in_time, is_compiled

COMPILED: tuple[Callable[..., int], ...] = (relieve,)
COMPILED_SEVERAL: tuple[Callable[..., float], ...] = (relieve, anneal, *ITERATED)
"""What is called under several pressures."""

ROUNDS = 6
"""Rounds of all GPUs at most."""
LIVELY = 0.4
"""Share of the pairs that must still gain for another round of all."""
WORTH_A_THREAD = 64
"""Pairs below which a thread costs more than it brings."""
HOT_SHARE = 0.1
"""Share of the GPUs relieved at once at most, so that each has several partners."""
TRIES = 16
"""Partners of a hot GPU at most, unless so few are hot that looking for them costs more."""
BLOCK, PAIRED = 64, 1 << 16
"""GPUs of a block, among which they are paired under several pressures, and pairs of a turn."""
WARM, WIDEST = 0.004, 0.05
"""Temperature, as a part of the square of how far the target is above the level; and how far that
counts at most, as a part of the target."""
EVENED = 8
"""Pairs under several pressures that count as one where nothing helps a GPU."""
SEEDS = 1 << 30
LOW = 0.8
"""How far above the level excess counts, as a part of how far the median GPU is."""
HOTTEST, EVERY, SELDOM = 0.98, 8, 24
"""Part of the GPUs that is no hotter than those relieved, and turns after which the hottest
exchanges with all others: so many where GPUs are few, and where they are many."""
PER_TURN = 20
"""GPUs that take about as long then as one turn."""
SETTLED = 5_000
"""GPUs up to which it does."""
HEAVIER, HEAVIEST = 1.5, 64.0
"""Factor by which the excess of a GPU counts for more each time that nothing lowers it, at most."""
BLOCKS = 256
"""Blocks between two looks at the clock."""
SORTED_PER_PAIR = 16
"""Subsets that are sorted in the time of looking at one pair."""
PAIRS = 4096
"""Pairs that cost about as much as finding the hot ones."""
STUCK = 4096
"""Partners that failed after which a hot GPU is left as it is, for leximax: on to the next."""
GAIN = 1e-9
"""Relative gain that an exchange must exceed where no other is asked for."""
CLOSE = 1e-12
"""Relative distance to the level at which nothing is left to gain."""


class Improver:
    """Lowers the hottest GPUs of a packing until effort or time is spent.

    Parameters
    ----------
    packing
        Changed in place.
    level
        KVPR that all GPUs have together: what none can fall below while others rise.
    seed
        Of the order in which partners come.
    crew, watch
        Threads, and what ends the search and is told.
    limit
        Exchanges at most; None for no limit.
    gain
        Relative gain that an exchange must exceed.

    Attributes
    ----------
    exchanges
        Made so far.
    """

    def __init__(
        self,
        packing: Packing,
        level: float,
        seed: int,
        crew: Crew,
        watch: Watch,
        *,
        limit: int | None = None,
        gain: float = GAIN,
    ) -> None:
        self._limit, self._gain, self._packing = limit, gain, packing
        self._level = level
        self._crew = crew
        self._watch = watch
        self._random = np.random.default_rng(seed)
        self._shuffled: Ints = self._random.permutation(len(packing.models))
        self._failed = np.zeros(len(packing.models), dtype=np.int64)
        self.exchanges = 0
        several = packing.loads.shape[1] > 1
        # A kernel that exchanges as often as it can knows no limit.
        self._evens = several and limit in (None, np.inf)
        self._weights = np.ones(len(packing.models))
        self._least: float = np.inf
        self._kept: Packing | None = None
        self._asked: set[Callable[..., float]] = set()

    @property
    def limited(self) -> bool:
        """Whether as many exchanges were made as are allowed."""
        return self._limit is not None and self.exchanges >= self._limit

    def _left(self, most: int) -> int:
        """Return how many exchanges may still be made, at most that many."""
        return most if self._limit is None else min(most, self._limit - self.exchanges)

    def balance(self) -> None:
        """Pair every GPU with its opposite while that pays."""
        half = len(self._packing.models) // 2
        for turn in range(ROUNDS):
            pairs = self._left(half)
            if self._watch.stop or pairs < 1:
                break
            order = np.argsort(-self._packing.pressure(), kind="stable")
            hot, cold = order[:half], order[::-1][:half].copy()
            work = partial(relieve, self._packing, hot, cold, 1, 0.0, turn, self._gain)
            if not self._in_time(relieve, work):
                break
            done = self._crew.share(work, pairs, WORTH_A_THREAD)
            self.exchanges += done
            self._watch.tell("balance", self._worst())
            if done < LIVELY * half:
                break

    def _in_time(self, kernel: Callable[..., int], work: Callable[[int, int], int]) -> bool:
        """Return whether a kernel is compiled before the search ends."""
        return compiled_in_time(kernel, lambda: work(0, 0), lambda: self._watch.stop)

    def relieve(self, goal: float, effort: float, patience: float) -> None:
        """Lower the hottest GPUs, and where those are stuck the next.

        Parameters
        ----------
        goal
            KVPR of the worst GPU at which to stop.
        effort, patience
            Pairs looked at, per GPU of the fleet, after which to stop: in all, and without a
            lower worst GPU.
        """
        g = len(self._packing.models)
        # A model alone on the largest GPU is as cool as it gets.
        largest = self._packing.memory == self._packing.memory.max()
        self._failed = np.zeros(g, dtype=np.int64)
        spent, gained, turn, top = 0, 0, 0, np.inf
        every = max(EVERY, min(SELDOM, g // PER_TURN))
        while spent < effort * g and spent - gained < patience * g:
            if self._watch.stop or self.limited:
                break
            kvpr = self._packing.pressure()
            done_with = (self._packing.models <= 1) & largest
            open_ = np.where((self._failed < STUCK) & ~done_with, kvpr, -1.0)
            now = float(open_.max())
            if now <= self._level * (1 + CLOSE) or float(kvpr.max()) <= goal:
                break
            if now < top * (1 - CLOSE):
                top, gained = now, spent
                self._watch.tell("improve", self._worst())
            if self._evens:
                self._keep(kvpr)
            spent += self._round(open_, kvpr, self._target(now, kvpr), turn)
            turn += 1
            if self._evens and turn % every == 0 and g <= SETTLED:
                self._settle(self._packing, goal)
        if self._kept is not None and self._worst() > self._least:
            self._packing.take(self._kept)

    def _settle(self, packing: Packing, goal: float) -> None:
        """Exchange between the hottest GPU and all others until nothing helps."""
        if self._watch.left < np.inf and not all(map(is_compiled, ITERATED)):
            return  # it takes too long to be compiled here
        work = partial(iterate_pairs, goal=goal, kicks=1, seed=0, gain=self._gain, limit=1)
        watch, stop = self._watch, lambda: self._watch.stop
        if compiled_in_time(*ITERATED, lambda: work(packing.copy(), watch=watch), stop):
            work(packing, watch=watch)

    def _keep(self, pressure: Floats) -> None:
        """Keep the packing where it is the best so far: excess may rise on one GPU."""
        worst = float(pressure.max())
        if worst < self._least:
            self._least, self._kept = worst, self._packing.copy()

    def _target(self, now: float, pressure: Floats) -> float:
        """Return the pressure down to which GPUs are relieved: half-way down to the level.

        Several pressures seldom all come down to the level. So that there are partners, the target
        is not below what all but the hottest GPUs are at.
        """
        target = self._level + (now - self._level) / 2
        if self._packing.loads.shape[1] == 1:
            return target
        rank = max(0, len(pressure) - 1 - max(1, int(len(pressure) * HOT_SHARE)))
        return max(target, float(np.partition(pressure, rank)[rank]))

    def _worst(self) -> float:
        return float(self._packing.pressure().max())

    def _round(self, open_: Floats, kvpr: Floats, target: float, turn: int) -> int:
        """Relieve the GPUs above a target once; return the pairs that could be looked at."""
        g = len(kvpr)
        if self._evens:
            return self._even(open_, kvpr)
        hot = self._hottest(open_, target)
        looked = self._matched(hot, open_, kvpr, target)
        if looked:
            kvpr = self._packing.pressure()
            self._failed[hot[kvpr[hot] <= target]] = 0
            hot = hot[kvpr[hot] > target]
            if not len(hot) or self.limited:
                return looked
        cut = int(self._random.integers(g))
        order = np.concatenate([self._shuffled[cut:], self._shuffled[:cut]])
        pool = order[kvpr[order] <= target]
        if not len(pool) or not len(hot):
            return looked or g
        hot = hot[: len(pool)]
        tries = min(len(pool) // len(hot), max(TRIES, PAIRS // len(hot)))
        # No more pairs than exchanges are left, so that the limit holds whatever they bring.
        left = self._left(tries * len(hot))
        tries = min(tries, left)
        hot = hot[: left // tries]
        packing = self._packing
        before = kvpr[hot]
        work = partial(relieve, packing, hot, pool, tries, target, turn, self._gain)
        if not self._in_time(relieve, work):
            return g
        self.exchanges += self._crew.share(work, len(hot), WORTH_A_THREAD)
        now = pressures(packing.free[hot], packing.kept[hot], packing.loads[hot].T, packing.kv)
        same = now >= before * (1 - CLOSE)
        self._failed[hot] = np.where(same, self._failed[hot] + tries, 0)
        return looked + tries * len(hot)

    def _hottest(self, open_: Floats, target: float) -> Ints:
        """Return the GPUs above a target, if they are many those that are most."""
        hot = np.flatnonzero(open_ > target)
        most = max(1, int(len(open_) * HOT_SHARE))
        return hot[np.argsort(-open_[hot], kind="stable")[:most]] if len(hot) > most else hot

    def _matched(self, hot: Ints, open_: Floats, pressure: Floats, target: float) -> int:
        """Bring hot GPUs to a target by one exchange each; return the pairs that this stands for.

        0 where sizes do not say what suits, or where the kernel is being compiled, for which a
        search under a time limit does not wait.
        """
        packing = self._packing
        hot = hot[open_[hot] * (1 - self._gain) > target]
        # Few GPUs are all looked at as partners, one by one.
        if not len(hot) or not applies(packing) or len(open_) <= TRIES:
            return 0
        nobody, cold = hot[:0], colder(packing, pressure, target, len(hot))
        if not self._compiled(match, lambda: _match(packing, nobody, nobody, target)):
            return 0
        hot = hot[np.argsort(-open_[hot], kind="stable")][: self._left(len(hot))]
        done, count = _match(packing, hot, cold, target)
        self.exchanges += done
        return max(1, count // SORTED_PER_PAIR)

    def _even(self, open_: Floats, pressure: Floats) -> int:
        """Lower what GPUs exceed a target by, once; return the pairs that this stands for."""
        packing, g, top = self._packing, len(pressure), float(pressure.max())
        median, hottest = np.quantile(pressure, (0.5, HOTTEST))
        target = self._level + max(LOW * (median - self._level), (top - self._level) * CLOSE)
        above = float(target if hottest >= top else max(target, hottest))
        hot = np.flatnonzero(open_ > above)
        block = min(g, max(BLOCK, min(g // 4, PAIRED // max(1, len(hot)))))
        tries = max(1, min(block, PAIRED // max(1, len(hot))))
        warm = WARM if self._gain <= GAIN else 0.0  # where few are to move, none does for nothing
        temperature = warm * min(1 - self._level / target, WIDEST) ** 2
        heat = Heat(
            self._weights, target, above, temperature, tries, int(self._random.integers(SEEDS))
        )
        order, blocks = self._random.permutation(g), -(-g // block)
        work = partial(anneal, packing, order, block, heat)
        if not self._in_time(anneal, work):
            return g
        for begin in range(0, blocks, BLOCKS):
            if self._watch.stop:
                break
            part = min(BLOCKS, blocks - begin)
            share = partial(_from, begin, work)
            self.exchanges += self._crew.share(share, part, 1)
        now = packing.pressure()
        same = now[hot] >= open_[hot] * (1 - CLOSE)
        self._failed[hot] = np.where(same, self._failed[hot] + tries // EVENED, 0)
        self._weights[hot[same]] = np.minimum(self._weights[hot[same]] * HEAVIER, HEAVIEST)
        self._weights[now <= above] = 1
        return tries * len(hot) // EVENED + g  # each was looked at for whether it is above

    def _compiled(self, kernel: Callable[..., float], call: Callable[[], object]) -> bool:
        """Return whether a kernel is compiled; a search under a time limit does not wait for it."""
        waits = self._watch.left == np.inf
        if is_compiled(kernel) or waits:
            return compiled_in_time(kernel, call, lambda: self._watch.stop)
        if kernel not in self._asked and is_compiled(relieve):  # pairs come first
            self._asked.add(kernel)
            compiled_in_time(kernel, call, lambda: True)
        return False


def _from(begin: int, work: Callable[[int, int], int], first: int, end: int) -> int:
    """Do a part that is counted from further on."""
    return work(begin + first, begin + end)


def _match(packing: Packing, hot: Ints, cold: Ints, target: float) -> tuple[int, int]:
    """Return how many hot GPUs were brought to a target, and how many subsets were sorted."""
    sizes, codes = subsets_of(packing, cold, target)
    return match(packing, hot, cold, target, sizes, codes), len(sizes)
