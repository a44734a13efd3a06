"""Fact: a figure and how it was obtained."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Fact(Generic[T_co]):
    """A figure that says where it comes from.

    Parameters
    ----------
    value
        The figure, in base units.
    origin
        How it was obtained, for a person: the file and field, the measurement and its window,
        or the source of a table row.
    """

    value: T_co
    origin: str

    def __str__(self) -> str:
        return f"{self.value} ({self.origin})"
