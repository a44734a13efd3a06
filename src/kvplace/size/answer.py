"""What a search for sizes answers: one size per growth, and the fleets around them."""

from dataclasses import dataclass

from kvplace.core.result import Result
from kvplace.size.stock import Mix, Stock

PROVED = 1e-9
"""Relative distance by which one number must exceed another, for the rounding of floats."""


@dataclass(frozen=True, slots=True)
class Size:
    """The answer for one growth of demand.

    Parameters
    ----------
    growth
        Factor on every rate.
    mix
        Nodes of each kind; None where no fleet was found that reaches the target.
    result
        Plan on that mix.
    cost
        Of the mix, by `Stock.cost`; ``inf`` without one.
    least_cost
        No fleet that costs less reaches the target; ``inf`` where none does at all.
    reasons
        Why no fleet reaches the target, where that is so.
    late
        What fell short of GPU time where memory would have been enough; empty otherwise.
    """

    growth: float
    mix: Mix | None
    result: Result | None
    cost: float
    least_cost: float
    reasons: tuple[str, ...]
    late: str = ""

    @property
    def proved(self) -> bool:
        """Whether nothing cheaper reaches the target."""
        return self.mix is not None and self.least_cost >= self.cost * (1 - PROVED)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a fleet is worth at a growth of demand; no result where it cannot serve it."""

    mix: Mix
    growth: float
    result: Result | None


@dataclass(frozen=True, slots=True)
class Sizing:
    """Sizes for each growth, and what the fleets around them are worth at every growth.

    Parameters
    ----------
    stock
        What the fleets are made of.
    target
        Most KVPR of any GPU.
    sizes
        One answer per growth asked for.
    table
        Fleets from the cheapest to the dearest, each at every growth.
    complete
        Whether nothing was cut by the time limit or an interrupt.
    """

    stock: Stock
    target: float
    sizes: tuple[Size, ...]
    table: tuple[Cell, ...]
    complete: bool
