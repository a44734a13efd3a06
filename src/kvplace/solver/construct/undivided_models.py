"""The models of a cluster that are not split, as the program on levels needs them."""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.column_generation.levels import Need, need_of, several_of
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.options import Chooser

__all__ = ["Undivided"]


class Undivided:
    """The models that are not split, and what each needs on the levels.

    Parameters
    ----------
    chooser
        The options of all models.
    models
        Which are not split.

    Attributes
    ----------
    models
        (m,) which they are.
    level, option
        (m, o) level of a shard of each option, and (m,) the option of each, at the last target.
    """

    def __init__(self, chooser: Chooser, models: list[int]) -> None:
        self.models: Ints = np.array(models, dtype=np.int64)
        self._chooser = chooser
        rows = [chooser.instance.options[j] for j in models]
        width = max(map(len, rows), default=1)
        fits = [[option.degree == 1 for option in row] for row in rows]
        self._undivided = np.array([row + [False] * (width - len(row)) for row in fits])
        self._width = width
        self.level: Ints = np.zeros((0, 1), dtype=np.int64)
        self.option: Ints = np.zeros(0, dtype=np.int64)
        self._several: Ints = self.option

    def need(self, target: float, grid: int) -> Need:
        """Return what they need, each size rounded to the nearest level; what must fit, up.

        What fits an empty GPU fits it on the levels too, and what does not does not.
        """
        unit = float(self._chooser.instance.memory[0]) / grid
        room, _, fits = self._chooser.room(target)
        each, fit = room[self.models, : self._width], fits[self.models, : self._width]
        shards = self._chooser.sure_options[2][self.models, : self._width]
        fit = fit & self._undivided.reshape(fit.shape)
        keeps = self._chooser.instance.columns.keeps
        if keeps:
            least = self._chooser.least[self.models, : self._width]
            each = np.maximum(each, least)
        memory = np.unique(self._chooser.instance.columns.memory)
        rooms = np.concatenate([[0.0], np.rint(memory / unit)])
        size = np.where(fit, each, 0.0)
        alone = np.searchsorted(memory, size)
        level = np.clip(np.rint(size / unit), rooms[alone] + 1, rooms[alone + 1]).astype(np.int64)
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
