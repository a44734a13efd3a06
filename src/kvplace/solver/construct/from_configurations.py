"""Configure: an assignment built from the configurations of a program on levels.

What is split goes first, each shard where most room is left. The program then says which levels
of size the other shards should fill each GPU with, and how hot models are copied; shards of a
level are put into its places, those first of which rules speak.
"""

import math
from bisect import bisect_right
from operator import itemgetter

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.bisection import bisect, reach_above
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.diving import Configured, round_off
from kvplace.solver.column_generation.size_classes import (
    LevelProgram,
    LevelRooms,
    Need,
    need_of,
    several_of,
)
from kvplace.solver.construct.best_fit_index import Rooms
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

__all__ = ["Configurer"]

TARGETS = 8
"""Targets tried, each further above the bound."""
SPARE = 1.0
"""GPUs that the program leaves, for what rounding costs."""
MORE, MOST = 0.02, 64.0
"""Parts above the bound at which what is split is placed where it finds no room below: the first,
doubled each time, and the last."""
MOST_STEP = 0.2
"""Relative step at most from a target that is not met to the next."""
ROUNDS = 40
"""Solutions of the restricted program after which a target counts as not met."""
ABOVE = 8e-3
"""Relative distance from a bound of the first target."""
NEAR = 3e-3
"""Relative distance of two targets, one met and one not, at which no other is tried."""
GRIDS = ((5_000, 2048), (30_000, 1024), (math.inf, 256))
"""Models up to which the largest GPU has so many levels: each set must fit well where there are
few, and exchanges make up for it where there are many."""
WINDOW = 0.004
"""Part of the largest GPU by which a place taken for a copy under rules is larger than it, if that
can be; half of it by which it may be smaller."""
SETS, GPUS = 64, 16
"""Sets with a place for a copy that are looked at, and GPUs for each."""


