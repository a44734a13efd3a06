"""Rounding: whole configurations out of the fractions of a program, by diving.

What the program uses of a configuration in whole numbers is kept, which costs nothing; of the
rest the largest fractions are rounded up, and the program is asked again about what is left
(Wäscher and Gau, OR Spektrum 18, 1996).
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.level_program import LevelProgram
from kvplace.solver.column_generation.levels import Column, LevelRooms, Need, Switch

FEW = 0.25
"""Part of the GPUs that whole numbers fill below which fractions are rounded up too."""
DIVES = 40
"""Programs asked at most."""
WHOLE = 1e-6
"""Distance from a whole number that counts as none."""
KEPT = 0.25
"""Part of the fractions, by number, that are rounded up before the program is asked again."""


@dataclass(slots=True)
class Configured:
    """What a program came to.

    Parameters
    ----------
    held
        Room of a GPU and classes on it, and on how many GPUs.
    option
        (m,) the option of each model of `Need` that has several.
    left
        Shards of each class that are in no configuration.
    """

    held: Counter[Column] = field(default_factory=Counter)
    option: Ints = field(default_factory=lambda: np.array([], dtype=np.int64))
    left: Counter[int] = field(default_factory=Counter)


class _Dive:
    """A need that is met step by step."""

    def __init__(self, need: Need, rooms: LevelRooms) -> None:
        self.need = need
        self.bins = Counter(dict(zip(rooms.levels.tolist(), map(int, rooms.count), strict=True)))
        self.left = np.round(need.demand).astype(np.int64)
        self.option = need.chosen.copy()
        self.open: Ints = np.arange(len(need.chosen))
        self.held: Counter[Column] = Counter()

    def rest(self) -> tuple[Need, LevelRooms]:
        """Return what is left as a need, and the rooms that are left."""
        need, open_ = self.need, self.open
        levels = np.array(sorted(room for room, count in self.bins.items() if count))
        count = np.array([float(self.bins[room]) for room in levels.tolist()])
        rest = Need(
            self.left.astype(np.float64), need.class_[open_], need.shards[open_],
            self.option[open_], need.kinds, single=need.single, nested=need.nested,
        )  # fmt: skip
        return rest, LevelRooms(levels, count)

    def settle(self, groups: Ints, switches: list[tuple[Switch, float]]) -> None:
        """Change the options of models by whole numbers; those of a fraction stay open."""
        need, open_, kept = self.need, self.open, set()
        members = {group: np.flatnonzero(groups == group).tolist() for (group, _), _ in switches}
        for (group, option), value in switches:
            whole, could = int(value + WHOLE), members[group]
            for _ in range(min(whole, len(could))):
                j = int(open_[could.pop()])
                now = self.option[j]
                if self.left[need.class_[j, now]] < need.shards[j, now]:
                    continue  # its shards have places already
                self.left[need.class_[j, now]] -= need.shards[j, now]
                self.left[need.class_[j, option]] += need.shards[j, option]
                self.option[j] = option
            if value - whole > WHOLE and could:
                kept.add(int(open_[could[-1]]))
        self.open = np.array(sorted(kept), dtype=np.int64)

    def take(self, columns: Iterable[tuple[Column, int]]) -> int:
        """Use configurations so many times each; return on how many GPUs they hold something.

        A place for a level serves the highest level up to it of which something is left, that of
        a split shard an undivided one where no split one is.
        """
        used, width, nested = [], self.need.width, self.need.nested
        supply = np.zeros(len(self.left), dtype=np.int64)
        for (room, members), times in columns:
            many = min(times, self.bins[room])
            if many:
                used.append((room, members, many))
                self.bins[room] -= many
                np.add.at(supply, list(members), many)
        served = self._serve(supply)
        placed = 0
        for room, members, many in used:
            for _ in range(many):
                sources = (served[c] or served[c if nested else c % width] for c in members)
                found = tuple(sorted(source.pop() for source in sources if source))
                if found:
                    self.held[room, found] += 1
                    placed += 1
                else:
                    self.bins[room] += 1
        return placed

    def _serve(self, supply: Ints) -> dict[int, list[int]]:
        """Take what is left for the places of each class, the lowest places first.

        Places of the last kind go first, and what they do not hold is that of the first kind.
        """
        width = self.need.width
        served: dict[int, list[int]] = {level: [] for level in range(width)}
        begins = range(0, len(supply), width)
        for begin in begins if self.need.nested else reversed(begins):
            below: list[int] = []
            some = slice(begin, begin + width)
            for level in np.flatnonzero((supply[some] > 0) | (self.left[some] > 0)).tolist():
                class_ = begin + level
                if self.left[class_]:
                    below.append(class_)
                found: list[int] = []
                while below and len(found) < supply[class_]:
                    many = min(int(supply[class_]) - len(found), int(self.left[below[-1]]))
                    found += [below[-1]] * many
                    self.left[below[-1]] -= many
                    if not self.left[below[-1]]:
                        below.pop()
                while self.need.nested and len(found) < supply[class_]:
                    lower = self._lower(begin // width, level)
                    if lower < 0:
                        break
                    many = min(int(supply[class_]) - len(found), int(self.left[lower]))
                    found += [lower] * many
                    self.left[lower] -= many
                served[class_] = found
                if begin and not self.need.nested:
                    supply[level] += supply[class_] - len(found)
        return served

    def _lower(self, kind: int, level: int) -> int:
        """Return the largest class left that goes wherever a class goes, -1 for none."""
        rows = self.left.reshape(-1, self.need.width)[:kind, 1 : level + 1]
        at = np.flatnonzero(rows.any(axis=0))
        if not len(at):
            return -1
        of = int(np.flatnonzero(rows[:, at[-1]])[-1])
        return of * self.need.width + int(at[-1]) + 1


def round_off(program: LevelProgram, need: Need, rooms: LevelRooms, watch: Watch) -> Configured:
    """Meet a need by whole configurations, as nearly as diving does.

    Parameters
    ----------
    program
        Asked for fractions.
    need, rooms
        What is to be placed where, of one kind that any GPU with room holds, and of kinds of
        which each holds one shard.
    watch
        Ends it early; what is not placed by then is left.
    """
    dive = _Dive(need, rooms)
    for _ in range(DIVES):
        rest, where = dive.rest()
        if watch.stop or not rest.demand.any() or not len(where.levels):
            break
        answer = program.decide(rest, where, watch, part=1.0, enough=0.0)
        columns, switches = answer.program.solution()
        if need.nested:  # what needs a share of the GPUs of each room, often of one, may have all
            columns = [(column, value / min(1.0, answer.share)) for column, value in columns]
        dive.settle(rest.groups(), switches)
        placed = dive.take((column, int(value + WHOLE)) for column, value in columns)
        parts = sorted(
            ((value % 1, column) for column, value in columns if WHOLE < value % 1 < 1 - WHOLE),
            key=lambda part: (-part[0], part[1]),
        )
        most = math.ceil(KEPT * len(parts))
        if placed < FEW * where.count.sum():
            placed += dive.take((column, 1) for _, column in parts[:most])
        if not placed:
            break
    left = Counter({x: int(k) for x, k in enumerate(dive.left.tolist()) if k > 0})
    return Configured(dive.held, dive.option, left)
