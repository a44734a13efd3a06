"""Instance: a problem as numbers, made once; what every search, bound and proof works on.

Models and GPUs are numbers in a canonical order that depends on what they are and, only between
equals, on their names; so the order of the input cannot change the plan. A model has one row per
option, one way to split and copy it; an undivided model has one. A row carries a load for every
pressure on a GPU: first those on its KV memory, where the pressure is load / free bytes, then those
on its time, where the load is the pressure. The pressure of a GPU is the largest.
"""

from array import array
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from kvplace.solver.instance.numbers import Loads, Numbers
from kvplace.solver.instance.rule_penalties import Copies

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats, Ints
    from kvplace.solver.instance.columns import Columns
    from kvplace.solver.instance.regions import Regions

__all__ = ["Copies", "Instance", "Option"]


class Option(NamedTuple):
    """One way to split and copy a model.

    Parameters
    ----------
    row
        Its row in the instance.
    degree, copies
        Tensor parallel degree and number of copies.
    size, keep
        Bytes resident and bytes of KV to be left, per shard.
    loads
        Per shard where copies carry even parts, by load type of the GPU and by pressure.
    """

    row: int
    degree: int
    copies: int
    size: int
    keep: int
    loads: Loads

    @property
    def shards(self) -> int:
        """Shards of all copies together."""
        return self.degree * self.copies

    @property
    def load(self) -> float:
        """The first KV load: the only one where there is one pressure."""
        return self.loads[0][0]

    def taken(self, target: float) -> float:
        """Return the bytes that a shard takes at a target, the KV that must be left included."""
        return self.size + max(self.load / target, self.keep)


class Instance(Numbers):
    """A problem as numbers, with what searches ask of them."""

    @classmethod
    def undivided(
        cls,
        size: "Sequence[int] | Ints",
        keep: "Sequence[int] | Ints",
        load: "Sequence[float] | Floats",
        memory: "Sequence[int] | Ints",
        model_index: "Sequence[int] | Ints",
        gpu_index: "Sequence[int] | Ints",
    ) -> "Instance":
        """Return an instance of undivided models that may go anywhere, with one pressure."""
        ones = array("i", [1]) * len(size)
        return cls(
            range(len(size) + 1),
            ones,
            ones,
            _as("q", size),
            _as("q", keep),
            _as("d", load),
            _as("q", memory),
            _as("q", model_index),
            _as("q", gpu_index),
        )

    @property
    def load(self) -> "array[float]":
        """(n,) loads of undivided models under one pressure."""
        return self.loads

    @cached_property
    def options(self) -> list[list[Option]]:
        """The options of each model."""
        per_type = zip(*[iter(self.loads)] * self.pressures, strict=True)
        loads = zip(*[per_type] * self.types, strict=True)
        columns = (range(len(self.size)), self.degree, self.copies, self.size, self.keep, loads)
        options = list(map(Option._make, zip(*columns, strict=True)))
        return [options[a:b] for a, b in pairwise(self.starts)]

    @cached_property
    def columns(self) -> "Columns":
        """The same as numpy arrays, which share its memory."""
        from kvplace.solver.instance.columns import Columns  # noqa: PLC0415 - numpy: only here

        return Columns(self)

    @cached_property
    def regions(self) -> "Regions":
        """GPUs between which no rule tells a difference."""
        import numpy as np  # noqa: PLC0415 - numpy: only here

        from kvplace.solver.instance.regions import Regions  # noqa: PLC0415 - numpy: only here

        free = np.array(list(map(self.anywhere, range(self.n))), dtype=bool)
        return Regions(self.columns.masks, free, self.blueprints)

    @cached_property
    def least_bytes(self) -> list[int]:
        """Bytes that each model takes at least, of all its shards together; never 0."""
        columns = zip(self.size, self.degree, self.copies, strict=True)
        taken = [size * degree * copies for size, degree, copies in columns]
        return [max(1, min(taken[a:b], default=1)) for a, b in pairwise(self.starts)]

    @cached_property
    def rules_of(self) -> list[list[int]]:
        """Positions in `blueprints` of those that speak of each model."""
        none: list[int] = []
        of = [none] * self.n
        for at, plan in enumerate(self.blueprints):
            for j in plan.concerned:
                of[j] = [*of[j], at]
        return of

    @cached_property
    def everywhere(self) -> list[bool]:
        """Whether each of `masks` holds every GPU."""
        return [all(mask) for mask in self.masks]

    @cached_property
    def simple(self) -> bool:
        """Whether every model is one shard that may go anywhere."""
        split = max(self.degree, default=1) > 1 or max(self.copies, default=1) > 1
        return not (split or self.masks or self.blueprints) and self.n == len(self.size)

    def anywhere(self, j: int) -> bool:
        """Whether a model may run on every GPU."""
        return not self.masks or self.everywhere[self.mask_of[j]]

    def is_uneven(self, j: int) -> bool:
        """Whether the copies of a model carry uneven parts where it has several."""
        return j in self.uneven

    def resource(self, at: int) -> tuple[str, int]:
        """Return what a pressure is on, ``kv`` or ``time``, and the window of demand it is of."""
        if at < self.kv:
            return "kv", self.kv_windows[at]
        return "time", self.time_windows[at - self.kv]

    def type_at(self, g: int) -> int:
        """Return the load type of a GPU."""
        return self.type_of[g] if self.type_of else 0

    def copy_loads(self, j: int, option: Option, copies: Copies) -> list[Loads]:
        """Return the loads of a shard of each copy."""
        if j not in self.uneven or len(copies) < 2:
            return [option.loads] * len(copies)
        uneven = self.uneven[j]
        least = [min([self.memory[g] for g in copy]) for copy in copies]
        found = []
        for part in [memory / sum(least) for memory in least]:
            of_rank = part * uneven.part[option.degree]
            kv = tuple([load * of_rank for load in uneven.load])
            shares = ((),) if uneven.shares is None else uneven.shares(option.degree, part)
            found.append(tuple([(*kv, *times) for times in shares]))
        return found

    def takes(self, size: int, loads: Sequence[float], target: float, g: int) -> list[float]:
        """Return what a shard takes of a GPU at a target by each pressure, in bytes of that GPU."""
        if not self.time:
            return [size + load / target for load in loads]
        unit = self.memory[g] / target
        kv = [size + load / target for load in loads[: self.kv]]
        return kv + [load * unit for load in loads[self.kv :]]

    def option_of(self, j: int, copies: Copies) -> Option:
        """Return the option that some copies of a model are."""
        degree, count = len(copies[0]), len(copies)
        for option in self.options[j]:
            if option.degree == degree and option.copies == count:
                return option
        raise ValueError((j, copies))


def _as(code: str, column: "Sequence[float] | Ints | Floats") -> "array[Any]":
    if isinstance(column, array):
        return column
    return array(code, column if isinstance(column, Sequence) else column.tobytes())
