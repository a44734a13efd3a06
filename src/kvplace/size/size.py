"""The fewest or the cheapest nodes that reach a target, with a proof that less does not.

Mixes of nodes are looked at from the cheapest up. One is excluded where the sums of
`kvplace.size.floor` or a bound by the solver say that it cannot reach the target; and with it
every part of it, because without spreads and soft rules one more node never hurts. The first
that a plan shows to be enough is the answer; what is cheaper and neither excluded nor shown to
be enough is what the lower bound leaves open.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.size.answer import PROVED, Cell, Size, Sizing
from kvplace.size.floor import Floor, floor_of
from kvplace.size.stock import Mix, Stock
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve
from kvplace.units import LEAST

SEARCH_SHARE = 0.7
"""Share of a time limit for finding the sizes; the rest is for the table of what-ifs."""
QUESTION_SHARE = 0.15
"""Share of what is left of it for one mix."""
LEAST_SECONDS = 0.2
UNSEEN = ("balance", "leximax")
"""Stages whose work a table does not show: it has the highest pressure of each fleet."""
CELL_SECONDS = 4.0
"""Most time for one fleet of that table where the whole has a limit."""
MOST_LINES = 200_000
"""Combinations of all kinds but one that are gone through at most."""
MOST_UNSETTLED = 16
"""Mixes neither shown to be enough nor excluded after which the answer stands as it is."""

_Order = tuple[float, int, Mix]


def size_fleet(
    stock: Stock,
    target: float,
    *,
    growths: Sequence[float] = (1.0,),
    time_limit: float | str | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Sizing:
    """Find the fewest or the cheapest nodes that serve every model within a target.

    Parameters
    ----------
    stock
        Kinds of node with their prices.
    target
        Most KVPR of any GPU, above 0.
    growths
        Factors on every rate, each with an answer of its own.
    time_limit
        Seconds, or text such as ``2min``; None for as long as it takes.
    seed
        Of random choices.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.

    Raises
    ------
    InputError
        The target or a growth is not above 0 and finite.
    """
    for what, values in (("target", [target]), ("growth", growths)):
        for value in values:
            if not LEAST <= value < math.inf:
                raise InputError(f"the {what} must be above 0 and finite, not {value}")
    watch = watch or Watch(time_limit)
    sizes: list[Size] = []
    for position, growth in enumerate(growths):
        share = watch.left * SEARCH_SHARE / (len(growths) - position)
        own = Within(watch, share if share < math.inf else None)
        sizes.append(_Search(stock.grown(growth), target, growth, own, seed).run())
        watch.tell("sizes")
    table = tuple(_table(stock, sizes, growths, watch, seed))
    plans = {(cell.mix, cell.growth): cell.result for cell in table}
    sizes = [_of_table(size, plans.get((size.mix or (), size.growth)), target) for size in sizes]
    return Sizing(stock, target, tuple(sizes), table, watch.stop is None)


def _of_table(size: Size, result: Result | None, target: float) -> Size:
    """Return a size with the plan that the table has for it, where that one is enough, too.

    The search for the size ends with the first plan that is; that of the table is better.
    """
    if result is None or result.value > target:
        return size
    late = result.problem.goal is not Objective.PRESSURE and not in_time(result)
    return size if late else replace(size, result=result)


class _Search:
    """The search for one growth.

    Parameters
    ----------
    stock
        With the demand grown.
    target, growth, watch, seed
        As in `size_fleet`.
    """

    def __init__(self, stock: Stock, target: float, growth: float, watch: Watch, seed: int) -> None:
        self._stock, self._target, self._growth = stock, target, growth
        self._watch, self._seed = watch, seed
        self._floor: Floor = floor_of(stock, target)
        self._excluded: list[Mix] = []
        self._known: dict[Mix, Result | bool] = {}
        self._short_of_time: Result | None = None
        self._kinds = len(stock.kinds)
        problem = stock.problem
        copies = () if problem.columns.plain else (model.replicas.max for model in problem.models)
        self._most = 1 + (sum(copies) or len(problem.names))

    def run(self) -> Size:
        """Return the answer."""
        if self._floor.unreachable:
            return Size(self._growth, None, None, math.inf, math.inf, self._floor.unreachable)
        best: Mix | None = None
        for direction in self._directions():
            mix = self._along(direction)
            if mix is not None and (best is None or self._order(mix) < self._order(best)):
                best = mix
        everywhere = all(
            self._is_excluded(tuple(self._most * step for step in direction))
            for direction in self._directions()
        )
        if best is None and everywhere:
            reason = (
                f"no fleet of up to {self._most:,} nodes of each kind is enough, which is proved; "
                "rules or limits stand in the way, not size"
            )
            return Size(self._growth, None, None, math.inf, math.inf, (reason,))
        best, least = self._cheapest(best)
        if best is None and self._short_of_time is not None:
            late = _latest(self._short_of_time)
            return Size(self._growth, None, None, math.inf, least, (), late)
        result = None if best is None else self._known[best]
        assert not isinstance(result, bool)
        cost = math.inf if best is None else self._stock.cost(best)
        return Size(self._growth, best, result, cost, min(least, cost), ())

    def _order(self, mix: Mix) -> _Order:
        """Order mixes by cost, then by nodes, so that ties have one answer."""
        return self._stock.cost(mix), sum(mix), mix

    def _directions(self) -> Iterator[Mix]:
        """Yield ways to grow a fleet: by each kind alone, then by all kinds at once."""
        for kind in range(self._kinds):
            yield tuple(int(kind == other) for other in range(self._kinds))
        if self._kinds > 1:
            yield (1,) * self._kinds

    def _along(self, direction: Mix) -> Mix | None:
        """Return the smallest multiple of a direction that is enough, as far as is found."""

        def mix(number: int) -> Mix:
            return tuple(number * step for step in direction)

        low, high = 0, self._fewest(mix)
        if high > self._most:
            return None
        step = 1
        while not self._enough(mix(high)):
            if high >= self._most or self._watch.stop:
                return None
            low, high, step = high, min(high + step, self._most), 2 * step
        while high - low > 1 and not self._watch.stop:
            middle = (low + high) // 2
            low, high = (low, middle) if self._enough(mix(middle)) else (middle, high)
        return mix(high)

    def _fewest(self, mix: Callable[[int], Mix]) -> int:
        """Return the smallest number whose mix sums admit; more than the most where none is."""
        numbers = range(self._most + 1)
        return bisect_left(numbers, x=True, key=lambda number: self._floor.admits(mix(number)))

    def _cheapest(self, best: Mix | None) -> tuple[Mix | None, float]:
        """Go through the mixes from the cheapest up; return the answer and the least cost open.

        Mixes are in lines that differ in the number of nodes of one kind only, the cheapest;
        each line starts where sums admit it and goes on by one node until the answer's cost.
        """
        cap = math.inf if best is None else self._stock.cost(best)
        cheap = min(range(self._kinds), key=lambda kind: (self._stock.prices[kind], kind))
        heap, least = self._lines(cheap, cap)
        unsettled = 0
        while heap and unsettled < MOST_UNSETTLED and not self._watch.stop:
            (cost, _, _), mix = heapq.heappop(heap)
            if self._enough(mix):
                return mix, min(cost, least)
            if not self._is_excluded(mix):
                least = min(least, cost)  # open: the bound stays here, the search goes on
                unsettled += 1
            longer = _with(mix, cheap, mix[cheap] + 1)
            if self._stock.cost(longer) < cap * (1 - PROVED) and longer[cheap] <= self._most:
                heapq.heappush(heap, (self._order(longer), longer))
        if heap:
            least = min(least, heap[0][0][0])
        if best is None and math.isinf(least):
            least = self._least_cost()
        return best, min(least, cap)

    def _lines(self, cheap: int, cap: float) -> tuple[list[tuple[_Order, Mix]], float]:
        """Return, for each choice of all other kinds, the fewest of the cheapest that sums admit.

        Returns
        -------
        tuple
            A heap of these mixes as far as they cost less than `cap`, and the least cost of what
            is not in it: `cap`, or less where there are too many choices to list.
        """
        spans = [
            range(1 + (0 if kind == cheap else self._span(kind, cap)))
            for kind in range(self._kinds)
        ]
        heap = []
        least = cap
        for number, chosen in enumerate(product(*spans)):
            if number >= MOST_LINES or self._watch.stop:
                least = min(least, self._least_cost())
                break
            fewest = self._fewest(partial(_with, chosen, cheap))
            mix = _with(chosen, cheap, fewest)
            if fewest <= self._most and self._stock.cost(mix) < cap * (1 - PROVED):
                heap.append((self._order(mix), mix))
        heapq.heapify(heap)
        return heap, least

    def _least_cost(self) -> float:
        """Return what any fleet costs at least, by sums alone, fractions of nodes allowed."""
        worth = [c / p for c, p in zip(self._floor.capacity_bytes, self._stock.prices, strict=True)]
        return max(needed / max(worth[k] for k in kinds) for kinds, needed in self._floor.groups)

    def _span(self, kind: int, cap: float) -> int:
        """Return the most nodes of a kind that a mix cheaper than `cap` can have."""
        price = self._stock.prices[kind]
        return self._most if math.isinf(cap) else min(self._most, int(cap / price))

    def _is_excluded(self, mix: Mix) -> bool:
        """Whether it is known that a mix does not reach the target."""
        return not self._floor.admits(mix) or any(
            all(n <= m for n, m in zip(mix, larger, strict=True)) for larger in self._excluded
        )

    def _enough(self, mix: Mix) -> bool:
        """Whether a plan on the mix reaches the target; notes where it is proved that none does."""
        if self._is_excluded(mix):
            return False
        known = self._known.get(mix)
        if known is None:
            known = self._known[mix] = self._ask(mix)
        return known is not False

    def _ask(self, mix: Mix) -> Result | bool:
        """Solve on a mix until the target is reached or proved out of reach."""
        relaxed = self._stock.on(mix, relaxed=True)
        if relaxed is None:
            self._excluded.append(mix)
            return False
        result = self._solve(relaxed)
        if result.bound > self._target * (1 + PROVED):
            self._excluded.append(mix)
            return False
        if not self._stock.monotone:
            whole = self._stock.on(mix)
            if whole is None:
                return False
            result = self._solve(whole)
        if result.value > self._target:
            return False
        if result.problem.goal is not Objective.PRESSURE and not in_time(result):
            self._short_of_time = result
            return False
        return result

    def _solve(self, problem: Problem) -> Result:
        """Solve until the target is reached or out of reach."""
        share = self._watch.left * QUESTION_SHARE
        seconds = max(LEAST_SECONDS, share) if share < math.inf else None
        # Soft rules go before the KVPR, so the first plan within the target is not the last word.
        soft = any(rule.soft is not None for rule in problem.rules)
        enough = -math.inf if soft else self._target
        watch = Within(self._watch, seconds, enough=enough, hopeless=self._target)
        return solve(problem, seed=self._seed, watch=watch)


def in_time(result: Result) -> bool:
    """Whether no GPU of a plan needs more than all its time, as far as times are known."""
    assert result.evaluation is not None
    return all(max(shares, default=0.0) <= 1 for shares in result.evaluation.sums.time_shares)


def _latest(result: Result) -> str:
    """Say which model asks for more of a GPU's time than there is."""
    assert result.evaluation is not None
    worst = max(result.evaluation.gpus, key=lambda gpu: max(gpu.time_shares, default=0.0))
    shard = max(worst.shards, key=lambda held: max(held.time_shares, default=0.0))
    share = max(worst.time_shares)
    return (
        f"memory would be enough, but {shard.model!r} needs {100 * share:,.0f} % of a GPU's time; "
        "allow it more copies or a higher tensor parallel degree, or size for --target "
        "'pressure<=0.8'"
    )


