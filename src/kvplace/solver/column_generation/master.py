"""The restricted master program in HiGHS: the share of a fleet that meets a demand.

Gilmore and Gomory's program for bin packing with several sizes of bin (Operations Research 9,
1961). An item is a model, or all shards of one size class. A column is a set of items on one GPU
of a type. The program minimises the factor by which all GPUs would have to be multiplied so that
fractions of columns cover every item: above 1, the demand cannot be met. Its duals price the
items and the GPUs.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import highspy
import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.clock import Watch

_FREE = 16 * 2**20
"""Bytes that are to be free before HiGHS is asked: it ends the process where it gets no memory."""


class Entry(NamedTuple):
    """A column of a program.

    Parameters
    ----------
    rows, values
        Where it has a coefficient, and which.
    """

    rows: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Duals:
    """The dual solution of a restricted master program.

    Parameters
    ----------
    prices
        (items,) price of each item, not negative.
    worths
        (t,) worth of a GPU of each type, not negative.
    share
        Share of the fleet that the columns known need.
    """

    prices: Floats
    worths: Floats
    share: float


def quiet_highs(**options: object) -> Any:
    """Return an empty HiGHS model that prints nothing, with some options set.

    Raises
    ------
    MemoryError
        The system gives too little for what HiGHS would end the process.
    """
    np.empty(_FREE, dtype=np.uint8)
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]  # ships no types
    for name, value in {"output_flag": False, **options}.items():
        highs.setOptionValue(name, value)
    return highs


def limit_time(highs: Any, seconds: float) -> None:
    """Let the next run take so long at most: HiGHS counts all the runs of one program."""
    if seconds < math.inf:
        highs.setOptionValue("time_limit", highs.getRunTime() + max(seconds, 0.0))


def add_rows(highs: Any, lower: Sequence[float], upper: Sequence[float]) -> None:
    """Add rows without entries, each between a lower and an upper limit."""
    starts, none = np.zeros(len(lower), dtype=np.int32), np.array([], dtype=np.int32)
    highs.addRows(
        len(lower), np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64),
        0, starts, none, np.array([]),
    )  # fmt: skip


def add_columns(
    highs: Any,
    columns: Sequence[Entry],
    upper: Floats | float = highspy.kHighsInf,
    cost: Floats | float = 0.0,
    *,
    whole: bool = False,
) -> None:
    """Add columns between 0 and an upper bound, which may have to be whole numbers."""
    first, number = int(highs.getNumCol()), len(columns)
    lengths = np.array([len(column.rows) for column in columns], dtype=np.int64)
    rows = [row for column in columns for row in column.rows]
    values = [value for column in columns for value in column.values]
    highs.addCols(
        number, np.full(number, cost), np.zeros(number), np.full(number, upper),
        len(rows), (np.cumsum(lengths) - lengths).astype(np.int32),
        np.array(rows, dtype=np.int32), np.array(values, dtype=np.float64),
    )  # fmt: skip
    if whole and number:
        new = np.arange(first, first + number, dtype=np.int32)
        kinds = np.array([highspy.HighsVarType.kInteger] * number)
        highs.changeColsIntegrality(number, new, kinds)


class Master:
    """Minimise the share of the fleet, cover every item.

    Parameters
    ----------
    demand
        (items,) how often each item is to be covered.
    count
        (t,) GPUs of each type.
    falling
        Pairs of items of which a place for the second also serves the first, which keeps its price
        from being higher.
    options
        Of HiGHS.
    """

    def __init__(
        self,
        demand: Floats,
        count: Floats,
        *,
        falling: Sequence[tuple[int, int]] = (),
        **options: object,
    ) -> None:
        # Small programs are solved again and again: presolving them does not pay.
        self._highs = quiet_highs(presolve="off", **options)
        self._columns: dict[Hashable, int] = {}
        self._items, types, infinite = len(demand), len(count), highspy.kHighsInf
        self._rows = total = self._items + types
        lower, upper = [*demand, *[-infinite] * types], [infinite] * self._items + [0.0] * types
        add_rows(self._highs, lower, upper)
        rows = np.arange(self._items, total, dtype=np.int32)
        # The share costs as many as there are GPUs, so that duals are as large as HiGHS's
        # tolerances ask for, whatever the size of the fleet.
        self._scale = max(float(count.sum()), 1.0)
        self._highs.addCol(self._scale, 0.0, infinite, types, rows, -count)
        if falling:
            add_columns(self._highs, [Entry(pair, (1.0, -1.0)) for pair in falling])

    def add_row(self, most: float) -> int:
        """Add a row whose sum is limited; return its number."""
        add_rows(self._highs, [-highspy.kHighsInf], [most])
        return int(self._highs.getNumRow()) - 1

    def add(self, columns: Iterable[tuple[Hashable, Entry]]) -> int:
        """Add columns that are not yet known by their keys; return how many were new."""
        new = {key: entry for key, entry in columns if key not in self._columns}
        if new:
            first = int(self._highs.getNumCol())
            add_columns(self._highs, list(new.values()))
            self._columns.update(zip(new, range(first, first + len(new)), strict=True))
        return len(new)

    def solve(self, seconds: float = math.inf) -> Duals | None:
        """Return the duals, or None where some item has no column or the time is too short."""
        limit_time(self._highs, seconds)
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        dual = np.array(self._highs.getSolution().row_dual) / self._scale
        share = float(self._highs.getInfo().objective_function_value) / self._scale
        prices, worths = dual[: self._items], -dual[self._items : self._rows]
        return Duals(np.maximum(prices, 0.0), np.maximum(worths, 0.0), share)

    def solution(self) -> dict[Hashable, float]:
        """Return how often the last solution uses each column, by its key; none are left out."""
        value = np.array(self._highs.getSolution().col_value)
        return {key: float(value[at]) for key, at in self._columns.items() if value[at] > 0}


class Pricing(Protocol):
    """Finds the columns that a master lacks, and remembers what their prices prove."""

    def settled(self, share: float) -> bool:
        """Whether no further column is needed once the columns known need a share of the fleet.

        It is asked with ``inf`` before the master is solved.
        """
        ...

    def extend(self, master: Master, duals: Duals) -> bool:
        """Add columns that are priced above their GPU; whether there was any."""
        ...


def generate(master: Master, pricing: Pricing, rounds: int, watch: Watch) -> float:
    """Solve a program by column generation.

    Parameters
    ----------
    master
        The restricted program; columns are added to it.
    pricing
        Finds columns, and holds what is proved.
    rounds
        Solutions of the restricted program at most.
    watch
        Ends it early.

    Returns
    -------
    float
        Share of the fleet that the columns known need; ``inf`` where no solution was found.
    """
    share = float("inf")
    for _ in range(rounds):
        if watch.stop or pricing.settled(float("inf")):
            break
        duals = master.solve(watch.left)
        if duals is None:
            break
        share = duals.share
        if watch.stop or pricing.settled(share) or not pricing.extend(master, duals):
            break
    return share
