"""Configure: an assignment built from the configurations of a program on levels.

The program says which levels of size the shards should fill each GPU with, and how hot models are
copied; shards of a level are put into its places, those of split models first and then those of
which rules speak. Where split shards are too many for GPUs of their own, they go before the
program is asked, each where most room is left.
"""

import math
from collections.abc import Callable

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.diving import round_off
from kvplace.solver.column_generation.level_program import LevelProgram
from kvplace.solver.column_generation.levels import LevelRooms
from kvplace.solver.construct.candidates import place_model
from kvplace.solver.construct.confined import Confined
from kvplace.solver.construct.excess import Sharing
from kvplace.solver.construct.fill_places import PlaceFiller
from kvplace.solver.construct.program_models import WHOLE, ProgramModels
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

TARGETS = 16
"""Targets tried at most."""
SPARED, SPARED_KEPT = 3e-4, 1e-3
"""Part of the GPUs that the program leaves for what rounding costs, and where KV must be left."""
MOST = 64.0
"""Part above the bound of the last target."""
AGAIN, AGAIN_KEPT = 40_000_000, 100_000_000
"""Models times GPUs up to which it is filled again, and where KV must be left."""
AGAIN_AT = (
    (0.0, 512), (0.0005, 512), (0.001, 256), (0.001, 512), (0.0015, 1024), (0.002, 512),
    (0.002, 256), (0.003, 512), (0.004, 512),
)  # fmt: skip
"""Parts above the first target at which it is rounded and filled then, and on what grid."""
FILLS = 2
"""Times that all is placed at most."""
ROUNDS = 200
"""Solutions of the restricted program after which a target counts as not met."""
ALONE = 0.6
"""Part of the GPUs up to which the program has split shards too, each on a GPU of its own."""
ABOVE = 8e-3
"""Relative distance from the bound of the first target; doubled after each that is not met."""
NEAR = 1e-3
"""Relative distance of two targets, one met and one not, at which no other is tried."""
PACKED_NEAR = 4e-3
"""Relative distance of two targets, one at which the models that only the largest GPUs hold are
packed and one at which they are not, at which no other is tried."""
PROVED = 0.7
"""Part of what lacks at a target which is proved: it says how far above the next one is."""
FILLING = 0.5
"""Part of the time that is left for filling once a target is met."""

FITTING = 1.25
"""Factor on the levels asked for, up to which others are taken at which GPUs lose less memory."""

