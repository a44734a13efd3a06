"""Room for a copy that fits nowhere as things are: by moving, or stopping, a few others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from kvplace.replan.budget.fleet_state import BROKEN, Copies, FleetState, Reshape
from kvplace.replan.budget.neighbours import Candidate, reliefs
from kvplace.replan.budget.prices import Prices

__all__ = ["with_room"]

_TRIED = 64
"""Places that are tried, those that are short of the least memory first."""
_DEPTH = 4
"""Changes that are made for one copy."""


def with_room(
    state: FleetState,
    prices: Prices,
    movable: Callable[[int], bool],
    model: int,
    options: Iterable[Copies],
) -> Reshape | None:
    """Return the cheapest change that gives a model one of some copies, and the room for it.

    Parameters
    ----------
    state
        What runs; it is as it was afterwards.
    prices
        What changes cost.
    movable
        Whether a model may change.
    model, options
        Who needs room, and the copies to choose from.

    Returns
    -------
    tuple or None
        The copies of all models that change; None where no such change was found.
    """

    def price(one: int, copies: Copies) -> float:
        return prices.of(state, one, copies)

    def may(one: int) -> bool:
        return one != model and movable(one)

    def cost(one: Candidate) -> tuple[float, float, float, Reshape]:
        short = state.shortage(one.reshape) if one.worst >= BROKEN else -math.inf
        return short, one.price, one.worst, one.reshape

    ranked = sorted((state.shortage(((model, copies),)), copies) for copies in options)
    best: tuple[float, int, float, Reshape] | None = None
    for _, copies in ranked[:_TRIED]:
        back = _merged({}, state.apply(((model, copies),)))
        steps = 0
        while steps < _DEPTH and (hot := _short(state, back)) is not None:
            before = state.rules.amounts()
            found = [
                one
                for one in reliefs(state, hot, price, may)
                if state.rules.idle or state.rules_after(one.reshape) <= before
            ]
            if not found:
                break
            back = _merged(back, state.apply(min(found, key=cost).reshape))
            steps += 1
        if _short(state, back) is None:
            now = tuple((j, state.copies[j]) for j in sorted(back))
            paid = sum(price(j, c) for j, c in now) - sum(price(j, c) for j, c in back.items())
            gpus = {g for j, old in back.items() for c in (*old, *state.copies[j]) for g in c}
            key = (paid, steps, max(float(state.pressure[g]) for g in gpus), now)
            best = key if best is None or key < best else best
        state.apply(tuple(back.items()))
    return None if best is None else best[3]


def _merged(first: dict[int, Copies], back: Reshape) -> dict[int, Copies]:
    """Return the copies that models had before anything was done."""
    return dict(back) | first


def _short(state: FleetState, touched: dict[int, Copies]) -> int | None:
    """Return the GPU that is shortest of memory of those that a change touches; None if none is."""
    gpus = {g for j in touched for c in state.copies[j] for g in c}
    worst = max(gpus, key=lambda g: (state.pressure[g], -g), default=None)
    return worst if worst is not None and state.pressure[worst] >= BROKEN else None
