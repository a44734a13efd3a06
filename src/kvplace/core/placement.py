"""Placement: which GPUs hold each shard, and how two placements differ."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, overload

from kvplace.core.columns import column_of
from kvplace.core.names import MAX_COUNT
from kvplace.errors import InputError
from kvplace.field_types import hold_types

_SHOWN = 8
"""Replicas up to which the text of a placement shows all of them."""


@dataclass(frozen=True, slots=True, order=True)
class Replica:
    """A running copy of a model.

    Parameters
    ----------
    model
        Name of the model.
    index
        Number of the copy, from 0, below `MAX_COUNT`.
    gpus
        Ids of the GPUs that hold its shards, in rank order.

    Raises
    ------
    InputError
        The number is negative, or larger than there can be copies.
    """

    model: str
    index: int
    gpus: tuple[str, ...]

    def __post_init__(self) -> None:
        if type(self.gpus) is not tuple or type(self.index) is not int:  # there may be a million
            hold_types(self)
        if not 0 <= self.index < MAX_COUNT:
            raise InputError(
                f"copy {self.index} of {self.model!r}: copies are numbered from 0, and below "
                f"{MAX_COUNT:,}"
            )


_ORDER = attrgetter("model", "index", "gpus")
"""The order of replicas, as fast as sorting can be."""


@dataclass(frozen=True, slots=True, eq=False)
class Assigned(Sequence[Replica]):
    """One undivided replica per model as an array; replicas are made on demand, sorted by model.

    Parameters
    ----------
    names
        Model by model, in any order.
    gpu_ids
        GPU by GPU, in the order of the fleet.
    gpu_of
        (n,) position in `gpu_ids` of the GPU of each model.
    """

    names: Sequence[str]
    gpu_ids: Sequence[str]
    gpu_of: array[int]
    _order: list[int] = field(default_factory=list, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def _sorted(self) -> list[int]:
        if not self._order:
            self._order.extend(sorted(range(len(self.names)), key=self.names.__getitem__))
        return self._order

    @overload
    def __getitem__(self, index: int) -> Replica: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Replica, ...]: ...

    def __getitem__(self, index: int | slice) -> Replica | tuple[Replica, ...]:
        if isinstance(index, slice):
            return tuple(map(self._replica, self._sorted()[index]))
        return self._replica(self._sorted()[index])

    def __iter__(self) -> Iterator[Replica]:
        return map(self._replica, self._sorted())

    def _replica(self, at: int) -> Replica:
        return Replica(self.names[at], 0, (self.gpu_ids[self.gpu_of[at]],))

    def column(self, name: str) -> Sequence[Any]:
        """Return a field of `Replica`, replica by replica, without making the replicas."""
        order = self._sorted()
        if name == "gpus":
            ids = list(zip(self.gpu_ids, strict=True))
            return [ids[self.gpu_of[at]] for at in order]
        return [0] * len(order) if name == "index" else list(map(self.names.__getitem__, order))

    def of_models(self, names: Container[str]) -> list[Replica]:
        """Return the replicas of some models, without making the others."""
        mine = (at for at, name in enumerate(self.names) if name in names)
        return sorted(map(self._replica, mine), key=_ORDER)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True, repr=False)
class Placement:
    """The decision, nothing else: every replica with its GPUs.

    Two placements with the same replicas are equal, whatever order they were given in.

    Parameters
    ----------
    replicas
        Kept sorted by model and number.

    Raises
    ------
    InputError
        It holds something else than replicas.
    """

    replicas: Sequence[Replica]

    def __post_init__(self) -> None:
        if isinstance(self.replicas, Assigned):
            return
        try:
            held = tuple(sorted(self.replicas, key=_ORDER))
        except (AttributeError, TypeError):
            hold_types(self)
            raise
        object.__setattr__(self, "replicas", held)

    def __repr__(self) -> str:
        count = len(self.replicas)
        if count > _SHOWN:
            return f"<Placement: {count:,} replicas on {len(self.by_gpu()):,} GPUs>"
        return f"Placement(replicas={tuple(self.replicas)!r})"

    @classmethod
    def single(cls, gpu_of: Mapping[str, str]) -> Placement:
        """Return the placement of one undivided replica per model, from model name to GPU id."""
        return cls(tuple(Replica(model, 0, (gpu,)) for model, gpu in gpu_of.items()))

    def column(self, name: str) -> Sequence[Any]:
        """Return a field of all replicas, in order."""
        return column_of(self.replicas, name)

    def of_models(self, names: Container[str]) -> list[Replica]:
        """Return the replicas of some models, in order."""
        if isinstance(self.replicas, Assigned):
            return self.replicas.of_models(names)
        return [replica for replica in self.replicas if replica.model in names]

    def by_gpu(self) -> dict[str, list[Replica]]:
        """Return the replicas with a shard on each GPU that holds any."""
        held: dict[str, list[Replica]] = {}
        for replica in self.replicas:
            for gpu in replica.gpus:
                held.setdefault(gpu, []).append(replica)
        return held

    def __iter__(self) -> Iterator[Replica]:
        return iter(self.replicas)

    def __len__(self) -> int:
        return len(self.replicas)

    def difference(self, after: Placement) -> list[Migration]:
        """Return what turns this placement into `after`, the fewest replicas touched.

        Copies of one model are alike, so only the GPUs they run on count, not their numbers.
        """
        before_left = _grouped(self.replicas)
        after_left = _grouped(after.replicas)
        changes: list[Migration] = []
        for model in sorted(before_left.keys() | after_left.keys()):
            old, new = before_left.get(model, Counter()), after_left.get(model, Counter())
            gone, come = sorted((old - new).elements()), sorted((new - old).elements())
            paired = min(len(gone), len(come))
            changes += [Migration(model, gone[i], come[i]) for i in range(paired)]
            changes += [Migration(model, gpus, ()) for gpus in gone[paired:]]
            changes += [Migration(model, (), gpus) for gpus in come[paired:]]
        return changes


@dataclass(frozen=True, slots=True)
class Migration:
    """One replica that moves, starts or stops between two placements.

    Parameters
    ----------
    model
        Name of the model.
    source
        GPUs it leaves; empty when it starts.
    target
        GPUs it takes; empty when it stops.
    """

    model: str
    source: tuple[str, ...]
    target: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``"move"``, ``"start"`` or ``"stop"``."""
        if not self.source:
            return "start"
        return "move" if self.target else "stop"


def copies_by_model(placement: Iterable[Replica]) -> dict[str, list[Replica]]:
    """Return the replicas of each model."""
    copies: dict[str, list[Replica]] = {}
    for replica in placement:
        held = copies.get(replica.model)
        if held is None:
            copies[replica.model] = [replica]
        else:
            held.append(replica)
    return copies


def _grouped(replicas: Iterable[Replica]) -> dict[str, Counter[tuple[str, ...]]]:
    """Count the GPU groups of each model's copies."""
    groups: dict[str, Counter[tuple[str, ...]]] = {}
    for replica in replicas:
        groups.setdefault(replica.model, Counter())[replica.gpus] += 1
    return groups
