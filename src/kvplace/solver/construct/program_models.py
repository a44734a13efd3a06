"""The models of a cluster that a start is built of, as the program on levels needs them."""

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.column_generation.levels import Need, need_of, several_of
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

WHOLE = 1e-9
"""Distance from a whole level that counts as none."""
KEPT = 0.5
"""Part of the KV that must be left beyond the load which counts on GPUs that are not scarce: what
lies beside a shard carries more, as a rule."""


class ProgramModels:
    """Models, and what each needs on the levels.

    Parameters
    ----------
    chooser
        The options of all models.
    models
        Which they are.
    split
        Whether options of several shards are among theirs.
    common
        Bytes of the largest GPU that is not scarce, where shards are to be apart by the smallest
        GPU that holds them alone; 0 where they are not to be. None is of a split model there.

    Attributes
    ----------
    models
        (m,) which they are.
    kind
        (g,) kind of the split shards that each GPU may hold one of, 0 for none; or its memory by
        number, ascending.
    class_, option
        (m, o) class of a shard of each option, on each type where it is split, and (m,) the
        option of each, at the last target.
    placeable
        Whether each has an option there that fits some room.
    """

    def __init__(
        self, chooser: Chooser, models: list[int], *, split: bool, common: float = 0.0
    ) -> None:
        self.models: Ints = np.array(models, dtype=np.int64)
        self._chooser, columns = chooser, chooser.instance.columns
        wide = (columns.domains < columns.g).sum(axis=1)[columns.domain_of]
        types = np.column_stack([columns.memory, wide])[(wide > 1) & split]
        self._types: Ints = np.unique(types, axis=0)
        self._memory: Floats = np.unique(columns.memory).astype(np.float64)
        self.nested, self._common = common > 0, common
        self.kind: Ints = np.zeros(columns.g, dtype=np.int64)
        if self.nested:
            self.kind = np.searchsorted(self._memory, columns.memory)
        for kind, (memory, gpus) in enumerate(self._types.tolist(), 1):
            self.kind[(columns.memory == memory) & (wide == gpus)] = kind
        rows = [chooser.instance.options[j] for j in models]
        self._width = width = max(map(len, rows), default=1)
        degree = [[option.degree for option in row] + [0] * (width - len(row)) for row in rows]
        self._degree: Ints = np.array(degree, dtype=np.int64).reshape(len(rows), width)
        self.class_: Ints = np.zeros((0, 1), dtype=np.int64)
        self.option: Ints = np.zeros(0, dtype=np.int64)
        self._several: Ints = self.option
        self.placeable = True

    def need(self, target: float, grid: int, rooms: Ints) -> Need:
        """Return what they need, each size rounded to the nearest level.

        What fits an empty GPU fits it on the levels too, and what does not does not. What fits none
        of the rooms, numbered as classes are, is no option.
        """
        unit = float(self._chooser.instance.memory[0]) / grid
        room, _, fits = self._chooser.room(target)
        each, fit = room[self.models, : self._width], fits[self.models, : self._width]
        shards = self._chooser.shards[self.models, : self._width]
        keeps = self._chooser.instance.columns.keeps
        each = np.where(fit, each, 0.0)
        least = np.where(fit, self._chooser.least[self.models, : self._width], 0.0)
        larger = np.maximum(each, least) if keeps else each
        part = np.where(larger <= self._common, KEPT, 1.0)
        size = larger - (1 - part) * (larger - each)
        alone = np.searchsorted(self._memory, larger)
        whole_room = np.floor if keeps else np.rint  # as `Configurer` has those of GPUs
        levels = np.concatenate([[0.0], whole_room(self._memory / unit + WHOLE * keeps)])
        lowest = 1 if self.nested else levels[alone] + 1
        level = np.clip(np.rint(size / unit), lowest, levels[alone + 1]).astype(np.int64)
        if self.nested:
            return self._apart(grid, rooms, fit & (self._degree == 1), size, level, alone)
        fit_in = [fit & (self._degree == 1)]
        for bytes_, gpus in self._types.tolist():
            held = (self._degree > 1) & (self._degree <= gpus) & (larger < bytes_)
            fit_in.append(fit & held & (level <= np.rint(bytes_ / unit)))
        kinds = len(fit_in)
        most = [(rooms % (grid + 1))[rooms // (grid + 1) == kind] for kind in range(kinds)]
        most[0] = rooms % (grid + 1)
        fit_in = [fit & (level <= of.max(initial=0)) for fit, of in zip(fit_in, most, strict=True)]
        fit = np.hstack(fit_in)
        self.placeable = bool(fit.any(axis=1).all())
        kind = np.repeat(np.arange(kinds), self._width)
        self.class_ = np.where(fit, np.tile(level, kinds) + (grid + 1) * kind, 0)
        each, shards = np.tile(size, kinds), np.tile(shards, kinds)
        need, self.option = need_of(grid, self.class_, each, shards, fit, kinds, single=kinds > 1)
        self._several = several_of(fit)
        return need

    def _apart(
        self, grid: int, rooms: Ints, fit: Bools, size: Floats, level: Ints, kind: Ints
    ) -> Need:
        """Return what they need, apart by the smallest GPU that holds a shard alone."""
        of, most = np.divmod(rooms, grid + 1)
        roomiest = [int(most[of >= at].max(initial=0)) for at in range(len(self._memory) + 1)]
        fit = fit & (level <= np.array(roomiest)[kind])
        self.placeable = bool(fit.any(axis=1).all())
        self.class_ = np.where(fit, level + (grid + 1) * kind, 0)
        shards, kinds = self._chooser.shards[self.models, : self._width], len(self._memory)
        need, self.option = need_of(grid, self.class_, size, shards, fit, kinds, nested=True)
        self._several = several_of(fit)
        return need

    def choose(self, option: Ints) -> None:
        """Take the options of the models that have several."""
        self.option[self._several] = option

    @property
    def chosen(self) -> list[tuple[int, Option, int]]:
        """Each model, its option and the class of its shards."""
        options = self._chooser.instance.options
        classes = self.class_[np.arange(len(self.option)), self.option]
        return [
            (j, options[j][at], class_)
            for j, at, class_ in zip(
                self.models.tolist(), (self.option % self._width).tolist(), classes.tolist(),
                strict=True,
            )
        ]  # fmt: skip
