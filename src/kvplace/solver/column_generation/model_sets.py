"""Configuration linear program: what share of the fleet a target KVPR needs, fractions allowed.

Gilmore and Gomory's program for bin packing with several sizes of bin. A column is a set of
models that fits a GPU of one type at the target; ``share`` is the least factor by which all
GPUs would have to be multiplied so that fractions of columns cover every model. Above 1, the
target is impossible, and the dual prices are the proof (`kvplace.core.certificates`).
"""

import math
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from kvplace.core.certificates.certificate import Certificate
from kvplace.solver.array_types import Floats
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.pricing import ACCURACY, Column, Pool
from kvplace.solver.instance.instance import Instance

__all__ = ["Configuration", "Verdict"]

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
        (n,) price per model; the worths make all GPUs worth 1 together.
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


class Configuration:
    """The program of one fleet; columns found at one target serve the next.

    Parameters
    ----------
    arrays
        The problem.
    """

    def __init__(self, arrays: Instance) -> None:
        self.arrays = arrays
        self.size = np.array(arrays.size, dtype=np.float64)
        self.load = np.array(arrays.load, dtype=np.float64)
        self.keep = np.array(arrays.keep, dtype=np.float64)
        memory = sorted(set(arrays.memory))
        number = {capacity: type_ for type_, capacity in enumerate(memory)}
        self.type_of = [number[capacity] for capacity in arrays.memory]
        self.memory: Floats = np.array(memory, dtype=np.float64)
        self.count: Floats = np.bincount(self.type_of).astype(np.float64)
        self._columns: dict[Column, None] = {}

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
        sizes = self.sizes(target)
        capacity = self.capacity(target)
        pool = Pool(sizes, capacity)
        complete = pool.everything()
        if complete is None:
            largest = len(capacity) - 1
            alone = [(largest, (int(j),)) for j in np.flatnonzero(sizes <= capacity[-1])]
            known = [c for c in self._columns if sizes[list(c[1])].sum() <= capacity[c[0]]]
            program = _Program(len(sizes), self.count, [*known, *alone])
        else:
            program = _Program(len(sizes), self.count, complete)
        # The fluid bound is the first centre: prices as sizes, worths as memory.
        total = float(self.count @ capacity)
        best = Verdict(
            target, float(sizes.sum()) / total, sizes / total, capacity / total, exact=False
        )
        for _ in range(rounds):
            if watch.stop:
                break
            prices, worths, reached = program.solve(watch.left)
            if watch.stop:
                break
            if not settle and reached <= 1 + ACCURACY:
                break
            if prices is None or worths is None:
                # A model fits no GPU at this target, not even alone.
                alone = (sizes > capacity[-1]).astype(np.float64)
                return Verdict(target, math.inf, alone, np.zeros(len(capacity)), exact=True)
            if complete is not None:
                total = float(self.count @ worths)
                return Verdict(target, reached, prices / total, worths / total, exact=True)
            if self._extend(program, pool.dearer(prices, worths)):
                continue
            true_worths, exact = pool.refill(prices, worths)
            new = pool.dearer(prices, worths)
            best = self._better(best, prices, true_worths)
            if best.impossible:
                return best
            if not self._extend(program, new):
                all_worth = float(self.count @ true_worths)
                share = float(prices.sum()) / all_worth
                return Verdict(
                    target, share, prices / all_worth, true_worths / all_worth, exact=exact
                )
        return best

    def _better(self, best: Verdict, prices: Floats, worths: Floats) -> Verdict:
        """Return the better bound of a verdict and of other prices with their valid worths."""
        all_worth = float(self.count @ worths)
        share = float(prices.sum()) / all_worth if all_worth > 0 else math.inf
        if share <= best.share:
            return best
        return Verdict(best.target, share, prices / all_worth, worths / all_worth, exact=False)

    def _extend(self, program: "_Program", columns: list[Column]) -> bool:
        """Give columns to the program and keep them for the next; whether any is new."""
        self._columns.update(dict.fromkeys(columns))
        added = [program.add(column) for column in columns]
        return any(added)

    def certificate(self, verdict: Verdict, threshold: float) -> Certificate:
        """Return the integer certificate of an impossible target, in the problem's order."""
        scale = 10**12
        prices = [0] * self.arrays.n
        for j, price in enumerate(verdict.prices):
            prices[self.arrays.model_index[j]] = math.floor(price * scale)
        worths = tuple(
            (int(memory), math.ceil(worth * (1 + 1e-12) * scale) + 1 if worth else 0)
            for memory, worth in zip(self.memory, verdict.worths, strict=True)
        )
        return Certificate(threshold, tuple(prices), worths)


class _Program:
    """The restricted program in HiGHS: minimise the share, cover every model, by type."""

    def __init__(self, models: int, count: Floats, columns: list[Column]) -> None:
        self._models = models
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]  # ships no types
        self._highs.setOptionValue("output_flag", False)  # noqa: FBT003 - the signature of HiGHS
        self._highs.setOptionValue("dual_feasibility_tolerance", ACCURACY / 100)
        self._highs.setOptionValue("presolve", "off")  # small programs, solved again and again
        self._held = dict.fromkeys(columns)
        types, infinite = len(count), highspy.kHighsInf
        none, empty = np.zeros(models + types, dtype=np.int32), np.array([], dtype=np.int32)
        lower = np.concatenate([np.ones(models), np.full(types, -infinite)])
        upper = np.concatenate([np.full(models, infinite), np.zeros(types)])
        self._highs.addRows(models + types, lower, upper, 0, none, empty, np.array([]))
        rows = np.arange(models, models + types, dtype=np.int32)
        self._highs.addCol(1.0, 0.0, infinite, types, rows, -count)
        columns = list(self._held)
        number = len(columns)
        lengths = np.array([len(members) + 1 for _, members in columns], dtype=np.int64)
        flat = [row for type_, members in columns for row in (*members, models + type_)]
        self._highs.addCols(
            number,
            np.zeros(number),
            np.zeros(number),
            np.full(number, infinite),
            len(flat),
            (np.cumsum(lengths) - lengths).astype(np.int32),
            np.array(flat, dtype=np.int32),
            np.ones(len(flat)),
        )

    def add(self, column: Column) -> bool:
        """Add a set of models on one GPU of a type; return whether it is new."""
        if column in self._held:
            return False
        self._held[column] = None
        rows = np.array([*column[1], self._models + column[0]], dtype=np.int32)
        self._highs.addCol(0.0, 0.0, highspy.kHighsInf, len(rows), rows, np.ones(len(rows)))
        return True

    def solve(self, seconds: float) -> tuple[Floats | None, Floats | None, float]:
        """Return dual prices, worths and the share; None where some model has no column.

        None as well where that takes longer than the seconds given.
        """
        if seconds < math.inf:  # HiGHS counts all the runs of one program
            self._highs.setOptionValue("time_limit", self._highs.getRunTime() + seconds)
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None, None, math.inf
        dual = np.array(self._highs.getSolution().row_dual)
        share = float(self._highs.getInfo().objective_function_value)
        return np.maximum(dual[: self._models], 0.0), np.maximum(-dual[self._models :], 0.0), share
