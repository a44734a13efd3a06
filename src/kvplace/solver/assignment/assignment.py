"""Assignment: who is where, under change, with what each GPU carries kept up to date.

Kept in lists, so that a small fleet needs no numpy; operators that look at many GPUs at once ask
for `Assignment.arrays`, which are kept up to date from then on.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kvplace.solver.instance.instance import Copies, Instance, Option
from kvplace.solver.instance.numbers import Loads
from kvplace.solver.instance.order import MANY
from kvplace.solver.instance.pressure import pressure
from kvplace.solver.instance.rule_penalties import Costs

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats
    from kvplace.solver.assignment.carried import Carried

Change = tuple[int, Option | None, Copies]
"""A model, the option its copies then are (None for none placed), and their GPUs."""

Worth = tuple[float, ...]


class Assignment:
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
    free, kept, pressure
        Free bytes, bytes of KV that must be left, and pressure per GPU, ``inf`` where the memory
        is exceeded; summed anew at every change, so that nothing drifts.
    load
        First load on KV memory per GPU: the only one where there is one pressure.
    missing
        Bytes of the models that are not placed.
    changed
        GPUs that changed since the reader last cleared it.
    """

    def __init__(self, instance: Instance, where: Sequence[Copies] | None = None) -> None:
        self.instance = instance
        self.where: list[Copies] = [()] * instance.n
        self.option: list[Option | None] = [None] * instance.n
        self.members: list[list[int]] = [[] for _ in range(instance.g)]
        self._memory: list[int] = instance.memory.tolist()
        self.free: list[int] = list(self._memory)
        self.kept: list[int] = [0] * instance.g
        self.load: list[float] = [0.0] * instance.g
        self.pressure: list[float] = [0.0] * instance.g
        self.changed: set[int] = set()
        self.costs = Costs(instance.blueprints, instance.rules_of)
        self._least = instance.least_bytes
        self.missing = sum(self._least)
        self._type: Sequence[int] = instance.type_of or [0] * instance.g
        self._several = instance.pressures > 1
        self._uneven: dict[tuple[int, int], Loads] = {}
        self._arrays: Carried | None = None
        if where is not None and len(where) >= MANY and not instance.uneven:
            self._put_all(where)
            return
        for j, copies in enumerate(where or ()):
            if copies:
                self._put(j, instance.option_of(j, copies), copies)
        for g, held in enumerate(self.members):
            if held:
                self._refresh(g)

    @classmethod
    def single(cls, instance: Instance, gpu_of: Sequence[int]) -> "Assignment":
        """Return the assignment of undivided models to the GPU of each."""
        return cls(instance, [((g,),) for g in gpu_of])

    @property
    def gpu_of(self) -> list[int]:
        """GPU of each undivided model."""
        return [copies[0][0] for copies in self.where]

    @property
    def arrays(self) -> "Carried":
        """What each GPU carries, as numpy arrays."""
        if self._arrays is None:
            from kvplace.solver.assignment.carried import Carried  # noqa: PLC0415 - numpy: only here

            self._arrays = arrays = Carried(self.instance)
            arrays.free[:], arrays.kept[:] = self.free, self.kept
            arrays.load[0], arrays.pressure[:] = self.load, self.pressure
            for g in range(self.instance.g) if self._several else ():
                arrays.load[:, g] = self._loads(g)
        return self._arrays

    def spare(self, margin: float) -> None:
        """Make steps that take memory of a GPU leave a share of it free."""
        self.arrays.spare[:] = [margin * memory for memory in self._memory]
        self.arrays.sparing = margin > 0

    def spared(self, before: "Floats", gpus: Iterable[int]) -> bool:
        """Whether GPUs that have less free memory than before have as much as is to be spared."""
        free, spare = self.arrays.free, self.arrays.spare
        return all(free[g] >= min(spare[g], before[g]) for g in gpus)

    def reset(self, where: Sequence[Copies]) -> None:
        """Place every model as given."""
        option_of = self.instance.option_of
        self.apply((j, option_of(j, copies), copies) for j, copies in enumerate(where))

    def move_to(self, other: "Assignment") -> None:
        """Place every model as another assignment of the same instance does."""
        pairs = enumerate(zip(self.where, other.where, strict=True))
        self.apply((j, other.option[j], there) for j, (here, there) in pairs if here != there)

    def chosen(self, j: int) -> Option:
        """Return the option of a model that is placed."""
        option = self.option[j]
        assert option is not None
        return option

    def shard_loads(self, j: int, g: int) -> tuple[float, ...]:
        """Return (pressures,) the loads of the shard of a model on a GPU."""
        if self._uneven:
            found = self._uneven.get((j, g))
            if found is not None:
                return found[self._type[g]]
        return self.chosen(j).loads[self._type[g]]

    def room(self, g: int, target: float) -> list[float]:
        """Return what a GPU has left at a target by each pressure, in bytes of it."""
        taken = self.instance.takes(0, self._loads(g), target, g)
        kv, free, memory = self.instance.kv, float(self.free[g]), self._memory[g]
        return [(free if at < kv else memory) - load for at, load in enumerate(taken)]

    def binding(self, g: int) -> int:
        """Return which of its loads presses most on a GPU."""
        if not self._several:
            return 0
        kv, free = self.instance.kv, max(float(self.free[g]), 1.0)
        parts = [load / free if at < kv else load for at, load in enumerate(self._loads(g))]
        return parts.index(max(parts))

    def hottest_first(self, g: int) -> list[int]:
        """Return the models on a GPU, those first that carry most of what presses most on it."""
        at = self.binding(g)
        return sorted(self.members[g], key=lambda j: (-self.shard_loads(j, g)[at], j))

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

    def exchange(self, g: int, out: Iterable[int], h: int, back: Iterable[int]) -> None:
        """Move undivided models: `out` from GPU g to h, and `back` from h to g."""
        for models, source, target in ((out, g, h), (back, h, g)):
            for j in models:
                self.members[source].remove(j)
                self.members[target].append(j)
                old, self.where[j] = self.where[j], ((target,),)
                self.costs.update(j, old, self.where[j])
        self._refresh(g)
        self._refresh(h)
        self.changed.update((g, h))

    def exchange_below(self, g: int, out: list[int], h: int, back: list[int], goal: float) -> bool:
        """Exchange undivided models if both GPUs end below a pressure; whether they do."""
        self.exchange(g, out, h, back)
        if max(self.pressure[g], self.pressure[h]) < goal:
            return True
        self.exchange(h, out, g, back)  # a load lost in the rounding of another: no gain
        return False

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
        if len(old) == self.chosen(j).copies:
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

    def _put_all(self, where: Sequence[Copies]) -> None:
        """Place all models at once by arrays, as `_put` and `_refresh` do one by one."""
        from kvplace.solver.assignment.carried import placed  # noqa: PLC0415 - numpy: only here

        option_of, least = self.instance.option_of, self._least
        for j, copies in enumerate(where):
            if copies:
                self.where[j], self.option[j] = copies, option_of(j, copies)
                self.missing -= least[j]
            if self.costs.trackers:
                self.costs.update(j, (), copies)
        self.members, self.free, self.kept, self.load, self.pressure = placed(
            self.instance, self.option, self.where
        )

    def _loads(self, g: int) -> list[float]:
        """Return (pressures,) the loads on a GPU, each rounded once."""
        rows = [self.shard_loads(j, g) for j in self.members[g]]
        return list(map(math.fsum, zip(*rows, strict=True))) or [0.0] * self.instance.pressures

    def _refresh(self, g: int) -> None:
        held = [option for option in map(self.option.__getitem__, self.members[g]) if option]
        free = self._memory[g] - sum([option.size for option in held])
        kept = sum([option.keep for option in held])
        if self._several or self._uneven:
            loads = self._loads(g)
        else:
            loads = [math.fsum([option.loads[0][0] for option in held])]
        full = pressure(free, kept, loads, self.instance.kv) if held else 0.0
        self.free[g], self.kept[g], self.load[g], self.pressure[g] = free, kept, loads[0], full
        if self._arrays is not None:
            self._arrays.set(g, free, kept, loads, full)

    @property
    def flaws(self) -> Worth:
        """What is wrong, the gravest first: bytes not placed, rules that must hold, soft tiers."""
        return (float(self.missing), *self.costs.vector)

    @property
    def valid(self) -> bool:
        """Whether every model is placed and all that must hold does."""
        return not self.missing and self.costs.broken <= 0 and self.worst() < math.inf

    def worst(self) -> float:
        """Return the largest pressure; ``inf`` where some GPU's memory is exceeded."""
        if self._arrays is not None:
            return float(self._arrays.pressure.max())
        return max(self.pressure)

    def hottest(self, tolerance: float, most: int) -> list[int]:
        """Return the GPUs above 0 at the largest pressure within a tolerance, at most so many."""
        worst = self.worst()
        if worst <= 0:
            return []
        least = worst * (1 - tolerance)
        if self._arrays is not None:
            found: list[int] = (self._arrays.pressure >= least).nonzero()[0][:most].tolist()
            return found
        return [g for g, value in enumerate(self.pressure) if value >= least][:most]

    def worth(self) -> tuple[Worth, float]:
        """Return what two assignments are compared by, the lesser the better."""
        return (*self.flaws,), self.worst()

    def copy(self) -> "Assignment":
        """Return an equal assignment."""
        if self.instance.blueprints:
            return Assignment(self.instance, self.where)
        other = Assignment.__new__(Assignment)
        vars(other).update(vars(self))
        for name in ("where", "option", "free", "kept", "load", "pressure"):
            setattr(other, name, list(getattr(self, name)))
        other.members = [list(held) for held in self.members]
        vars(other).update(changed=set(), _uneven=dict(self._uneven), _arrays=None)
        return other


def moved(board: Assignment, j: int, source: int, target: int) -> Change:
    """Return the change that moves one shard; its copy stays the same one by number."""
    copies = tuple(
        tuple(sorted(target if g == source else g for g in copy)) if source in copy else copy
        for copy in board.where[j]
    )
    return j, board.option[j], copies


def _gpus(copies: Copies) -> set[int]:
    return {g for copy in copies for g in copy}
