"""Board: who is where on a instance, under change, with what each GPU carries kept up to date."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.instance.instance import Copies, Instance, Loads, Option
from kvplace.solver.instance.pressure import pressure
from kvplace.solver.instance.rule_penalties import Costs

__all__ = ["Board", "Change"]

Change = tuple[int, Option | None, Copies]
"""A model, the option its copies then are (None for none placed), and their GPUs."""

Worth = tuple[float, ...]


class Board:
    """An assignment, complete or not.

    A GPU holds at most one shard of a model, so model and GPU name a shard.

    Parameters
    ----------
    instance
        The problem.
    where
        GPUs of the copies of each model; an empty tuple for a model that is not placed.

    Attributes
    ----------
    where, option
        Per model.
    members
        Models with a shard on each GPU.
    free, kept, kvpr
        (g,) free bytes, bytes of KV that must be left, and pressure, ``inf`` where the memory is
        exceeded; summed anew at every change, so that nothing drifts.
    load
        (pressures, g) loads.
    spare
        (g,) bytes that a step which takes memory of a GPU must leave free there; 0 at first.
    missing
        Bytes of the models that are not placed.
    changed
        GPUs that changed since who looks at it emptied it.
    """

    def __init__(self, instance: Instance, where: Sequence[Copies] | None = None) -> None:
        self.instance = instance
        self.where: list[Copies] = [()] * instance.n
        self.option: list[Option | None] = [None] * instance.n
        self.members: list[list[int]] = [[] for _ in range(instance.g)]
        self._memory: list[int] = instance.memory.tolist()
        self.free: Floats = instance.columns.memory.astype(np.float64)
        self.kept: Floats = np.zeros(instance.g)
        self.load: Floats = np.zeros((instance.pressures, instance.g))
        self.kvpr: Floats = np.zeros(instance.g)
        self.spare: Floats = np.zeros(instance.g)
        self.changed: set[int] = set()
        self.costs = Costs(instance.blueprints, instance.rules_of)
        self._least = instance.least_bytes
        self.missing = sum(self._least)
        self._type: Sequence[int] = instance.type_of or [0] * instance.g
        self._uneven: dict[tuple[int, int], Loads] = {}
        for j, copies in enumerate(where or ()):
            if copies:
                self._put(j, instance.option_of(j, copies), copies)
        for g, held in enumerate(self.members):
            if held:
                self._refresh(g)

    def reset(self, where: Sequence[Copies]) -> None:
        """Place every model as given."""
        self.apply(
            (j, self.instance.option_of(j, copies), copies) for j, copies in enumerate(where)
        )

    def loads_of(self, j: int) -> Loads:
        """Return the loads of a shard of a model whose copies carry even parts."""
        option = self.option[j]
        assert option is not None
        return option.loads

    def shard_loads(self, j: int, g: int) -> tuple[float, ...]:
        """Return (pressures,) the loads of the shard of a model on a GPU."""
        if self._uneven:
            found = self._uneven.get((j, g))
            if found is not None:
                return found[self._type[g]]
        return self.loads_of(j)[self._type[g]]

    def room(self, g: int, target: float) -> list[float]:
        """Return what a GPU has left at a target by each pressure, in bytes of it."""
        loads = self.load[:, g].tolist()
        taken = self.instance.takes(0, loads, target, g)
        kv, free, memory = self.instance.kv, float(self.free[g]), self._memory[g]
        return [(free if at < kv else memory) - load for at, load in enumerate(taken)]

    def binding(self, g: int) -> int:
        """Return which of its loads presses most on a GPU."""
        if len(self.load) == 1:
            return 0
        loads = self.load[:, g].copy()
        loads[: self.instance.kv] /= max(float(self.free[g]), 1.0)
        return int(loads.argmax())

    def hottest_first(self, g: int) -> list[int]:
        """Return the models on a GPU, those first that carry most of what presses most on it."""
        at = self.binding(g)
        return sorted(self.members[g], key=lambda j: (-self.shard_loads(j, g)[at], j))

    def loads_with(self, option: Option) -> list[Floats]:
        """Return (pressures,) the loads of all GPUs, each with one more shard on it."""
        if len(option.loads) == 1:
            return [mine + more for mine, more in zip(self.load, option.loads[0], strict=True)]
        more = np.array(option.loads)[self.instance.columns.type_of]
        return list(self.load + more.T)

    def apply(self, changes: Iterable[Change]) -> tuple[list[Change], set[int]]:
        """Make changes; return what reverses them, and the GPUs they touched."""
        undo: list[Change] = []
        touched: set[int] = set()
        for j, option, copies in changes:
            old, was = self.where[j], self.option[j]
            undo.append((j, was, old))
            before, after = _gpus(old), _gpus(copies)
            alike = was is option and not self.instance.is_uneven(j)
            touched |= before ^ after if alike else before | after
            self._take(j)
            if option is not None and copies:
                self._put(j, option, copies)
        for g in touched:
            self._refresh(g)
        self.changed |= touched
        undo.reverse()
        return undo, touched

    def spared(self, before: Floats, gpus: Iterable[int]) -> bool:
        """Whether GPUs that have less free memory than before have as much as is to be spared."""
        return all(self.free[g] >= min(self.spare[g], before[g]) for g in gpus)

    def _take(self, j: int) -> None:
        """Take all copies of a model off."""
        old = self.where[j]
        if not old:
            return
        for copy in old:
            for g in copy:
                self.members[g].remove(j)
                self._uneven.pop((j, g), None)
        self.costs.update(j, old, ())
        option = self.option[j]
        assert option is not None
        if len(old) == option.copies:
            self.missing += self._least[j]
        self.where[j], self.option[j] = (), None

    def _put(self, j: int, option: Option, copies: Copies) -> None:
        """Place copies of a model that has none; fewer than the option has leave it missing."""
        for copy in copies:
            for g in copy:
                self.members[g].append(j)
        if self.instance.is_uneven(j):
            loads = self.instance.copy_loads(j, option, copies)
            self._uneven.update(
                {(j, g): load for copy, load in zip(copies, loads, strict=True) for g in copy}
            )
        self.costs.update(j, (), copies)
        self.where[j], self.option[j] = copies, option
        if len(copies) == option.copies:
            self.missing -= self._least[j]

    def _refresh(self, g: int) -> None:
        held = self.members[g]
        free, kept, rows = self._memory[g], 0, []
        for j in held:
            option = self.option[j]
            assert option is not None
            free -= option.size
            kept += option.keep
            rows.append(self.shard_loads(j, g) if self._uneven else option.loads[self._type[g]])
        self.free[g], self.kept[g] = free, kept
        if not held:
            self.load[:, g] = self.kvpr[g] = 0.0
            return
        loads = list(map(math.fsum, zip(*rows, strict=True)))
        self.load[:, g] = loads
        self.kvpr[g] = pressure(free, kept, loads, self.instance.kv)

    @property
    def flaws(self) -> Worth:
        """What is wrong, the gravest first: bytes not placed, rules that must hold, soft tiers."""
        return (float(self.missing), *self.costs.vector)

    @property
    def valid(self) -> bool:
        """Whether every model is placed and all that must hold does."""
        return not self.missing and self.costs.broken <= 0 and self.worst() < math.inf

    def worst(self) -> float:
        """Return the largest KVPR."""
        return float(self.kvpr.max())

    def worth(self) -> tuple[Worth, float]:
        """Return what two boards are compared by, the lesser the better."""
        return (*self.flaws,), self.worst()

    def copy(self) -> "Board":
        """Return a board alike."""
        return Board(self.instance, self.where)


def _gpus(copies: Copies) -> set[int]:
    return {g for copy in copies for g in copy}