def _with(mix: Sequence[int], kind: int, number: int) -> Mix:
    """Return a mix with that many nodes of a kind."""
    return (*mix[:kind], number, *mix[kind + 1 :])


def _table(
    stock: Stock, sizes: Sequence[Size], growths: Sequence[float], watch: Watch, seed: int
) -> Iterator[Cell]:
    """Yield what the answers, one node less and one node more are worth at every growth."""
    found = [size for size in sizes if size.mix is not None]
    mixes = {size.mix for size in found if size.mix is not None}
    for size in found[:1] if len(growths) > 1 else found:
        assert size.mix is not None
        main = max(range(len(size.mix)), key=lambda kind: size.mix[kind] if size.mix else 0)
        for number in (size.mix[main] - 1, size.mix[main] + 1):
            mixes.add(_with(size.mix, main, number))
    rows = sorted((mix for mix in mixes if any(mix)), key=lambda mix: (stock.cost(mix), mix))
    plans = {(size.mix, size.growth): size.result for size in found}
    cells = [(mix, growth) for mix in rows for growth in growths]
    for position, (mix, growth) in enumerate(cells):
        if watch.stop:
            return
        problem = stock.grown(growth).on(mix)
        if problem is None:
            yield Cell(mix, growth, None)
            continue
        share = watch.left / (len(cells) - position)
        own = Within(watch, min(share, CELL_SECONDS) if share < math.inf else None)
        known = plans.get((mix, growth))
        start = known.placement if known else None
        result = solve(problem, start=start, seed=seed, watch=own, without=UNSEEN)
        yield Cell(mix, growth, result)
