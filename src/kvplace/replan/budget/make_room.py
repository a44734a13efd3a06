"""Room for a copy where there is none as things are: by moving, or stopping, a few others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from kvplace.replan.budget.fleet_state import BROKEN, Copies, FleetState, Reshape
from kvplace.replan.budget.neighbours import Candidate, places_for, reliefs
from kvplace.replan.budget.prices import Prices
from kvplace.solver.clock import Watch

_TRIED = 64
"""Places that are tried, those that are short of the least memory first."""
_DEPTH = 4
"""Changes that are made for each GPU of a copy."""
_SETS = 400
"""Sets of GPUs of a small fleet, each of which is tried for a copy."""


def with_room(
    state: FleetState,
    prices: Prices,
    movable: Callable[[int], bool],
    model: int,
    options: Iterable[Copies],
    limit: float = BROKEN,
    watch: Watch | None = None,
) -> Candidate | None:
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
    limit
        Pressure below which every GPU that is touched is to stay.
    watch
        When to stop; None for never.

    Returns
    -------
    Candidate or None
        The copies of all models that change; None where no such change was found.
    """

    def price(one: int, copies: Copies) -> float:
        return prices.of(state, one, copies)

    def may(one: int) -> bool:
        return one != model and movable(one)

    def cost(one: Candidate) -> tuple[float, bool, float, float, Reshape]:
        short = state.shortage(one.reshape) if one.worst >= BROKEN else -math.inf
        return short, one.worst >= limit, one.price, one.worst, one.reshape

    def short_of(copies: Copies) -> tuple[int, float, Copies]:
        reshape: Reshape = ((model, copies),)
        return max(0, state.shortage(reshape)), state.outcome(reshape), copies

    best: tuple[float, int, float, Reshape] | None = None
    for *_, copies in sorted(map(short_of, options))[:_TRIED]:
        if watch is not None and watch.stop:
            break
        back = _merged({}, state.apply(((model, copies),)))
        steps, most = 0, _DEPTH * max(map(len, copies), default=1)
        while steps < most and (hot := _hot(state, back, limit)) is not None:
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
        gpus = {g for j, old in back.items() for c in (*old, *state.copies[j]) for g in c}
        worst = max(float(state.pressure[g]) for g in gpus)
        if worst < limit:
            now = tuple((j, state.copies[j]) for j in sorted(back))
            paid = sum(price(j, c) for j, c in now) - sum(price(j, c) for j, c in back.items())
            key = (paid, steps, worst, now)
            best = key if best is None or key < best else best
        state.apply(tuple(back.items()))
    return None if best is None else Candidate(best[2], best[0], best[3])


def relieved_with_room(
    state: FleetState,
    prices: Prices,
    movable: Callable[[int], bool],
    hot: int,
    limit: float,
    left: float,
    watch: Watch,
) -> Candidate | None:
    """Return the cheapest change that relieves a hot GPU, and makes the room that this takes.

    A copy on it goes elsewhere, or its model gets one more, where there is no room as things are.

    Parameters
    ----------
    state, prices, movable
        As for `with_room`.
    hot
        The GPU.
    limit
        Pressure below which every GPU that is touched is to stay.
    left
        What the change may cost.
    watch
        When to stop.
    """
    found: list[Candidate] = []
    for model in list(state.members[hot]):
        if not movable(model) or watch.stop:
            continue
        copies = state.copies[model]
        options = anywhere(state, model, tuple(c for c in copies if hot not in c))
        if len(copies) < state.models[model].replicas.max:
            options += anywhere(state, model, copies)
        options = [one for one in options if one != copies]
        one = with_room(state, prices, movable, model, options, limit, watch)
        if one is not None and one.price <= left:
            found.append(one)
    return min(found, key=lambda one: (one.price, one.worst, one.reshape), default=None)


def with_one_more(state: FleetState, model: int, copies: Copies, most: int = 6) -> list[Copies]:
    """Return some copies of a model with another, where it presses least."""
    taken = {gpu for c in copies for gpu in c}
    wanted = max(len(copies) + 1, state.models[model].replicas.min)
    return [
        tuple(sorted((*copies, place)))
        for degree in state.models[model].tensor_parallel
        for place in places_for(state, model, degree, taken, 1 / wanted, most=most)
    ]


def anywhere(state: FleetState, model: int, copies: Copies) -> list[Copies]:
    """Return some copies of a model with another on any GPUs, or on the best of a large fleet."""
    taken = {gpu for c in copies for gpu in c}
    found = []
    for degree in state.models[model].tensor_parallel:
        for place in state.sets_of(model, degree):
            if taken.isdisjoint(place):
                found.append(tuple(sorted((*copies, place))))
            if len(found) > _SETS:
                return with_one_more(state, model, copies, _SETS)
    return found


def _merged(first: dict[int, Copies], back: Reshape) -> dict[int, Copies]:
    """Return the copies that models had before anything was done."""
    return dict(back) | first


def _hot(state: FleetState, touched: dict[int, Copies], limit: float) -> int | None:
    """Return the worst GPU of those that a change touches; None where all are below a pressure."""
    gpus = {g for j in touched for c in state.copies[j] for g in c}
    worst = max(gpus, key=lambda g: (state.pressure[g], -g), default=None)
    return worst if worst is not None and state.pressure[worst] >= limit else None