_Found = tuple[Assignment, ProgramModels, float]
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
    sharing
        As of `lower_excess`.
    confined
        Packs models before the program is asked; None for no such models.

    Attributes
    ----------
    target
        The last one that the program met; ``inf`` for none.
    prices
        (levels + 1,) the best it had for an undivided shard by its level; None before it was asked.
    """

    def __init__(
        self,
        chooser: Chooser,
        seed: int,
        grid: int,
        coarse: int,
        sharing: Sharing | None = None,
        confined: Confined | None = None,
    ) -> None:
        self._confined = confined
        self._packed: Assignment | None = None
        self._chooser, self._instance = chooser, chooser.instance
        self._grid, self._coarse, self._sharing = grid, self._fitting(coarse), sharing
        self._spared = SPARED_KEPT if self._instance.columns.keeps else SPARED
        self._begin: _Found | None = None
        self.target: float = math.inf
        self.prices: Floats | None = None
        self._order = np.random.default_rng(seed).permutation(self._instance.g)

    def aim(self, low: float, watch: Watch) -> None:
        """Look for the lowest target above a bound that the program meets.

        Parameters
        ----------
        low
            The bound.
        watch
            Ends it early.
        """
        program = LevelProgram()

        def begun(target: float) -> _Found | float:
            if self._confined is not None:
                packed = self._confined.packed(target, watch)
                if packed is None:
                    return 0.0
                self._packed = packed
            found = self._begun(target, watch)
            if found is None:
                return 0.0
            lacking = self._lacking(program, *found, target, watch)
            return (*found, target) if lacking is None else lacking

        near = NEAR if self._confined is None else PACKED_NEAR
        self._begin = _lowest_met(begun, low, near, watch)
        if program.centre is not None:
            self.prices = program.centre[: self._coarse + 1]
        self.target = math.inf if self._begin is None else self._begin[2]

    def build(self, watch: Watch) -> Assignment | None:
        """Return an assignment near the target aimed at.

        Of a mid-sized cluster that is done again at targets a little higher, where the best ends
        above them. None where what is split finds no room, or time is up.
        """
        found = self._begin
        if found is None:
            return None
        if self._confined is not None:
            return self._filled(*found, watch, self._grid)
        best: Assignment | None = None
        fills = 0
        most = AGAIN_KEPT if self._instance.columns.keeps else AGAIN
        mid = self._sharing is None and self._instance.n * self._instance.g <= most
        for above, levels in AGAIN_AT if mid else AGAIN_AT[:1]:
            target = found[2] * (1 + above)
            done = watch.stop or fills == FILLS
            if best is not None and (done or best.worst() <= target):
                break
            begun = self._begun(target, watch) if above else found[:2]
            if begun is None:
                break
            again = self._filled(*begun, target, watch, levels if mid else self._grid)
            best = again if best is None else min(best, again, key=Assignment.worth)
            fills += again.valid
        return best

    def _fitting(self, least: int) -> int:
        """Return levels, at least so many and few more, at which rounding GPUs down loses least."""
        columns = self._instance.columns
        if not columns.keeps:
            return least
        memory, count = np.unique(columns.memory, return_counts=True)
        grids = np.arange(least, round(least * FITTING) + 1)
        room = memory[:, None] / memory[-1] * grids
        lost = ((room - np.floor(room + WHOLE)) * count[:, None]).sum(axis=0) / grids
        return int(grids[lost.argmin()])

    def _filled(
        self, board: Assignment, part: ProgramModels, target: float, watch: Watch, levels: int
    ) -> Assignment:
        """Fill a board that has what is split with the rest, near a target, on so many levels."""
        grid = self._fitting(levels)
        rooms = self._room(board, part, grid, target)
        found = round_off(LevelProgram(), part.need(target, grid, rooms), _counted(rooms), watch)
        filler = PlaceFiller(board, part, found, rooms, self._order, grid, self._sharing)
        filler.run(target, watch)
        watch.tell("configure", board.worst() if board.valid else None)
        return board

    def _begun(self, target: float, watch: Watch) -> tuple[Assignment, ProgramModels] | None:
        """Return a board with what is split at a target, if it finds room, and the rest.

        Where few GPUs hold split shards, the program has those too, and the board is empty.
        """
        options = self._chooser.pick(target, self._chooser.caps()[0])
        split, columns = sum(o.shards for o in options if o.degree > 1), self._instance.columns
        if self._packed is None and 0 < split <= ALONE * columns.g:
            every = [*range(self._instance.n)]
            return Assignment(self._instance), ProgramModels(self._chooser, every, split=True)
        held = self._split(options, target, watch, apart=True)
        held = held or self._split(options, target, watch, apart=False)
        if held is None:
            return None
        whole = [j for j, copies in enumerate(held.where) if not copies]
        common = 0.0
        if self._confined is not None and self._packed is not None:
            common = self._confined.common
        return held, ProgramModels(self._chooser, whole, split=False, common=common)

    def _lacking(
        self,
        program: LevelProgram,
        board: Assignment,
        part: ProgramModels,
        target: float,
        watch: Watch,
    ) -> float | None:
        """Return the part of the fleet that lacks for the rest and what is spared, None for none.

        It is a part that is proved; 0 where nothing is.
        """
        levels = self._room(board, part, self._coarse, target)
        need, rooms = part.need(target, self._coarse, levels), _counted(levels)
        spared = LevelRooms(rooms.levels, rooms.count * (1 - self._spared))
        if not part.placeable:
            return 0.0
        answer = program.decide(need, spared, watch, part=PROVED, rounds=ROUNDS)
        return None if answer.share <= 1 else max(answer.excess, 0.0)

    def _split(
        self, options: list[Option], target: float, watch: Watch, *, apart: bool
    ) -> Assignment | None:
        """Return a board with the models that are split, those with most shards first.

        Each goes where most room is left, or, where that leaves none for some, least. None where
        one finds no room, or time is up.
        """
        board = Assignment(self._instance) if self._packed is None else self._packed.copy()
        split = [j for j, option in enumerate(options) if option.degree > 1 and not board.where[j]]
        split.sort(key=lambda j: (-options[j].degree, -options[j].size, j))
        for j in split:
            if watch.stop or not place_model(board, j, options[j], target, tight=not apart):
                return None
        return board

    def _room(self, board: Assignment, part: ProgramModels, grid: int, target: float) -> Ints:
        """Return (g,) room of each GPU in levels, or numbered by its kind of split shards."""
        unit = float(self._instance.memory[0]) / grid
        arrays = board.arrays
        taken = np.maximum(arrays.load[0] / target, arrays.kept)
        # Down where KV must be left: little is left over then, which two sizes make hard to place.
        whole = np.floor if self._instance.columns.keeps else np.rint
        room = whole((arrays.free - taken) / unit + (WHOLE if whole is np.floor else 0.0))
        levels: Ints = np.clip(room, 0, grid).astype(np.int64) + part.kind * (grid + 1)
        return levels


def _lowest_met(
    ask: Callable[[float], _Found | float], low: float, near: float, watch: Watch
) -> _Found | None:
    """Return what the lowest target met gives; None for none met in time.

    Parameters
    ----------
    ask
        Returns what meets a target, or what part of the fleet lacks; 0 where that is not known.
    low
        A bound. The first target is `ABOVE` it, and the steps double until one is met. What lacked
        at the last two says which is the next, where that is nearer.
    near
        Relative distance of two, one met and one not, at which no other is asked for.
    watch
        Ends it, and before that half of the time is left for filling.
    """
    best: _Found | None = None
    target, step = low * (1 + ABOVE), ABOVE
    failed, enough = low, watch.left * FILLING
    lacked: list[tuple[float, float]] = []
    for _ in range(TARGETS):
        before = watch.left
        found = ask(target)
        if not isinstance(found, float):
            best = found
        elif watch.stop:
            break
        else:
            failed = target
            lacked = [*lacked[-1:], (target, found)] if found else lacked
        guess = _enough(lacked) * (1 + near)
        if best is None:
            step *= 2
            target = min(target * (1 + step), max(guess, target * (1 + near)))
            if target > low * (1 + MOST):
                break
            continue
        if best[2] <= failed * (1 + near):
            break
        if before < math.inf and watch.left - (before - watch.left) < enough:
            break  # another target that takes as long leaves too little for the filling
        middle = (failed + best[2]) / 2
        target = min(max(guess, failed * (1 + near)), middle)
    return best


def _enough(lacked: list[tuple[float, float]]) -> float:
    """Return the target at which nothing lacks, in proportion to what did at two; `inf` for none.

    Parameters
    ----------
    lacked
        Targets, and the parts of the fleet that lacked there.
    """
    if len(lacked) > 1:
        (first, more), (second, less) = lacked
        if more > less > 0:
            return second + (second - first) * less / (more - less)
    return math.inf


def _counted(levels: Ints) -> LevelRooms:
    """Return GPUs by their room, those without any left out."""
    rooms, count = np.unique(levels[levels > 0], return_counts=True)
    return LevelRooms(rooms, count.astype(np.float64))
