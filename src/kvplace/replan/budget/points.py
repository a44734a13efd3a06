"""The placements that a search has come to, by what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvplace.replan.budget.fleet_state import BROKEN, Copies

SAME = 1e-9
"""Share by which two pressures, or two prices, may differ and be the same."""
_COOLER = 10.0
"""Least gains that a model's change is to be worth that leaves the highest pressure as it is."""


def standing(profile: tuple[float, ...]) -> tuple[float, ...]:
    """Return pressures to the digits that count, so that no rounding decides before the next GPU.

    Parameters
    ----------
    profile
        Pressures from the worst GPU down.
    """
    return tuple(float(f"{one:.9g}") for one in profile)


@dataclass(frozen=True, slots=True)
class Point:
    """A placement and what it costs.

    Parameters
    ----------
    price
        What it costs, in the measure of the budget.
    soft
        How far each tier of soft rules is from holding.
    profile
        Pressures of the hottest GPUs, from the worst down.
    changed
        Copies of the models that run otherwise than at the origin.
    """

    price: float
    soft: tuple[float, ...]
    profile: tuple[float, ...]
    changed: dict[int, Copies] = field(compare=False)

    @property
    def worth(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What is compared: less is better."""
        return self.soft, standing(self.profile)


class Points:
    """The best placement found for each price.

    Parameters
    ----------
    gain
        Least share of the highest pressure by which a dearer placement must be better.
    """

    def __init__(self, gain: float) -> None:
        self.gain = gain
        self._of_price: dict[float, Point] = {}

    def offer(self, point: Point) -> None:
        """Keep a placement where it is the best of its price."""
        known = self._of_price.get(point.price)
        if known is None or point.worth < known.worth:
            self._of_price[point.price] = point

    def takes(self, price: float, worth: tuple[tuple[float, ...], tuple[float, ...]]) -> bool:
        """Whether a placement of so much worth is the best of its price."""
        known = self._of_price.get(price)
        return known is None or (worth[0], standing(worth[1])) < known.worth

    def frontier(self, budget: float) -> list[Point]:
        """Return valid placements by rising price, each better than all that cost less."""
        found: list[Point] = []
        for price in sorted(self._of_price):
            point = self._of_price[price]
            if price > budget * (1 + SAME) or point.profile[0] >= BROKEN:
                continue
            if not found or point.worth < found[-1].worth:
                found.append(point)
        return found

    def worthwhile(self, points: list[Point]) -> Point | None:
        """Return the last of some points, by rising price, that is worth its price.

        A dearer placement is taken only where it lowers the first pressure, from the worst GPU
        down, in which it differs from a cheaper one: the highest of all by the least gain; that of
        a cooler GPU by ten times as much for each model more that changes.
        """
        chosen: Point | None = None
        for point in points:
            if chosen is None or self._pays(point, chosen):
                chosen = point
        return chosen

    def _pays(self, better: Point, than: Point) -> bool:
        if better.soft != than.soft:
            return better.soft < than.soft
        if than.profile[0] >= BROKEN:
            return True
        more = max(1, len(better.changed) - len(than.changed))
        for at, (new, old) in enumerate(zip(better.profile, than.profile, strict=True)):
            if abs(new - old) > SAME * max(abs(new), abs(old)):
                least = self.gain * than.profile[0]
                return old - new >= (least * _COOLER * more if at else least)
        return False
