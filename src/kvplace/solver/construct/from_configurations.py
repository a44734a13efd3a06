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
from kvplace.solver.construct.fill_places import PlaceFiller
from kvplace.solver.construct.undivided_models import Undivided
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

__all__ = ["Configurer"]

TARGETS = 16
"""Targets tried at most."""
SPARE, SPARED = 1.0, 1.5e-3
"""GPUs, and part of all, that the program leaves for what rounding costs."""
MOST = 64.0
"""Part above the bound of the last target."""
MOST_STEP = 0.2
"""Relative step at most by which a share of the fleet that is missing moves the target."""
ROUNDS = 40
"""Solutions of the restricted program after which a target counts as not met."""
ABOVE = 8e-3
"""Relative distance from the bound of the first target; doubled after each that is not met."""
NEAR = 3e-3
"""Relative distance of two targets, one met and one not, at which no other is tried."""

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
        """Return an assignment at the first target above a bound at which the program is met.

        None where what is split finds no room, or time is up.
        """
        found = self._aimed(low, watch)
        if found is None:
            return None
        board, part, self.target = found
        need = part.need(self.target, self._grid)
        levels = self._room(board, self._grid, self.target)
        configured = round_off(LevelProgram(), need, _counted(levels), watch)
        watch.tell("configure")
        filler = PlaceFiller(board, part, configured, levels, self._order, self._grid)
        filler.run(self.target, watch)
        return board

    def _aimed(self, low: float, watch: Watch) -> _Found | None:
        """Return the lowest target found that the program meets, None for none in time.

        The share of the fleet that is missing says how far to go at least: the KV that must be
        left takes no less room at a higher target.
        """
        program, best = LevelProgram(), None
        failed, above = low, ABOVE
        target = low * (1 + above)
        for _ in range(TARGETS):
            begun = self._begun(target)
            share = math.inf if begun is None else self._share(program, *begun, target, watch)
            if watch.stop:
                break
            if begun is not None and share <= 1:
                best = (*begun, target)
            else:
                failed = target
            if best is not None:
                if best[2] <= failed * (1 + NEAR):
                    break
                target = (failed + best[2]) / 2
            elif target > low * (1 + MOST):
                break
            else:
                above *= 2
                step = 0.0 if begun is None else self._step(*begun, target, share - 1)
                target *= 1 + max(above, min(step, MOST_STEP))
        return best

    def _begun(self, target: float) -> tuple[Assignment, Undivided] | None:
        """Return a board with what is split at a target, if it finds room, and the rest."""
        options = self._chooser.pick(target, self._chooser.caps()[0])
        board = self._split(options, target, apart=True)
        board = board or self._split(options, target, apart=False)
        if board is None:
            return None
        whole = [j for j, option in enumerate(options) if option.degree == 1]
        return board, Undivided(self._chooser, whole)

    def _share(
        self,
        program: LevelProgram,
        board: Assignment,
        part: Undivided,
        target: float,
        watch: Watch,
    ) -> float:
        """Return the share of the fleet, but for what is spared, that the rest needs."""
        need = part.need(target, self._coarse)
        rooms = _counted(self._room(board, self._coarse, target))
        spared = LevelRooms(rooms.levels, rooms.count * (1 - SPARED - SPARE / self._instance.g))
        return program.decide(need, spared, watch, part=1.0, rounds=ROUNDS).share

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

    def _room(self, board: Assignment, grid: int, target: float) -> Ints:
        """Return (g,) room of each GPU in levels."""
        unit = float(self._instance.memory[0]) / grid
        room = np.rint((board.arrays.free - board.arrays.load[0] / target) / unit)
        if self._keeps:
            kept = np.floor((board.arrays.free - board.arrays.kept) / unit)
            room = np.minimum(room, kept)
        levels: Ints = np.clip(room, 0, grid).astype(np.int64)
        return levels

    def _step(self, board: Assignment, part: Undivided, target: float, missing: float) -> float:
        """Return the relative step to the target at which a share of the fleet is gained."""
        load = float(board.arrays.load.sum()) + part.load
        return missing * float(sum(self._instance.memory)) * target / max(load, 1e-300)


def _counted(levels: Ints) -> LevelRooms:
    """Return GPUs by their room, those without any left out."""
    rooms, count = np.unique(levels[levels > 0], return_counts=True)
    return LevelRooms(rooms, count.astype(np.float64))