class Configurer:
    """Builds assignments of one instance.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of the order in which GPUs of one room are filled.

    Attributes
    ----------
    target
        The last one that the program met; ``inf`` for none.
    """

    def __init__(self, chooser: Chooser, seed: int) -> None:
        self._chooser, self._instance = chooser, chooser.instance
        self._program = LevelProgram()
        self._grid = next(grid for most, grid in GRIDS if self._instance.n <= most)
        self._unit = float(self._instance.memory[0]) / self._grid
        self._keeps = self._instance.columns.keeps
        self.target: float = math.inf
        self._order = np.random.default_rng(seed).permutation(self._instance.g)

    def build(self, low: float, watch: Watch) -> Assignment | None:
        """Return an assignment at the first target above a bound at which the program is met.

        None where what is split finds no room, or time is up.
        """
        found = None if self._keeps else self._from_one_split(low, watch)
        found = found or self._from_many_splits(low, watch)
        if found is None:
            return None
        board, part, target = found
        self.target = target
        need = part.need(target, self._grid, self._unit)
        levels = self._room(board, target)
        configured = round_off(self._program, need, _counted(levels), watch)
        watch.tell("configure")
        _Filler(board, part, configured, levels, self._order, self._grid).run(target)
        return board

    def _from_one_split(self, low: float, watch: Watch) -> "_Found | None":
        """Return the lowest target met with what is split placed once, at the first it can be."""
        above, begun = 0.0, None
        while begun is None:
            target = low * (1 + above)
            begun = self._begun(target)
            above = max(2 * above, MORE)
            if watch.stop or (begun is None and above > MOST):
                return None
        target = self._aimed(*begun, target, watch)
        return None if target == math.inf else (*begun, target)

    def _from_many_splits(self, low: float, watch: Watch) -> "_Found | None":
        """Return the lowest target met with what is split placed anew for each.

        The KV that must be left takes no less room at a higher target, so a share that is missing
        does not say how far to go: the steps grow with each target that is not met.
        """
        best: list[_Found] = []

        def met(target: float) -> "_Found | None":
            begun = self._begun(target)
            if begun is None or self._share(*begun, target, watch) > 1 or watch.stop:
                return None
            best.append((*begun, target))
            return best[-1]

        _, failed, high = reach_above(met, low, MORE, MOST, watch)
        if best:
            bisect(lambda target: met(target) is None, failed, high, width=NEAR, watch=watch)
        return best[-1] if best else None

    def _begun(self, target: float) -> "tuple[Assignment, _Part] | None":
        """Return a board with what is split at a target, if it finds room, and the rest."""
        options = self._chooser.pick(target, self._chooser.caps()[0])
        board = self._split(options, target, apart=True)
        board = board or self._split(options, target, apart=False)
        if board is None:
            return None
        whole = [j for j, option in enumerate(options) if option.degree == 1]
        return board, _Part(self._chooser, whole)

    def _share(
        self,
        board: Assignment,
        part: "_Part",
        target: float,
        watch: Watch,
        *,
        whole: bool = False,
    ) -> float:
        """Return the share of the fleet, but for what is spared, that the rest needs."""
        need = part.need(target, self._grid, self._unit)
        rooms = _counted(self._room(board, target))
        spared = LevelRooms(rooms.levels, rooms.count * (1 - SPARE / self._instance.g))
        return self._program.decide(need, spared, watch, whole=whole, rounds=ROUNDS).share

    def _aimed(self, board: Assignment, part: "_Part", low: float, watch: Watch) -> float:
        """Return the lowest target found that the program meets."""
        target, high = low * (1 + ABOVE), math.inf
        for _ in range(TARGETS):
            share = self._share(board, part, target, watch, whole=high == math.inf)
            if watch.stop:
                break
            if share <= 1:
                high = target
            else:
                low = target
            if high <= low * (1 + NEAR):
                break
            step = min(max(self._step(board, part, target, share - 1), ABOVE / 4), MOST_STEP)
            target = (low + high) / 2 if high < math.inf else target * (1 + step)
        return high

    def _split(self, options: list[Option], target: float, *, apart: bool) -> Assignment | None:
        """Return a board with the models that are split, those with most shards first.

        Each goes where most room is left, or, where that leaves none for some, least.
        """
        board = Assignment(self._instance)
        rooms = Rooms(board, target)
        split = [j for j, option in enumerate(options) if option.degree > 1]
        split.sort(key=lambda j: (-options[j].degree, -options[j].size, j))
        if not all(rooms.place(j, options[j], apart=apart) for j in split):
            return None
        return board

    def _room(self, board: Assignment, target: float) -> Ints:
        """Return (g,) room of each GPU in levels."""
        room = np.rint((board.arrays.free - board.arrays.load[0] / target) / self._unit)
        if self._keeps:
            kept = np.floor((board.arrays.free - board.arrays.kept) / self._unit)
            room = np.minimum(room, kept)
        levels: Ints = np.clip(room, 0, self._grid).astype(np.int64)
        return levels

    def _step(self, board: Assignment, part: "_Part", target: float, missing: float) -> float:
        """Return the relative step to the target at which a share of the fleet is gained."""
        load = float(board.arrays.load.sum()) + part.load
        return missing * float(sum(self._instance.memory)) * target / max(load, 1e-300)


_Found = tuple[Assignment, "_Part", float]


def _counted(levels: Ints) -> LevelRooms:
    """Return GPUs by their room, those without any left out."""
    rooms, count = np.unique(levels[levels > 0], return_counts=True)
    return LevelRooms(rooms, count.astype(np.float64))


