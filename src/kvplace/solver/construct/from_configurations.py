"""Configure: an assignment built from the configurations of a program on levels.

What is split goes first, each shard where most room is left. The program then says which levels
of size the other shards should fill each GPU with, and how hot models are copied; shards of a
level are put into its places, those first of which rules speak.
"""

import math

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.diving import round_off
from kvplace.solver.column_generation.levels import LevelRooms
from kvplace.solver.column_generation.size_classes import LevelProgram
from kvplace.solver.construct.best_fit_index import Rooms
from kvplace.solver.construct.excess import fall
from kvplace.solver.construct.fill_places import PlaceFiller
from kvplace.solver.construct.undivided_models import Undivided
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

__all__ = ["Configurer"]

TARGETS = 16
"""Targets tried at most."""
SPARED = 3e-4
"""Part of the GPUs that the program leaves for what rounding costs."""
MOST = 64.0
"""Part above the bound of the last target."""
AGAIN, HIGHER = 10_000_000, (0.0015, 0.003, 0.006)
"""Models times GPUs up to which it is filled again, and parts above the first target then."""
FALLEN = 0.04
"""Part of the distance to the target that is not worth another try to come nearer."""
ROUNDS = 200
"""Solutions of the restricted program after which a target counts as not met."""
ABOVE = 8e-3
"""Relative distance from the bound of the first target; doubled after each that is not met."""
NEAR = 1e-3
"""Relative distance of two targets, one met and one not, at which no other is tried."""

FILLING = 0.5
"""Part of the time that is left for filling once a target is met."""

_Found = tuple[Assignment, Undivided, float]
"""What is split on its GPUs, the other models, and the target."""


class Configurer:
    """Builds assignments of one instance.

    Parameters
    ----------
    chooser
        The options of the cluster's models.
    seed
        Of the order in which GPUs of one room are filled.
    grid, coarse
        Levels of the largest GPU's memory: on which GPUs are filled, and targets are looked for.

    Attributes
    ----------
    target
        The last one that the program met; ``inf`` for none.
    """

    def __init__(self, chooser: Chooser, seed: int, grid: int, coarse: int) -> None:
        self._chooser, self._instance = chooser, chooser.instance
        self._grid, self._coarse = grid, coarse
        self._keeps = self._instance.columns.keeps
        self.target: float = math.inf
        self._order = np.random.default_rng(seed).permutation(self._instance.g)

    def build(self, low: float, watch: Watch) -> Assignment | None:
        """Return an assignment near the first target found above a bound that the program meets.

        Of a mid-sized cluster it is built again from targets a little higher, as long as the best
        ends above them: whole sets leave some GPU far above where its sizes are rare. None where
        what is split finds no room, or time is up.
        """
        found = self._aimed(low, watch)
        if found is None:
            return None
        best = self._filled(*found, watch)
        mid = self._instance.n * self._instance.g <= AGAIN
        for above in HIGHER if mid else ():
            target = found[2] * (1 + above)
            begun = None if watch.stop or best.worst() <= target else self._begun(target, watch)
            if begun is None:
                break
            best = min(best, self._filled(*begun, target, watch), key=Assignment.worth)
        self.target = found[2]
        return best

    def _filled(
        self, board: Assignment, part: Undivided, target: float, watch: Watch
    ) -> Assignment:
        """Fill a board that has what is split with the rest, near a target."""
        need = part.need(target, self._grid)
        levels = self._room(board, self._grid, target)
        configured = round_off(LevelProgram(), need, _counted(levels), watch)
        filler = PlaceFiller(board, part, configured, levels, self._order, self._grid)
        filler.run(target, watch)
        if board.valid:
            fall(board, target, FALLEN, watch)
        watch.tell("configure", board.worst() if board.valid else None)
        return board

    def _aimed(self, low: float, watch: Watch) -> _Found | None:
        """Return the lowest target found that the program meets, None for none in time."""
        program, best = LevelProgram(), None
        failed, above = low, ABOVE
        target = low * (1 + above)
        enough = watch.left * FILLING
        for _ in range(TARGETS):
            before = watch.left
            begun = self._begun(target, watch)
            if begun is not None and self._met(program, *begun, target, watch):
                best = (*begun, target)
            elif watch.stop:
                break
            else:
                failed = target
            if best is not None:
                if best[2] <= failed * (1 + NEAR):
                    break
                if before < math.inf and watch.left - (before - watch.left) < enough:
                    break  # another target that takes as long leaves too little for the filling
                target = (failed + best[2]) / 2
            elif target > low * (1 + MOST):
                break
            else:
                above *= 2
                target *= 1 + above
        return best

    def _begun(self, target: float, watch: Watch) -> tuple[Assignment, Undivided] | None:
        """Return a board with what is split at a target, if it finds room, and the rest."""
        options = self._chooser.pick(target, self._chooser.caps()[0])
        board = self._split(options, target, watch, apart=True)
        board = board or self._split(options, target, watch, apart=False)
        if board is None:
            return None
        whole = [j for j, option in enumerate(options) if option.degree == 1]
        return board, Undivided(self._chooser, whole)

    def _met(
        self,
        program: LevelProgram,
        board: Assignment,
        part: Undivided,
        target: float,
        watch: Watch,
    ) -> bool:
        """Return whether the fleet, but for what is spared, holds the rest."""
        need = part.need(target, self._coarse)
        rooms = _counted(self._room(board, self._coarse, target))
        spared = LevelRooms(rooms.levels, rooms.count * (1 - SPARED))
        return program.decide(need, spared, watch, rounds=ROUNDS).share <= 1

    def _split(
        self, options: list[Option], target: float, watch: Watch, *, apart: bool
    ) -> Assignment | None:
        """Return a board with the models that are split, those with most shards first.

        Each goes where most room is left, or, where that leaves none for some, least. None where
        one finds no room, or time is up.
        """
        board = Assignment(self._instance)
        rooms = Rooms(board, target)
        split = [j for j, option in enumerate(options) if option.degree > 1]
        split.sort(key=lambda j: (-options[j].degree, -options[j].size, j))
        for j in split:
            if watch.stop or not rooms.place(j, options[j], apart=apart):
                return None
        return board

    def _room(self, board: Assignment, grid: int, target: float) -> Ints:
        """Return (g,) room of each GPU in levels."""
        unit = float(self._instance.memory[0]) / grid
        room = np.rint((board.arrays.free - board.arrays.load[0] / target) / unit)
        if self._keeps:
            kept = np.floor((board.arrays.free - board.arrays.kept) / unit)
            room = np.minimum(room, kept)
        levels: Ints = np.clip(room, 0, grid).astype(np.int64)
        return levels


def _counted(levels: Ints) -> LevelRooms:
    """Return GPUs by their room, those without any left out."""
    rooms, count = np.unique(levels[levels > 0], return_counts=True)
    return LevelRooms(rooms, count.astype(np.float64))
