"""Configure: an assignment built from the configurations of a program on levels.

What is split goes first, each shard where most room is left. The program then says which levels
of size the other shards should fill each GPU with, and how hot models are copied; shards of a
level are put into its places, those first of which rules speak.
"""

import math

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bisection import bisect, reach_above
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
        PlaceFiller(board, part, configured, levels, self._order, self._grid).run(target)
        return board

    def _from_one_split(self, low: float, watch: Watch) -> _Found | None:
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

    def _from_many_splits(self, low: float, watch: Watch) -> _Found | None:
        """Return the lowest target met with what is split placed anew for each.

        The KV that must be left takes no less room at a higher target, so a share that is missing
        does not say how far to go: the steps grow with each target that is not met.
        """
        best: list[_Found] = []

        def met(target: float) -> _Found | None:
            begun = self._begun(target)
            if begun is None or self._share(*begun, target, watch) > 1 or watch.stop:
                return None
            best.append((*begun, target))
            return best[-1]

        _, failed, high = reach_above(met, low, MORE, MOST, watch)
        if best:
            bisect(lambda target: met(target) is None, failed, high, width=NEAR, watch=watch)
        return best[-1] if best else None

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
        board: Assignment,
        part: Undivided,
        target: float,
        watch: Watch,
        proved: float = 0.0,
    ) -> float:
        """Return the share of the fleet, but for what is spared, that the rest needs."""
        need = part.need(target, self._grid, self._unit)
        rooms = _counted(self._room(board, target))
        spared = LevelRooms(rooms.levels, rooms.count * (1 - SPARE / self._instance.g))
        return self._program.decide(need, spared, watch, part=proved, rounds=ROUNDS).share

    def _aimed(self, board: Assignment, part: Undivided, low: float, watch: Watch) -> float:
        """Return the lowest target found that the program meets."""
        target, high = low * (1 + ABOVE), math.inf
        for _ in range(TARGETS):
            share = self._share(board, part, target, watch, float(high == math.inf))
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

    def _step(self, board: Assignment, part: Undivided, target: float, missing: float) -> float:
        """Return the relative step to the target at which a share of the fleet is gained."""
        load = float(board.arrays.load.sum()) + part.load
        return missing * float(sum(self._instance.memory)) * target / max(load, 1e-300)


def _counted(levels: Ints) -> LevelRooms:
    """Return GPUs by their room, those without any left out."""
    rooms, count = np.unique(levels[levels > 0], return_counts=True)
    return LevelRooms(rooms, count.astype(np.float64))
