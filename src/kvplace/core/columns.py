"""Objects of one class as columns: what is written of very many of them, without making them."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from itertools import pairwise, repeat
from operator import attrgetter
from typing import Any, Generic, TypeVar, overload

from kvplace.field_types import plain_types

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Columns(Sequence[T]):
    """Objects that are made when they are looked at.

    Parameters
    ----------
    kind
        Their class, a dataclass.
    columns
        A column by the name of each field; a field that has none has its default in all objects.
    """

    kind: type[T]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> Sequence[Any]:
        """Return one field of all objects."""
        given = self.columns.get(name)
        return [defaults_of(self.kind)[name]] * len(self) if given is None else given

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Columns[T]": ...

    def __getitem__(self, index: int | slice) -> "T | Columns[T]":
        held = {name: column[index] for name, column in self.columns.items()}
        return Columns(self.kind, held) if isinstance(index, slice) else self.kind(**held)

    def __iter__(self) -> Iterator[T]:
        make, names = self.kind, list(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            yield make(**dict(zip(names, row, strict=True)))

    def count(self, value: object) -> int:
        """Return how many objects equal one, none of which is made where a field tells."""
        if not isinstance(value, self.kind):
            return 0
        columns = self.columns.items()
        if not all(column.count(getattr(value, name)) for name, column in columns):
            return 0
        return sum(one == value for one in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True, eq=False)
class Grouped(Sequence[tuple[T, ...]], Generic[T]):
    """Groups of objects: all of them one after the other, and where each group ends.

    Parameters
    ----------
    flat
        The objects.
    ends
        (n + 1,) where the first group starts, and where each ends.
    """

    flat: Sequence[T]
    ends: Sequence[int]

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> tuple[T, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> "Grouped[T]": ...

    def __getitem__(self, index: int | slice) -> "tuple[T, ...] | Grouped[T]":
        if isinstance(index, slice):
            first, end, _ = index.indices(len(self))
            return Grouped(self.flat, self.ends[first : end + 1])
        return tuple(self.flat[self.ends[index] : self.ends[index + 1]])

    @property
    def members(self) -> Sequence[T]:
        """The objects of all groups."""
        return self.flat[self.ends[0] : self.ends[-1]]

    @property
    def counts(self) -> list[int]:
        """How many objects each group has."""
        return [end - first for first, end in pairwise(self.ends)]


def filled(kind: type[T], count: int, columns: Mapping[str, Iterable[Any]]) -> list[T]:
    """Return objects whose fields are filled from columns past their constructor.

    Nothing of them is checked; a field without a column has its default.
    """
    found = list(map(kind.__new__, repeat(kind, count)))
    for one in fields(kind):  # type: ignore[arg-type]  # a class that is a dataclass
        column = columns[one.name] if one.name in columns else repeat(defaults_of(kind)[one.name])
        deque(map(getattr(kind, one.name).__set__, found, column), maxlen=0)
    return found


def made(of: Columns[T]) -> list[T]:
    """Return all objects at once, checked as by their constructor, in a fifth of the time.

    Where a class has a set `ALONE` of fields, each text, object and number of at least 0 is sound
    in those whatever the other fields hold. The constructor's own check is made of the objects of
    which a column holds anything else that is not the default. Columns may hold columns of other
    objects.

    Raises
    ------
    InputError
        What the constructor refuses first.
    """
    return _made(of)[0]


def _made(of: Columns[Any]) -> tuple[list[Any], set[int]]:
    """Return all objects, and the positions of those that were looked at one by one."""
    columns = dict(of.columns)
    odd: set[int] = set()
    for name, column in of.columns.items():
        if isinstance(column, Columns):
            columns[name], inner = _made(column)
            odd |= inner
        else:
            odd.update(_odd_rows(of.kind, name, column))
    found = filled(of.kind, len(of), columns)
    deque(map(of.kind.__post_init__, map(found.__getitem__, sorted(odd))), maxlen=0)
    return found, odd


def _odd_rows(kind: type[Any], name: str, column: Sequence[Any]) -> Collection[int]:
    """Return the rows of a column whose objects are to be looked at one by one."""
    types = set(map(type, column))
    if not types <= plain_types(kind)[name]:  # type: ignore[arg-type]  # a type is hashable
        return range(len(column))
    if name not in getattr(kind, "ALONE", ()):
        default = defaults_of(kind).get(name)
        return [row for row, one in enumerate(column) if one is not default and one != default]
    if types & {int, float}:
        numbers = [one for one in column if one is not None] if len(types) > 1 else column
        sound = min(numbers) >= 0 and max(numbers) < math.inf and sum(numbers) >= 0  # not NaN
        return () if sound else range(len(column))
    return ()


def column_of(values: Any, name: str) -> Sequence[Any]:
    """Return one field of all values, which may be columns themselves."""
    of: Callable[[str], Sequence[Any]] | None = getattr(values, "column", None)
    return list(map(attrgetter(name), values)) if of is None else of(name)


def defaults_of(kind: type[Any]) -> Mapping[str, Any]:
    """Return the default of each field of a dataclass that has one."""
    return _defaults(kind)  # type: ignore[arg-type]  # a type is hashable


@cache
def _defaults(kind: Any) -> Mapping[str, Any]:
    made = {of.name: of.default_factory for of in fields(kind)}
    given = {of.name: of.default for of in fields(kind) if of.default is not MISSING}
    return given | {name: make() for name, make in made.items() if make is not MISSING}
