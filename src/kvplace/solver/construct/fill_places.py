"""Filling configurations: shards into the places for their levels, rules first."""

import math
from bisect import bisect_right
from operator import itemgetter

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.diving import Configured
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.excess import Sharing, crowd, lower_excess
from kvplace.solver.construct.open_domains import OpenDomains
from kvplace.solver.construct.program_models import ProgramModels
from kvplace.solver.construct.rematch import room_alone
from kvplace.solver.instance.instance import Option

WINDOW = 0.004
"""Part of the largest GPU by which a place taken for a copy under rules is larger than it, if that
can be; half of it by which it may be smaller."""
ABOVE = 0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32
"""Parts above the target at which what GPUs hold too much is exchanged away, until nothing is."""
SETS, GPUS = 64, 16
"""Sets with a place for a copy that are looked at, and GPUs for each."""


class PlaceFiller:
    """Puts shards into the places that configurations have for their levels.

    Parameters
    ----------
    board
        What is split already; changed in place.
    part
        The other models.
    found
        The configurations.
    levels
        (g,) room of each GPU, as the configurations have it.
    order
        (g,) in which GPUs of one room are filled.
    grid
        Levels of the largest GPU.
    sharing
        As of `lower_excess`.
    """

    def __init__(
        self,
        board: Assignment,
        part: ProgramModels,
        found: Configured,
        levels: Ints,
        order: Ints,
        grid: int,
        sharing: Sharing | None = None,
    ) -> None:
        self._board, self._part, self._sharing = board, part, sharing
        near = max(1, round(WINDOW * grid))
        self._near = sorted(range(-near // 2, near + 1), key=lambda off: (abs(off), -off))
        self._near += [*range(near + 1, grid // 4), *range(-near // 2 - 1, -grid // 4, -1)]
        part.choose(found.option)
        self._width = grid + 1
        # GPUs of each room that no set has yet, and sets with places for each level.
        self._gpus: dict[int, list[int]] = {}
        for g in order.tolist():
            self._gpus.setdefault(int(levels[g]), []).append(g)
        self._room_of = {room // self._width: room for room in self._gpus}
        self._sets: list[int] = []
        self._places: dict[int, list[int]] = {}
        for (room, members), times in sorted(found.held.items()):
            for _ in range(times):
                for level in members:
                    self._places.setdefault(level, []).append(len(self._sets))
                self._sets.append(room)
        self._gpu_of = [-1] * len(self._sets)

    def run(self, target: float, watch: Watch) -> None:
        """Place all models, those of which rules speak first; what finds no place goes last.

        What levels made of sizes is evened out by exchanges before.

        Parameters
        ----------
        target
            In load per byte.
        watch
            Ends it early.
        """
        board, free = self._board, []
        chosen = self._part.chosen
        chosen.sort(key=lambda item: (-item[1].degree, -item[1].copies, -item[2], item[0]))
        split = [item for item in chosen if item[1].degree > 1]
        left = self._place_split(split) if split else []
        for j, option, level in chosen[len(split) :]:
            if option.copies == 1 and self._anywhere(j):
                free.append((j, option, level))
            elif not self._place(j, option, level):
                left.append((j, option))
        left += self._match(free, target)
        lower_excess(board, target, watch, self._sharing)
        for j, option in sorted(left, key=lambda item: (-item[1].size, item[0])):
            if watch.stop:
                return
            if not place_model(board, j, option, target, tight=True):
                crowd(board, j, target)
        for above in ABOVE if self._sharing is None else ABOVE[:1]:
            excess = lower_excess(board, target * (1 + above), watch, self._sharing)
            if excess <= 0 or watch.stop:
                break
        if self._sharing is not None:
            return  # the little that is too much is placed anew at higher targets
        left = [(j, option) for j, option, _ in chosen if not board.where[j]]
        for j, option in left + self._overfull():
            if watch.stop:
                return
            place_model(board, j, option)

    def _place_split(self, models: list[tuple[int, Option, int]]) -> list[tuple[int, Option]]:
        """Place split models, each copy in one link domain; return what found no place.

        Places that are left are for what is not split.
        """
        left = []
        domains = OpenDomains(self._board, self._gpus)
        for j, option, class_ in models:
            places = self._places.get(class_, [])
            kind = class_ // self._width
            if len(places) < option.shards or not domains.place(j, option, self._room_of[kind]):
                left.append((j, option))
                continue
            for copy in self._board.where[j]:
                for g in copy:
                    self._gpu_of[places.pop()] = g
        for class_ in [class_ for class_ in self._places if class_ >= self._width]:
            self._places.setdefault(class_ % self._width, []).extend(self._places.pop(class_))
        for room, gpus in self._gpus.items():
            self._gpus[room] = [g for g in gpus if not self._board.members[g]]
        return left

    def _match(
        self, free: list[tuple[int, Option, int]], target: float
    ) -> list[tuple[int, Option]]:
        """Put models that may go anywhere into the places left; return those too many.

        The models of a level are shared out so that the last place of each set takes the one
        that fills its GPU best: what rounding to levels does to the others evens out.
        """
        board = self._board
        of_level: dict[int, list[tuple[float, int, Option]]] = {}
        for j, option, level in free:
            of_level.setdefault(level, []).append((option.taken(target), j, option))
        pairs: list[tuple[int, int, tuple[float, int, Option]]] = []
        items: list[tuple[float, int, Option]] = []
        places: list[tuple[int, int, int]] = []
        for level in sorted({*of_level, *self._places}):
            held = sorted(of_level.get(level, []), key=itemgetter(0, 1))
            open_ = self._places.get(level, [])
            many = min(len(held), len(open_))
            apart = len(held) - many
            pairs += zip([level] * many, open_, held[apart:], strict=False)
            items += held[:apart]
            places += [(level % self._width, level, n) for n in open_[many:]]
        items.sort(key=itemgetter(0, 1))
        places.sort()
        excess = max(0, len(items) - len(places))
        places = places[max(0, len(places) - len(items)) :]
        pairs += [
            (level, n, item) for (_, level, n), item in zip(places, items[excess:], strict=True)
        ]
        shared: dict[int, list[tuple[float, int, Option]]] = {}
        of_set: dict[int, list[int]] = {}
        for level, number, item in pairs:
            shared.setdefault(level, []).append(item)
            of_set.setdefault(number, []).append(level)
        for taken in shared.values():
            taken.sort(key=itemgetter(0, 1))
        changes: list[Change] = []
        left = [(j, option) for _, j, option in items[:excess]]
        # What is too large by what levels round off is exchanged later.
        alone = room_alone(board.instance.columns)
        if not self._part.nested:  # where GPUs of each size have classes of their own
            alone += board.instance.memory[0] / self._width

        def put(item: tuple[float, int, Option], g: int) -> None:
            room, j, option = item
            if max(room, option.size + option.keep) <= alone[g]:
                changes.append((j, option, ((g,),)))
            else:
                left.append((j, option))

        for number, levels in sorted(of_set.items()):
            g = self._bound(number)
            taken = max(board.arrays.load[0, g] / target, board.arrays.kept[g])
            rest = float(board.arrays.free[g] - taken)
            for level in levels[:0:-1]:
                item = shared[level].pop()
                rest -= item[0]
                put(item, g)
            put(_nearest(shared[levels[0]], rest), g)
        board.apply(changes)
        return left

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
        refused: set[tuple[int, ...]] = set()
        for off in self._near:
            found = self._seat_at(j, option, level + off, refused)
            if found is not None:
                return level + off, found
        return None

    def _seat_at(
        self, j: int, option: Option, level: int, refused: set[tuple[int, ...]]
    ) -> int | None:
        """Place one more copy in a place for a level; return its set.

        GPUs of which rules tell what they tell of one that they refused are passed over.
        """
        board, costs = self._board, self._board.costs
        allowed, copies = board.instance.columns.allowed[j], board.where[j]
        taken = {g for copy in copies for g in copy}
        places = self._places.get(level, [])
        for at in range(len(places) - 1, max(-1, len(places) - 1 - SETS), -1):
            number = places[at]
            gpus = self._gpus[self._sets[number]]
            bound = self._gpu_of[number] >= 0
            tried = [self._gpu_of[number]] if bound else gpus[: -1 - GPUS : -1]
            for back, g in enumerate(tried):
                if g in taken or not allowed[g]:
                    continue
                labels = costs.labels(j, g)
                if labels in refused:
                    continue
                seat = (*copies, (g,))
                refused.add(labels)
                if costs.spares(j, copies, seat):
                    if not bound:
                        self._gpu_of[number] = gpus.pop(len(gpus) - 1 - back)
                    board.apply([(j, option, seat)])
                    return places.pop(at)
        return None


def _nearest(items: list[tuple[float, int, Option]], room: float) -> tuple[float, int, Option]:
    """Take the item out of a sorted list that fills some room best."""
    at = bisect_right(items, room, key=itemgetter(0))
    if at == len(items) or (at and room - items[at - 1][0] <= items[at][0] - room):
        at -= 1
    return items.pop(at)