class _Part:
    """The models that are not split.

    Attributes
    ----------
    models
        (m,) which they are.
    level, option
        (m, o) level of a shard of each option, and (m,) the option of each, at the last target.
    load
        What they carry together.
    """

    def __init__(
        self, chooser: Chooser, models: list[int], given: dict[int, Option] | None = None
    ) -> None:
        self.models: Ints = np.array(models, dtype=np.int64)
        self._chooser = chooser
        rows = [chooser.instance.options[j] for j in models]
        width = max(map(len, rows), default=1)
        fits = [
            [o is given[j] if given else o.degree == 1 for o in row]
            for j, row in zip(models, rows, strict=True)
        ]
        self._undivided = np.array([row + [False] * (width - len(row)) for row in fits])
        self._width = width
        self.load = sum(row[0].load * row[0].shards for row in rows)
        self.level: Ints = np.zeros((0, 1), dtype=np.int64)
        self.option: Ints = np.zeros(0, dtype=np.int64)
        self._several: Ints = self.option

    def need(self, target: float, grid: int, unit: float) -> Need:
        """Return what they need, each size rounded to the nearest level; what must fit, up."""
        room, _, fits = self._chooser.room(target)
        each, fit = room[self.models, : self._width], fits[self.models, : self._width]
        shards = self._chooser.sure_options[2][self.models, : self._width]
        fit = fit & self._undivided.reshape(fit.shape)
        keeps = self._chooser.instance.columns.keeps
        if keeps:
            least = self._chooser.least[self.models, : self._width]
            each = np.maximum(each, least)
        level = np.maximum(np.rint(np.where(fit, each, 0.0) / unit), 1.0).astype(np.int64)
        if keeps:
            whole = np.ceil(np.where(fit, least, 0.0) / unit).astype(np.int64)
            level = np.maximum(level, np.minimum(whole, grid))
        self.level = np.where(fit, level, 0)
        need, self.option = need_of(grid, self.level, each, shards, fit)
        self._several = several_of(fit)
        return need

    def choose(self, option: Ints) -> None:
        """Take the options of the models that have several."""
        self.option[self._several] = option

    @property
    def chosen(self) -> list[tuple[int, Option, int]]:
        """Each model, its option and the level of its shards."""
        options = self._chooser.instance.options
        levels = self.level[np.arange(len(self.option)), self.option]
        return [
            (j, options[j][at], level)
            for j, at, level in zip(
                self.models.tolist(), self.option.tolist(), levels.tolist(), strict=True
            )
        ]


