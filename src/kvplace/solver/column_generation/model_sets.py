"""Configuration linear program: what share of the fleet a target KVPR needs, fractions allowed.

Gilmore and Gomory's program for bin packing with several sizes of bin. A column is a set of
models that fits a GPU of one type at the target; ``share`` is the least factor by which all
GPUs would have to be multiplied so that fractions of columns cover every model. Above 1, the
target is impossible, and the dual prices are the proof (`kvplace.core.certificates`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.column_generation.loop import generate
from kvplace.solver.column_generation.master import Duals, Entry, Master
from kvplace.solver.column_generation.pricing import ACCURACY, Column, Pool, Room
from kvplace.solver.instance.instance import Instance

__all__ = ["Configuration", "SetProgram", "Verdict"]

LIFTED = 32
"""Models priced above their size at most, the largest first: they leave least room beside them."""
EDGE = 1e-12
"""Part by which those prices are lowered, so that rounding lifts no set above its GPU."""
TINY = 1e-16
"""Share of the least memory that a model without weights and load counts as, so that ratios are
defined; so little that all of them together stay within the rounding allowed for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the program says of a target.

    Parameters
    ----------
    target
        K, in load per byte.
    share
        Share of the fleet needed, a valid lower bound whatever ended the search.
    prices
        (items,) price of each item; the worths make all GPUs worth 1 together.
    worths
        (t,) worth of a GPU of each type.
    exact
        Whether no column is missing, so that the reduced costs are what they seem.
    """

    target: float
    share: float
    prices: Floats
    worths: Floats
    exact: bool

    @property
    def impossible(self) -> bool:
        """Whether no placement reaches the target."""
        return self.share > 1 + 4 * ACCURACY


class SetProgram(ABC):
    """The program of one fleet; columns found at one target serve the next.

    Attributes
    ----------
    count
        (t,) GPUs of each type.
    """

    count: Floats

    def __init__(self) -> None:
        self._columns: dict[Column, None] = {}

    @abstractmethod
    def decide(
        self, target: float, watch: Watch, *, rounds: int = 2000, settle: bool = True
    ) -> Verdict:
        """Find the share of the fleet that a target needs, or enough to call it impossible.

        Parameters
        ----------
        target
            K, in load per byte.
        watch
            Ends the search early; the share is a valid lower bound all the same.
        rounds
            Solutions of the restricted program at most.
        settle
            Go on to exact prices; else stop as soon as the target is seen to be possible.
        """

    @abstractmethod
    def total(self, prices: Floats) -> float:
        """Return what all that must be placed is priced at least."""

    @abstractmethod
    def fluid(self, target: float) -> Verdict:
        """Return what the fluid bound says: prices as sizes, worths as room."""

    def quick(self, target: float) -> Verdict:
        """Return what prices say that cost no program."""
        return self.fluid(target)

    def verdict(self, target: float, prices: Floats, worths: Floats, *, exact: bool) -> Verdict:
        """Return what prices and worths say, scaled so that all GPUs are worth 1 together."""
        total = float(self.count @ worths)
        if total <= 0:
            return Verdict(target, math.inf, prices, worths, exact=exact)
        return Verdict(target, self.total(prices) / total, prices / total, worths / total, exact)

    def extend(self, master: Master, columns: list[Column]) -> bool:
        """Give columns to a master and keep them for the next; whether any is new."""
        self._columns.update(dict.fromkeys(columns))
        return self.give(master, columns)

    def give(self, master: Master, columns: Iterable[Column]) -> bool:
        """Give columns to a master; whether any is new."""
        return master.add(map(self._entry, columns)) > 0

    @abstractmethod
    def _entry(self, column: Column) -> tuple[Column, Entry]:
        """Return a column with its coefficients."""


class Configuration(SetProgram):
    """The program of undivided models under one pressure.

    Parameters
    ----------
    arrays
        The problem.
    """

    def __init__(self, arrays: Instance) -> None:
        super().__init__()
        self.arrays = arrays
        self.size = np.array(arrays.size, dtype=np.float64)
        self.load = np.array(arrays.load, dtype=np.float64)
        self.keep = np.array(arrays.keep, dtype=np.float64)
        memory = sorted(set(arrays.memory))
        number = {capacity: type_ for type_, capacity in enumerate(memory)}
        self.type_of = [number[capacity] for capacity in arrays.memory]
        self.memory: Floats = np.array(memory, dtype=np.float64)
        self.count: Floats = np.bincount(self.type_of).astype(np.float64)

    def add(self, gpu_of: list[int]) -> None:
        """Take the sets of a placement as columns."""
        held: dict[int, list[int]] = {}
        for j, g in enumerate(gpu_of):
            held.setdefault(g, []).append(j)
        for g, members in held.items():
            self._columns[self.type_of[g], tuple(members)] = None

    def sizes(self, target: float) -> Floats:
        """Return (n,) sizes ``s + l / K`` at a target.

        At infinity only memory counts: then a size includes the KV that must be left, less the
        one byte that `capacity` already keeps.
        """
        extra = np.maximum(self.keep - 1, 0.0) if math.isinf(target) else self.load / target
        least = TINY * float(self.memory[0])
        sizes: Floats = np.maximum(self.size + extra, least)
        return sizes

    def capacity(self, target: float) -> Floats:
        """Return (t,) capacity per type: the memory, at infinity less the byte kept free."""
        return self.memory - 1.0 if math.isinf(target) else self.memory

    def decide(  # noqa: D102 - of the base class
        self, target: float, watch: Watch, *, rounds: int = 2000, settle: bool = True
    ) -> Verdict:
        sizes, capacity = self.sizes(target), self.capacity(target)
        if sizes.max() > capacity[-1]:  # a model fits no GPU at this target, not even alone
            alone = (sizes > capacity[-1]).astype(np.float64)
            return Verdict(target, math.inf, alone, np.zeros(len(capacity)), exact=True)
        pool = Pool([Room(sizes, room) for room in capacity.tolist()])
        complete = pool.everything()
        master = Master(np.ones(len(sizes)), self.count, dual_feasibility_tolerance=ACCURACY / 100)
        self.give(master, self._start(sizes, capacity) if complete is None else complete)
        if complete is not None and not watch.stop:
            duals = master.solve(watch.left)
            if duals is not None and not watch.stop:
                return self.verdict(target, duals.prices, duals.worths, exact=True)
        rounds = rounds if complete is None else 0
        return price_sets(self, master, pool, target, rounds, watch, settle=settle)

    def total(self, prices: Floats) -> float:  # noqa: D102 - of the base class
        return float(prices.sum())

    def fluid(self, target: float) -> Verdict:  # noqa: D102 - of the base class
        return self.verdict(target, self.sizes(target), self.capacity(target), exact=False)

    def quick(self, target: float) -> Verdict:
        """Return what the fluid bound says with hot models priced at all that they take of a GPU.

        Of a model that needs more than half of the largest GPU that is the GPU less the dearest
        set which fits beside it: no two of them share one, so no set is priced above its GPU.
        """
        sizes, capacity = self.sizes(target), self.capacity(target)
        prices = sizes * (1 - EDGE)
        for j in np.argsort(-sizes, kind="stable")[:LIFTED].tolist():
            if not capacity[-1] < 2 * sizes[j] <= 2 * capacity[-1]:
                continue
            beside = []
            for memory in capacity[capacity >= sizes[j]].tolist():
                room = memory - float(sizes[j])
                some = np.flatnonzero(sizes <= room)
                most = Knapsack(sizes[some], prices[some], room).upper if len(some) else 0.0
                beside.append((memory - most) * (1 - EDGE))
            prices[j] = max(prices[j], min(beside))
        return self.verdict(target, prices, capacity, exact=False)

    def _start(self, sizes: Floats, capacity: Floats) -> list[Column]:
        """Return the columns known that fit, and each model alone."""
        largest = len(capacity) - 1
        known = [c for c in self._columns if sizes[list(c[1])].sum() <= capacity[c[0]]]
        return [*known, *((largest, (j,)) for j in range(len(sizes)))]

    def _entry(self, column: Column) -> tuple[Column, Entry]:
        type_, members = column
        rows = (*members, len(self.size) + type_)
        return column, Entry(rows, (1.0,) * len(rows))


def price_sets(
    program: SetProgram,
    master: Master,
    pool: Pool,
    target: float,
    rounds: int,
    watch: Watch,
    *,
    settle: bool,
) -> Verdict:
    """Generate columns from a pool; return the best verdict that their prices gave."""
    pricing = _SetPricing(program, pool, target, settle=settle)
    generate(master, pricing, rounds, watch)
    return pricing.best


class _SetPricing:
    """Prices sets of models exactly, from a pool that is refilled when it has run dry."""

    def __init__(self, program: SetProgram, pool: Pool, target: float, *, settle: bool) -> None:
        self._program, self._pool, self._settle = program, pool, settle
        self.best = program.fluid(target)  # the first centre

    def settled(self, share: float) -> bool:
        return self.best.impossible or (not self._settle and share <= 1 + ACCURACY)

    def extend(self, master: Master, duals: Duals) -> bool:
        program, pool = self._program, self._pool
        prices, worths = duals.prices, duals.worths
        if program.extend(master, pool.dearer(prices, worths)):
            return True
        true_worths, exact = pool.refill(prices, worths)
        new = pool.dearer(prices, worths)
        found = program.verdict(self.best.target, prices, true_worths, exact=False)
        if found.share > self.best.share:
            self.best = found
        if self.best.impossible:
            return False
        if program.extend(master, new):
            return True
        self.best = program.verdict(self.best.target, prices, true_worths, exact=exact)
        return False
