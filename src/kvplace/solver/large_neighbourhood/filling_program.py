"""The program of fillings: whole link domains, in fractions, that leave as little over as possible.

A column is a filling of a link domain: copies that fit there together, split as they are. Domains
that are alike share their columns. What fillings do not cover is left over, at the room that it
takes; a model with several options for its number of copies chooses among them.
"""

from collections import Counter
from collections.abc import Iterable, KeysView
from typing import NamedTuple

import highspy
import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.column_generation.master import (
    Entry,
    add_columns,
    add_rows,
    limit_time,
    quiet_highs,
)

LEAST = 0.01
"""Room that what is left over counts at least, in GPUs: HiGHS's tolerances overlook less."""
THRIFT = 0.04
"""What a whole link domain costs, to what has as much room and is left over: where nothing need be
left over, as much room as possible stays in one place. From 0.1 on small models are left over
although domains are idle, as a domain that only one model of a filling needs costs more."""
INFINITE = float("inf")

Filling = tuple[int, tuple[int, ...]]
"""A kind of link domain, and the options of the copies in it, in ascending order."""


class Wanted(NamedTuple):
    """What is to be placed.

    Parameters
    ----------
    model
        (rows,) model of each option.
    most
        (rows,) copies of an option that may be taken, 0 for one that may not.
    room
        (rows,) room of a copy at least.
    free
        (n,) whether a model is to be placed at all.
    """

    model: Ints
    most: Ints
    room: Floats
    free: Bools


class FillingProgram:
    """The program at one target.

    Parameters
    ----------
    wanted
        What is to be placed.
    count, large
        (kinds,) link domains of each kind, and the room of each.

    Attributes
    ----------
    prices, worths
        (rows,) what a copy of each option is worth in the last solution, and (kinds,) a domain.
    """

    def __init__(self, wanted: Wanted, count: Ints, large: Floats) -> None:
        self._wanted, self._count, n = wanted, count, len(wanted.free)
        self._cost = THRIFT * large
        several = np.flatnonzero(wanted.most > 1).tolist()
        self._row: Ints = wanted.model.copy()  # that a copy of an option counts in
        self._row[several] = n + np.arange(len(several))
        self._columns: dict[Filling, int] = {}
        self._fixed: Counter[Filling] = Counter()
        self._decided: set[int] = set()
        self._first_kind = n + len(several)
        self.prices: Floats = np.zeros(len(wanted.model))
        self.worths: Floats = np.zeros(len(count))
        self._values: Floats = np.zeros(0)
        self._highs = quiet_highs(presolve="off")
        covered = np.concatenate([wanted.free.astype(np.float64), np.zeros(len(several))])
        lower = [*covered.tolist(), *[-INFINITE] * len(count)]
        add_rows(self._highs, lower, [*[INFINITE] * len(covered), *map(float, count.tolist())])
        usable = np.flatnonzero(wanted.most > 0)
        whole = np.full(n, INFINITE)
        np.minimum.at(whole, wanted.model[usable], wanted.room[usable] * wanted.most[usable])
        whole[~np.isfinite(whole)] = LEAST
        models = [Entry((j,), (1.0,)) for j in range(n)]
        copies = [Entry((int(self._row[row]),), (1.0,)) for row in several]
        self._left = slice(0, len(models) + len(copies))
        self._room = np.maximum(np.concatenate([whole, wanted.room[several]]), LEAST)
        add_columns(self._highs, models, 1.0, self._room[:n])
        add_columns(self._highs, copies, cost=self._room[n:])
        choices = [
            Entry((int(wanted.model[row]), int(self._row[row])), (1.0, -float(wanted.most[row])))
            for row in several
        ]
        add_columns(self._highs, choices, 1.0)
        self._choices = {row: self._left.stop + at for at, row in enumerate(several)}

    def add(self, fillings: Iterable[Filling]) -> int:
        """Add fillings that are not yet known; return how many were new."""
        new = {of: self._entry(of) for of in fillings if of not in self._columns}
        if new:
            first = int(self._highs.getNumCol())
            kinds = [kind for kind, _ in new]
            upper = self._count[kinds].astype(np.float64)
            add_columns(self._highs, list(new.values()), upper, self._cost[kinds])
            self._columns.update(zip(new, range(first, first + len(new)), strict=True))
        return len(new)

    def _entry(self, filling: Filling) -> Entry:
        kind, rows = filling
        covered = Counter(self._row[list(rows)].tolist())
        return Entry((*covered, self._first_kind + kind), (*map(float, covered.values()), 1.0))

    def solve(self, seconds: float = INFINITE) -> float:
        """Return the room of what is left over; ``inf`` where HiGHS found no solution in time."""
        limit_time(self._highs, seconds)
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            self._values = np.zeros(self._highs.getNumCol())
            return INFINITE
        solution = self._highs.getSolution()
        dual = np.array(solution.row_dual)
        self._values = np.array(solution.col_value)
        self.prices = np.where(self._wanted.most > 0, np.maximum(dual[self._row], 0.0), 0.0)
        self.worths = self._cost + np.maximum(-dual[self._first_kind :], 0.0)
        return float(self._values[self._left] @ self._room)

    @property
    def complete(self) -> bool:
        """Whether the last solution leaves nothing over."""
        return bool((self._values[self._left] < 1e-6).all())

    @property
    def fillings(self) -> KeysView[Filling]:
        """Fillings known."""
        return self._columns.keys()

    def best(self, number: int) -> list[Filling]:
        """Return the fillings of least reduced cost in the last solution."""
        cost = np.array(self._highs.getSolution().col_dual)
        return sorted(self._columns, key=lambda of: (float(cost[self._columns[of]]), of))[:number]

    def taken(self) -> list[tuple[Filling, float]]:
        """Return the fillings that the last solution takes, and how often beyond what is fixed."""
        some = [(of, self._values[at] - self._fixed[of]) for of, at in self._columns.items()]
        return [(of, float(times)) for of, times in some if times > 1e-6]

    def fix(self, filling: Filling, times: int) -> None:
        """Take a filling so often at least, and what its models are as the only option of each."""
        self._fixed[filling] += times
        self._bound(self._columns[filling], self._fixed[filling], self._count[filling[0]])
        for row in self._choices.keys() & filling[1]:
            self.choose(row)

    def undecided(self) -> list[tuple[float, int]]:
        """Return how much of each model whose option is open takes the one it takes most of."""
        parts: dict[int, list[tuple[float, int]]] = {}
        for row, column in self._choices.items():
            if (j := int(self._wanted.model[row])) not in self._decided:
                parts.setdefault(j, []).append((float(self._values[column]), row))
        for j, of in parts.items():
            once = np.flatnonzero((self._wanted.model == j) & (self._wanted.most == 1))
            of += [(1.0 - sum(part for part, _ in of), int(row)) for row in once[:1]]
        return list(map(max, parts.values()))

    def choose(self, row: int) -> None:
        """Take an option as the only one of its model, those of one copy as one."""
        j = int(self._wanted.model[row])
        self._decided.add(j)
        for other, column in self._choices.items():
            if self._wanted.model[other] == j:
                self._bound(column, other == row, other == row)

    def release(self) -> None:
        """Fix nothing any more."""
        for filling in self._fixed:
            self._bound(self._columns[filling], 0, self._count[filling[0]])
        for column in self._choices.values():
            self._bound(column, 0, 1)
        self._fixed.clear()
        self._decided.clear()

    def _bound(self, column: int, lower: float, upper: float) -> None:
        self._highs.changeColBounds(column, float(lower), float(upper))