class _Filler:
    """Puts shards into the places that configurations have for their levels."""

    def __init__(
        self,
        board: Assignment,
        part: _Part,
        found: Configured,
        levels: Ints,
        order: Ints,
        grid: int,
    ) -> None:
        self._board, self._part, self._unit = (
            board,
            part,
            float(board.instance.columns.memory[0]) / grid,
        )
        near = max(1, round(WINDOW * grid))
        self._near = sorted(range(-near // 2, near + 1), key=lambda off: (abs(off), -off))
        self._near += [*range(near + 1, grid // 4), *range(-near // 2 - 1, -grid // 4, -1)]
        part.choose(found.option)
        # GPUs of each room that no set has yet, and sets with places for each level.
        self._gpus: dict[int, list[int]] = {}
        for g in order.tolist():
            self._gpus.setdefault(int(levels[g]), []).append(g)
        self._sets: list[int] = []
        self._gpu_of: list[int] = []
        self._places: dict[int, list[int]] = {}
        for (room, members), times in sorted(found.held.items()):
            for _ in range(times):
                for level in members:
                    self._places.setdefault(level, []).append(len(self._sets))
                self._sets.append(room)
        self._gpu_of = [-1] * len(self._sets)

    def run(self, target: float) -> None:
        """Place all models, those of which rules speak first; what finds no place goes last."""
        board, free, left = self._board, [], []
        chosen = self._part.chosen
        chosen.sort(key=lambda item: (-item[1].copies, -item[2], item[0]))
        for j, option, level in chosen:
            if option.copies == 1 and self._anywhere(j):
                free.append((j, option, level))
            elif not self._place(j, option, level):
                left.append((j, option))
        left += self._match(free, target)
        for j, option in left:
            if not place_model(board, j, option, target, tight=True):
                place_model(board, j, option)

    def _match(
        self, free: list[tuple[int, Option, int]], target: float
    ) -> list[tuple[int, Option]]:
        """Put models that may go anywhere into the places left; return those too many.

        The models of a level are shared out so that the last place of each set takes the one
        that fills its GPU best: what rounding to levels does to the others evens out.
        """
        board = self._board
        items = sorted(
            ((_taken(option, target), j, option) for j, option, _ in free),
            key=itemgetter(0, 1),
        )
        places = [(level, n) for level in sorted(self._places) for n in self._places[level]]
        excess = max(0, len(items) - len(places))
        places = places[max(0, len(places) - len(items)) :]
        shared: dict[int, list[tuple[float, int, Option]]] = {}
        of_set: dict[int, list[int]] = {}
        for (level, number), item in zip(places, items[excess:], strict=True):
            shared.setdefault(level, []).append(item)
            of_set.setdefault(number, []).append(level)
        changes: list[Change] = []
        for number, levels in sorted(of_set.items()):
            g = self._bound(number)
            taken = max(board.arrays.load[0, g] / target, board.arrays.kept[g])
            rest = float(board.arrays.free[g] - taken)
            for level in levels[:0:-1]:
                room, j, option = shared[level].pop()
                rest -= room
                changes.append((j, option, ((g,),)))
            _, j, option = _nearest(shared[levels[0]], rest)
            changes.append((j, option, ((g,),)))
        board.apply(changes)
        return [(j, option) for _, j, option in items[:excess]] + self._overfull()

    def _overfull(self) -> list[tuple[int, Option]]:
        """Take the smallest models that may go anywhere off GPUs whose memory is exceeded."""
        board, taken = self._board, []
        for g in np.flatnonzero(np.isinf(board.arrays.pressure)).tolist():
            movable = [
                (option.size, j, option)
                for j, option in ((j, board.option[j]) for j in board.members[g])
                if option is not None and option.shards == 1 and self._anywhere(j)
            ]
            for _, j, option in sorted(movable, key=itemgetter(0, 1)):
                board.apply([(j, None, ())])
                taken.append((j, option))
                if board.arrays.pressure[g] < math.inf:
                    break
        return taken

    def _anywhere(self, j: int) -> bool:
        """Whether a model may go anywhere."""
        instance = self._board.instance
        return self._board.costs.free(j) and instance.anywhere(j)

    def _bound(self, at: int) -> int:
        """Return the GPU of a set, given one where it has none."""
        if self._gpu_of[at] < 0:
            self._gpu_of[at] = self._gpus[self._sets[at]].pop()
        return self._gpu_of[at]

    def _place(self, j: int, option: Option, level: int) -> bool:
        """Place all copies of a model of which rules speak, or none of them."""
        used: list[tuple[int, int]] = []
        for _ in range(option.copies):
            found = self._seat(j, option, level)
            if found is None:
                self._board.apply([(j, None, ())])
                for place, number in used:
                    self._places[place].append(number)
                return False
            used.append(found)
        return True

    def _seat(self, j: int, option: Option, level: int) -> tuple[int, int] | None:
        """Place one more copy where nothing is broken by it; return level and set of its place."""
        for off in self._near:
            found = self._seat_at(j, option, level + off)
            if found is not None:
                return level + off, found
        return None

    def _seat_at(self, j: int, option: Option, level: int) -> int | None:
        """Place one more copy in a place for a level; return its set."""
        board, costs, allowed = (
            self._board,
            self._board.costs,
            self._board.instance.columns.allowed[j],
        )
        copies = board.where[j]
        taken = {g for copy in copies for g in copy}
        broken, vector = costs.broken, costs.vector
        places = self._places.get(level, [])
        for at in range(len(places) - 1, max(-1, len(places) - 1 - SETS), -1):
            number = places[at]
            gpus = self._gpus[self._sets[number]]
            bound = self._gpu_of[number] >= 0
            tried = [self._gpu_of[number]] if bound else gpus[: -1 - GPUS : -1]
            for back, g in enumerate(tried):
                if g in taken or not allowed[g]:
                    continue
                seat = (*copies, (g,))
                costs.update(j, copies, seat)
                held = costs.broken <= broken and costs.vector <= vector
                costs.update(j, seat, copies)
                if held:
                    if not bound:
                        self._gpu_of[number] = gpus.pop(len(gpus) - 1 - back)
                    board.apply([(j, option, seat)])
                    return places.pop(at)
        return None


def _taken(option: Option, target: float) -> float:
    """Return the room that a shard takes at a target, the KV that must be left included."""
    return option.size + max(option.load / target, option.keep)


def _nearest(items: list[tuple[float, int, Option]], room: float) -> tuple[float, int, Option]:
    """Take the item out of a sorted list that fills some room best."""
    at = bisect_right(items, room, key=itemgetter(0))
    if at == len(items) or (at and room - items[at - 1][0] <= items[at][0] - room):
        at -= 1
    return items.pop(at)
