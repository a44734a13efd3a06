"""Packs undivided models into memory that is nearly full, as if what they must have were a load.

What a GPU holds as a part of its memory is a pressure then, and what does not fit is a GPU above 1.
So the exchanges that lower the worst pressure pack a fleet, too, where no order of its models does.
"""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.clock import Watch
from kvplace.solver.construct.compiled_starts import most_room_first
from kvplace.solver.improve.parallel_pairs import Improver
from kvplace.solver.instance.columns import Columns
from kvplace.solver.instance.instance import Instance
from kvplace.solver.kernels import Crew


class MemoryPacker:
    """One packing, which each call brings further.

    Parameters
    ----------
    columns
        The models and GPUs.
    crew, watch
        Threads, and what ends it.
    """

    def __init__(self, columns: Columns, crew: Crew, watch: Watch) -> None:
        self._columns, self._crew, self._watch = columns, crew, watch
        need = (columns.size + columns.keep).astype(np.float64)
        room = np.maximum(columns.memory - 1, 1)  # a byte is left free
        self._level = float(need.sum() / room.sum(dtype=np.float64))
        none = np.zeros(columns.n, dtype=np.int64)
        loaded = Instance.undivided(
            none, none, need, room, np.arange(columns.n), np.arange(columns.g)
        )
        starts = most_room_first(loaded.columns, self._level, lambda: watch.stop)
        self._packing: Packing | None = starts[0] if starts else None

    def run(self, effort: float, patience: float, seed: int) -> Ints | None:
        """Exchange until all fits, or that no longer helps.

        Parameters
        ----------
        effort, patience
            Pairs looked at, per GPU, after which it ends: in all, and without a gain.
        seed
            Of the order in which partners come.

        Returns
        -------
        array or None
            (n,) the GPU of each model; None where some GPU holds too much.
        """
        if self._packing is None:
            return None
        improver = Improver(self._packing, self._level, seed, self._crew, self._watch)
        improver.balance()
        improver.relieve(1.0, effort, patience)
        fits = float(self._packing.pressure().max()) <= 1.0
        return self._packing.gpu_of(self._columns.n) if fits else None
