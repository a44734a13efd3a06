"""Levels: what is to be placed by size on a grid, and the room of GPUs.

A class is a level of size; or one of shards of split models, of which GPUs of one type hold one at
most; or one of what fits GPUs of a type and of larger ones.
Classes are numbered kind by kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints

Column = tuple[int, tuple[int, ...]]
"""Room of a GPU in levels, and the classes on it in ascending order."""

Switch = tuple[int, int]
"""A group of models with the same choice, and the option to which some of them change."""


@dataclass(frozen=True, slots=True)
class LevelRooms:
    """GPUs by room.

    Parameters
    ----------
    levels
        (t,) levels of room, ascending.
    count
        (t,) how many GPUs have so many.
    """

    levels: Ints
    count: Floats


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be placed, on levels.

    Parameters
    ----------
    demand
        (classes,) shards of each class, of models with one option and, of the others, in the
        option that they have at first.
    class_, shards
        (m, o) class of a shard and number of shards of each option of each of the others; no
        shards where a model has fewer options.
    chosen
        (m,) the option that each has at first.
    kinds
        How many kinds of classes there are.
    single
        Whether each kind after the first is of what the GPUs of one type hold alone, at most one
        shard of it on each; rooms are numbered as classes of their kind are.
    nested
        Whether each kind is of what GPUs of its type and of those after it hold; rooms are numbered
        as classes of their type are.
    """

    demand: Floats
    class_: Ints
    shards: Ints
    chosen: Ints
    kinds: int = 1
    single: bool = False
    nested: bool = False

    @property
    def width(self) -> int:
        """Classes of each kind."""
        return len(self.demand) // self.kinds

    def holds(self, room: int, classes: Iterable[int]) -> bool:
        """Whether a room holds some classes together."""
        width, whole = self.width, list(classes)
        first, second = sum(c % width for c in whole), [c // width for c in whole]
        if self.nested:
            return first <= room % width and max(second, default=0) <= room // width
        if self.single:
            apart = [kind for kind in second if kind]
            return first <= room % width and apart in ([], [room // width])
        return first <= room

    @property
    def present(self) -> Bools:
        """(classes,) which are or may come to be in demand."""
        found: Bools = self.demand > 0
        found[self.class_[self.shards > 0]] = True
        found[:: self.width] = False
        return found

    def groups(self) -> Ints:
        """Return (m,) numbers of groups of models with the same choice."""
        if not len(self.chosen):
            return self.chosen
        rows = np.column_stack([self.class_, self.shards, self.chosen])
        found: Ints = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        return found

    def least_price(self, prices: Ints) -> float:
        """Return what all cost where each model takes its cheapest option."""
        cost = self.cost(prices)
        at_first = np.take_along_axis(cost, self.chosen[:, None], axis=1)
        return float(prices @ self.demand) - float((at_first[:, 0] - cost.min(axis=1)).sum())

    def cost(self, prices: Ints | Floats) -> Floats:
        """Return (m, o) the price of each option, ``inf`` where there is none."""
        return np.where(self.shards > 0, (prices[self.class_] * self.shards), np.inf)


def need_of(
    grid: int,
    class_: Ints,
    each: Floats,
    shards: Floats,
    fit: Bools,
    kinds: int = 1,
    *,
    single: bool = False,
    nested: bool = False,
) -> tuple[Need, Ints]:
    """Return a need in which every model has at first the option that takes least room.

    Parameters
    ----------
    grid
        Levels of the largest GPU.
    class_, each, shards
        (n, o) class and room of a shard, and number of shards, of each option.
    fit
        (n, o) whether there is such an option and its shard fits some GPU.
    kinds, single, nested
        As in `Need`.

    Returns
    -------
    tuple
        The need, its options those of `several_of`, and (n,) the option of each model at first.
    """
    whole: Ints = np.where(fit, shards, 0.0).astype(np.int64)
    taken = np.where(fit, np.where(fit, each, 0.0) * np.where(fit, shards, 0.0), np.inf)
    chosen: Ints = taken.argmin(axis=1)
    rows, several = np.arange(len(class_)), several_of(fit)
    demand = np.bincount(
        class_[rows, chosen], whole[rows, chosen], minlength=(grid + 1) * kinds
    ).astype(np.float64)
    parts = class_[several], whole[several], chosen[several]
    return Need(demand, *parts, kinds, single, nested), chosen


def several_of(fit: Bools) -> Ints:
    """Return which models have a choice."""
    return np.flatnonzero(fit.sum(axis=1) > 1)
