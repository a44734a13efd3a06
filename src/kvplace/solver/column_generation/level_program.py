"""Size classes: whether a fleet can hold what is to be placed, by size on a grid.

The configuration program says so, whatever the number of models. Its dual prices are worths of
classes; a model counts with the cheapest of its options, and the program lets it change to that.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.class_knapsack import Tables
from kvplace.solver.column_generation.class_rows import class_rows, falling, first_fit
from kvplace.solver.column_generation.levels import Column, LevelRooms, Need, Switch
from kvplace.solver.column_generation.master import Duals, Entry, Master, generate

SCALE = 10**9
"""Integer prices: worth of the dearest level."""
PICKED = 60
"""Columns given out at once, of all rooms together or one of each."""
ROUNDS = 100
"""Solutions of the restricted program at most, per target."""
SMOOTH = 0.7
"""Part of the best prices known in the prices asked about next (Wentges, 1997)."""
CONVERGED = 1e-5
"""Distance of the share to what is proved at which no further column is looked for."""


class Program:
    """The restricted master over classes: a place for a class may go to a lower one.

    Parameters
    ----------
    need
        What is to be placed, or part of it.
    rooms
        The GPUs.
    """

    def __init__(self, need: Need, rooms: LevelRooms) -> None:
        classes = np.flatnonzero(need.present)
        self._width, self._classes = need.width, len(classes)
        self._row = class_rows(classes, need)
        self._type = {room: at for at, room in enumerate(rooms.levels.tolist())}
        # The primal simplex: columns are added.
        self._master = Master(
            need.demand[classes], rooms.count, falling=falling(classes, need), simplex_strategy=4
        )
        self._switches: set[Switch] = set()
        self._groups: dict[int, int] = {}
        apart = need.single or need.nested
        backwards = rooms.levels[::-1].tolist() if apart else [int(rooms.levels[-1])]
        alone = (
            next(((room, (c,)) for room in backwards if need.holds(room, (c,))), None)
            for c in classes.tolist()
        )
        self.add(column for column in alone if column is not None)

    def add(self, columns: Iterable[Column]) -> int:
        """Add sets of classes on GPUs of a room; return how many were new."""
        fitting = (column for column in columns if column[0] in self._type)
        return self._master.add((column, self._entry(*column)) for column in fitting)

    def _entry(self, room: int, members: tuple[int, ...]) -> Entry:
        count = Counter(int(self._row[class_]) for class_ in members)
        count.pop(-1, None)  # below all that is present
        count[self._classes + self._type[room]] = 1
        return Entry(list(count), list(count.values()))

    def switch(self, switch: Switch, most: int, change: Counter[int]) -> bool:
        """Let models of a group change to an option; whether that was new.

        Parameters
        ----------
        switch
            The group and the option.
        most
            Models of the group, which change to one option each.
        change
            Places that one change frees, by class; negative where it needs some.
        """
        if switch in self._switches:
            return False
        self._switches.add(switch)
        if switch[0] not in self._groups:
            self._groups[switch[0]] = self._master.add_row(float(most))
        rows: Counter[int] = Counter()
        for class_, places in change.items():
            rows[int(self._row[class_])] += places
        rows[self._groups[switch[0]]] = 1
        entry = Entry(list(rows), list(rows.values()))
        return self._master.add([(("switch", switch), entry)]) > 0

    @property
    def master(self) -> Master:
        """The program itself."""
        return self._master

    def by_class(self, duals: Duals) -> Floats:
        """Return the price of each class."""
        padded: Floats = np.concatenate([[0.0], duals.prices])
        return padded[self._row + 1]

    def solution(self) -> tuple[list[tuple[Column, float]], list[tuple[Switch, float]]]:
        """Return the columns and the changes of option that the last solution uses."""
        columns: list[tuple[Column, float]] = []
        switches: list[tuple[Switch, float]] = []
        for key, value in self._master.solution().items():
            if isinstance(key, tuple) and key[0] == "switch":
                switches.append((key[1], value))
            else:
                columns.append((cast("Column", key), value))
        return columns, switches


@dataclass(frozen=True, slots=True)
class Answer:
    """The best prices of a program, what they prove, and what it takes.

    Parameters
    ----------
    table
        Prices of the classes and worth of every room.
    excess
        Price of all models above the worth of all GPUs, as a share of it; above 0, the need
        cannot be met.
    share
        Of the fleet that meets the need in fractions of GPUs; ``inf`` where none was found.
    program
        Holds the solution of that share.
    """

    table: Tables
    excess: float
    share: float
    program: Program


class LevelProgram:
    """The program of one fleet; columns and prices found for one need serve the next.

    Attributes
    ----------
    centre
        (classes,) the best prices of the last need, the highest 1; None before the first.
    """

    def __init__(self) -> None:
        self._columns: dict[Column, None] = {}
        self.centre: Floats | None = None

    def add(self, columns: Iterable[Column], need: Need) -> None:
        """Take sets as columns; what does not fit its room loses its smallest members.

        Parameters
        ----------
        columns
            The sets, their members in any order.
        need
            Says which classes there are.
        """
        width = need.width
        for room, members in columns:
            classes = sorted((c for c in members if c % width), key=lambda c: c % width)
            while classes and not need.holds(room, classes):
                classes.pop(0)
            if classes:
                self._columns[room, tuple(sorted(classes))] = None

    def decide(
        self,
        need: Need,
        rooms: LevelRooms,
        watch: Watch,
        *,
        part: float = 0.0,
        enough: float = 1.0,
        rounds: int = ROUNDS,
    ) -> Answer:
        """Return whether a need can be met, as far as the program can say.

        Parameters
        ----------
        need, rooms
            What is to be placed where.
        watch
            Ends it early.
        part
            Go on until this part of what the columns known need above the fleet is proved: 1 for
            the least share, 0 to end once one of the two is proved.
        enough
            Share at or below which nothing less is looked for.
        rounds
            Solutions of the restricted program at most.
        """
        program = Program(need, rooms)
        program.add(self._columns or first_fit(need, rooms))
        pricing = _ClassPricing(program, need, rooms, self._columns, part, enough)
        if self.centre is not None:
            pricing.try_centre(self.centre)
        share = generate(program.master, pricing, rounds, watch)
        self.centre = pricing.centre
        return Answer(pricing.table, pricing.excess, share, program)


class _ClassPricing:
    """Prices sets of classes by dynamic programming, at prices smoothed towards the best known."""

    def __init__(
        self,
        program: Program,
        need: Need,
        rooms: LevelRooms,
        known: dict[Column, None],
        part: float,
        enough: float,
    ) -> None:
        self._program, self._need, self._rooms = program, need, rooms
        self._part, self._enough = part, enough
        self._columns, self._groups = known, need.groups()
        # The fluid bound is the first centre: prices as sizes.
        self.centre = np.tile(np.linspace(0.0, 1.0, need.width), need.kinds)
        self._excess = -1.0
        self.table, self.excess = priced(need, rooms, self.centre)

    def try_centre(self, prices: Floats) -> None:
        """Begin with some prices where they prove more."""
        found, excess = priced(self._need, self._rooms, prices)
        if excess > self.excess:
            self.table, self.excess = found, excess
            self.centre, self._excess = prices, excess

    def settled(self, share: float) -> bool:
        if self.excess > 0 and (not self._part or self.excess >= self._part * (share - 1)):
            return True
        return share <= max(self._enough, (1 + self.excess) * (1 + CONVERGED))

    def extend(self, master: Master, duals: Duals) -> bool:  # noqa: ARG002 - the program has it
        need, program, prices = self._need, self._program, self._program.by_class(duals)
        changes = sum(program.switch(*more) for more in _cheaper(need, self._groups, prices))
        added = 0
        for weight in (SMOOTH, 0.0):
            mixed = weight * self.centre + (1 - weight) * prices / max(float(prices.max()), 1e-300)
            found, more = priced(need, self._rooms, mixed)
            if more > self.excess:
                self.table, self.excess = found, more
            if more > self._excess:  # of the prices that the program gave, however poor at first
                self.centre = found.prices / max(int(found.prices.max()), 1)
                self._excess = more
            new = _dear(found, self._rooms)
            added = program.add(new)
            self._columns.update(dict.fromkeys(new))
            if added or (self.excess > 0 and not self._part):
                break
        return bool(added or changes)


def priced(need: Need, rooms: LevelRooms, prices: Floats) -> tuple[Tables, float]:
    """Round prices to integers; return them with what they prove."""
    scale = SCALE / max(float(prices.max()), 1e-300)
    whole: Ints = np.floor(prices * scale).astype(np.int64)
    table = Tables(whole, need.width, rooms.levels, nested=need.nested)
    total = need.least_price(table.prices)
    available = float((table.worth(rooms.levels) * rooms.count).sum())
    excess = total / available - 1 - 1e-12 if available > 0 else float(total > 0)
    return table, excess


def _dear(table: Tables, rooms: LevelRooms) -> list[Column]:
    """Return sets that are dear at some prices, for every room."""
    most = max(1, PICKED // len(rooms.levels))
    return [
        (room, members)
        for room in rooms.levels.tolist()
        for members in table.columns(room, most)
        if members
    ]


def _cheaper(need: Need, groups: Ints, prices: Floats) -> list[tuple[Switch, int, Counter[int]]]:
    """Return the changes of option that make models cheaper, as `Program.switch` takes them."""
    if not len(groups):
        return []
    cost = need.cost(prices)
    _, first, count = np.unique(groups, return_index=True, return_counts=True)
    best = cost[first].argmin(axis=1)
    better = cost[first, best] < cost[first, need.chosen[first]] * (1 - 1e-9)
    found = []
    for j, option, most in zip(
        first[better].tolist(), best[better].tolist(), count[better].tolist(), strict=True
    ):
        now, then = int(need.chosen[j]), option
        change = Counter({int(need.class_[j, now]): int(need.shards[j, now])})
        change[int(need.class_[j, then])] -= int(need.shards[j, then])
        found.append(((int(groups[j]), then), most, change))
    return found
