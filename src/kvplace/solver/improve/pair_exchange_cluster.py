"""Wide exchanges: up to two shards of a GPU for up to two of any other, all looked at at once.

For shards that may go anywhere by themselves: those of models that are not split and whose
copies carry even parts. What rules say of an exchange is for the board to find out.
"""

import math
from collections.abc import Iterator

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.improve.pair_exchange import subset_pairs
from kvplace.solver.instance.pressure import pressures

__all__ = ["Wide"]

MOST = 6
"""Mobile shards of a GPU that are looked at in pairs; of those beyond, none are."""
BATCH = 400_000
"""Exchanges looked at in one array operation."""


class Wide:
    """The totals of every subset of up to two mobile shards of every GPU of a board.

    Parameters
    ----------
    board
        Followed through its `Assignment.changed`, which this empties.
    """

    def __init__(self, board: Assignment) -> None:
        self._board = board
        self._first, self._second = subset_pairs(MOST, 2)
        g, width = board.instance.g, len(self._first)
        self._size, self._keep = np.empty((g, width)), np.empty((g, width))
        self._loads = np.empty((board.instance.types, board.instance.pressures, g, width))
        self._mobile: list[list[int]] = [[] for _ in range(g)]
        board.changed.clear()
        for h in range(g):
            self._refresh(h)

    def _refresh(self, g: int) -> None:
        board = self._board
        mobile = [j for j in board.members[g] if self._free(j)][:MOST]
        self._mobile[g] = mobile
        size, keep = np.full(MOST + 1, math.inf), np.zeros(MOST + 1)
        size[MOST] = 0.0  # of the absent partner of a single shard
        loads = np.zeros((*self._loads.shape[:2], MOST + 1))
        for at, j in enumerate(mobile):
            option = board.option[j]
            assert option is not None
            size[at], keep[at], loads[:, :, at] = option.size, option.keep, option.loads
        first, second = self._first, self._second
        self._size[g] = size[first] + size[second]
        self._keep[g] = keep[first] + keep[second]
        self._loads[:, :, g] = loads[:, :, first] + loads[:, :, second]

    def _free(self, j: int) -> bool:
        board = self._board
        option = board.option[j]
        assert option is not None
        return option.degree == 1 and not (board.instance.is_uneven(j) and option.copies > 1)

    def exchanges(self, g: int, partners: Ints, goal: float, most: int) -> Iterator[list[Change]]:
        """Yield exchanges of a GPU with others that leave both below a pressure, the best first.

        Parameters
        ----------
        g
            The GPU to relieve.
        partners
            GPUs to exchange with.
        goal
            Pressure not to reach.
        most
            Exchanges yielded at most.
        """
        self._sync()
        mine = np.flatnonzero(self._size[g] < math.inf)
        width = len(self._first)
        step = max(1, BATCH // (len(mine) * width))
        values, places = [], []
        for start in range(0, len(partners), step):
            value = self._values(g, mine, partners[start : start + step]).ravel()
            good = np.flatnonzero(value < goal)
            values.append(value[good])
            places.append(good + start * len(mine) * width)
        value, place = np.concatenate(values), np.concatenate(places)
        order = np.argsort(value, kind="stable")[:most]
        for number in place[order].tolist():
            partner, rest = divmod(number, len(mine) * width)
            row, column = divmod(rest, width)
            h = int(partners[partner])
            changes = self._changes(g, self._subset(g, int(mine[row])), h, self._subset(h, column))
            if changes:
                yield changes

    def trades(
        self, j: int, copy: tuple[int, ...], goal: float, most: int
    ) -> Iterator[list[Change]]:
        """Yield ways for a copy of a split model to trade places within another link domain.

        Each of its shards goes to a GPU there and takes back up to two of its mobile shards.

        Parameters
        ----------
        j, copy
            The model and the GPUs of the copy.
        goal
            Pressure not to reach on any GPU.
        most
            Domains at most.
        """
        self._sync()
        board, instance = self._board, self._board.instance
        option = board.option[j]
        assert option is not None
        may = instance.columns.allowed[j] & (
            instance.columns.domain_of != instance.columns.domain_of[copy[0]]
        )
        may[[g for other in board.where[j] for g in other]] = False
        partners = np.flatnonzero(may)
        if not len(partners):
            return
        own = (
            np.array([float(option.size)]), np.array([float(option.keep)]),
            np.array(option.loads)[:, :, None],
        )  # fmt: skip
        rows, subsets = [], []
        for g in copy:
            value = self._between(g, own, partners)[:, 0]
            subsets.append(value.argmin(axis=1))
            row = np.full(instance.g + 1, math.inf)
            row[partners] = value.min(axis=1)
            rows.append(row[instance.columns.domains])
        # A domain is worth what the last of its best GPUs gives the first shard.
        ranked = np.sort(rows[0], axis=1)[:, min(len(copy), rows[0].shape[1]) - 1]
        good = np.flatnonzero(ranked < goal)
        place = {int(h): at for at, h in enumerate(partners)}
        for domain in good[np.argsort(ranked[good], kind="stable")][:most].tolist():
            found = self._seated(copy, [row[domain] for row in rows], domain, goal)
            if found is not None:
                backs = [self._subset(h, int(subsets[i][place[h]])) for i, h in enumerate(found)]
                changes = self._traded(j, copy, found, backs)
                if changes:
                    yield changes

    def _seated(
        self, copy: tuple[int, ...], values: list[Floats], domain: int, goal: float
    ) -> list[int] | None:
        """Return a GPU of a domain for each shard, each the best that is left, or None."""
        left = self._board.instance.columns.domains[domain].tolist()
        seats: list[int] = []
        for i in range(len(copy)):
            worth = [(float(values[i][at]), h) for at, h in enumerate(left) if h not in seats]
            best, h = min(worth, default=(math.inf, -1))
            if best >= goal:
                return None
            seats.append(h)
        return seats

    def _traded(
        self, j: int, copy: tuple[int, ...], seats: list[int], backs: list[list[int]]
    ) -> list[Change]:
        """Return the changes of a trade; none where a model would meet itself or may not go."""
        board, allowed = self._board, self._board.instance.columns.allowed
        where = tuple(tuple(sorted(seats)) if c == copy else c for c in board.where[j])
        changes: list[Change] = [(j, board.option[j], where)]
        moved: set[int] = set()
        for g, h, back in zip(copy, seats, backs, strict=True):
            for i in back:
                if i in moved or i in board.members[g] or not allowed[i][g]:
                    return []
                moved.add(i)
                there = tuple((g,) if c == (h,) else c for c in board.where[i])
                changes.append((i, board.option[i], there))
        return changes

    def _sync(self) -> None:
        for changed in self._board.changed:
            self._refresh(changed)
        self._board.changed.clear()

    def _values(self, g: int, mine: Ints, batch: Ints) -> Floats:
        """Return the larger pressure after each exchange: (partners, own subsets, theirs)."""
        own = self._size[g, mine], self._keep[g, mine], self._loads[:, :, g, mine]
        return self._between(g, own, batch)

    def _between(self, g: int, own: tuple[Floats, Floats, Floats], batch: Ints) -> Floats:
        """Return the larger pressure where a GPU gives size, KV and loads for subsets of others."""
        board, kv = self._board, self._board.instance.kv
        size_a, keep_a, loads_a = own
        size = size_a[None, :, None] - self._size[batch][:, None, :]
        keep = keep_a[None, :, None] - self._keep[batch][:, None, :]
        type_g, type_h = board.instance.type_at(g), board.instance.columns.type_of[batch]
        here, there = [], []
        for at, load in enumerate(board.arrays.load):
            given, taken = loads_a[:, at], self._loads[:, at]
            here.append(load[g] - given[type_g][None, :, None] + taken[type_g, batch][:, None, :])
            more = given[type_h][:, :, None] - taken[type_h, batch][:, None, :]
            there.append(load[batch][:, None, None] + more)
        free_g, free_h = board.arrays.free[g] + size, board.arrays.free[batch][:, None, None] - size
        kept_h = board.arrays.kept[batch][:, None, None] + keep
        return np.maximum(
            pressures(free_g, board.arrays.kept[g] - keep, here, kv),
            pressures(free_h, kept_h, there, kv),
        )

    def _subset(self, g: int, number: int) -> list[int]:
        held = self._mobile[g]
        places = (int(self._first[number]), int(self._second[number]))
        return [held[at] for at in places if at < len(held)]

    def _changes(self, g: int, out: list[int], h: int, back: list[int]) -> list[Change]:
        """Return the changes of an exchange; none where a model would meet itself or may not go."""
        board, allowed = self._board, self._board.instance.columns.allowed
        if any(j in board.members[h] or not allowed[j][h] for j in out):
            return []
        if any(j in board.members[g] or not allowed[j][g] for j in back):
            return []
        return [
            (
                j,
                board.option[j],
                tuple((there,) if copy == (here,) else copy for copy in board.where[j]),
            )
            for here, there, models in ((g, h, out), (h, g, back))
            for j in models
        ]
