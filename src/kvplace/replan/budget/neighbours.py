"""What may be done about a hot GPU: every change that would relieve it, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvplace.replan.budget.fleet_state import BROKEN, Copies, FleetState, Reshape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BEST = 6
"""Targets per model that are looked at, in case rules refuse the first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change that would relieve a GPU.

    Parameters
    ----------
    worst
        Pressure of the worst GPU that it touches, afterwards.
    price
        What it costs more than what was done so far; below 0 where it takes something back.
    reshape
        The change.
    """

    worst: float
    price: float
    reshape: Reshape


class Rows:
    """Copies on one GPU each whose demand does not depend on where they are, in columns."""

    def __init__(self, state: FleetState, movable: Callable[[int], bool]) -> None:
        self._state, self._movable = state, movable
        self._fill()

    def _fill(self) -> None:
        """Read all rows from the state."""
        state, movable = self._state, self._movable
        rows = [
            (model, copy[0], state.need(model, 1, part))
            for model, copies in state.copies.items()
            if movable(model) and state.even(model)
            for copy, part in zip(copies, state.parts(model, copies), strict=True)
            if len(copy) == 1
        ]
        self.model = np.array([row[0] for row in rows], dtype=np.int64)
        self.gpu = np.array([row[1] for row in rows], dtype=np.int64)
        self.weights = np.array([row[2][0] for row in rows], dtype=np.int64)
        self.kept = np.array([row[2][1] for row in rows], dtype=np.int64)
        shape = (len(rows), len(state.types), len(state.load))
        # By type of GPU, load by load, row by row.
        self.load = np.array([row[2][2] for row in rows]).reshape(shape).transpose(1, 2, 0)
        self.kind = np.array([state.class_of(row[0]) for row in rows], dtype=np.int64)
        self._at = {(row[0], row[1]): at for at, row in enumerate(rows)}

    def follow(self, before: Reshape, after: Reshape) -> None:
        """Keep up with a change; `before` and `after` name the same models."""
        for (_, old), (_, new) in zip(before, after, strict=True):
            if len(old) != len(new) or any(len(c) != 1 for c in (*old, *new)):
                self._fill()
                return
        for (model, old), (_, new) in zip(before, after, strict=True):
            gone = [c[0] for c in old if c not in new]
            come = [c[0] for c in new if c not in old]
            rows = [self._at.pop((model, gpu), -1) for gpu in gone]
            for row, gpu in zip(rows, come, strict=True):
                if row >= 0:
                    self.gpu[row] = gpu
                    self._at[model, gpu] = row


def reliefs(
    state: FleetState,
    hot: int,
    price: Callable[[int, Copies], float],
    movable: Callable[[int], bool],
    limit: float | None = None,
) -> Iterator[Candidate]:
    """Yield changes of one model that leave every GPU they touch below the pressure of a hot one.

    Parameters
    ----------
    state
        The fleet.
    hot
        The GPU to relieve.
    price
        What it costs to give a model other copies, in all.
    movable
        Whether a model may be touched.
    limit
        Another pressure to stay below; several places are then tried for each model.
    """
    # Where no rule can refuse the place that presses least, no other is better.
    most = 1 if limit is None and state.rules.idle else _BEST
    short = limit is None and bool(state.pressure[hot] >= BROKEN)
    limit = float(state.pressure[hot]) if limit is None else limit
    for model in list(state.members[hot]):
        if not movable(model):
            continue
        now = price(model, state.copies[model])
        for copies in _elsewhere(state, model, hot, np.inf if short else limit, most):
            reshape: Reshape = ((model, copies),)
            worst = state.outcome(reshape)
            if state.shortage(reshape) < 0 if short else worst < limit:
                yield Candidate(worst, price(model, copies) - now, reshape)


def swaps(
    state: FleetState,
    rows: Rows,
    hot: int,
    price: Callable[[int, Copies], float],
    movable: Callable[[int], bool],
    limit: float | None = None,
) -> Iterator[Candidate]:
    """Yield exchanges of a copy on a hot GPU with a copy of another model, as `reliefs` does."""
    limit = float(state.pressure[hot]) if limit is None else limit
    for model in list(state.members[hot]):
        if movable(model):
            yield from _swaps(state, rows, model, hot, limit, price)


def _elsewhere(
    state: FleetState, model: int, hot: int, limit: float, most: int
) -> Iterator[Copies]:
    """Yield copies of a model that leave less of it on a GPU."""
    copies = state.copies[model]
    own = next(c for c in copies if hot in c)
    rest = tuple(c for c in copies if c != own)
    about = state.models[model]
    others = {gpu for c in rest for gpu in c}
    part = 1 / len(copies)
    for degree in about.tensor_parallel:
        for place in places_for(
            state, model, degree, others, part, limit=limit, leaving=own, most=most
        ):
            if place != own:
                yield tuple(sorted((*rest, place)))
    if len(copies) < about.replicas.max:
        part = 1 / (len(copies) + 1)
        for degree in about.tensor_parallel:
            taken = {*others, *own}
            for place in places_for(state, model, degree, taken, part, limit=limit, most=most):
                yield tuple(sorted((*copies, place)))
    if len(copies) > about.replicas.min:
        yield rest


def places_for(
    state: FleetState,
    model: int,
    degree: int,
    taken: set[int],
    part: float,
    *,
    limit: float = np.inf,
    leaving: tuple[int, ...] = (),
    most: int = _BEST,
) -> Iterator[tuple[int, ...]]:
    """Yield where a copy would press least: single GPUs, or sets of one link domain.

    Parameters
    ----------
    state
        The fleet.
    model, degree, part
        The copy: on how many GPUs, with which part of the demand.
    taken
        GPUs that it may not be on.
    limit
        Pressure below which the GPUs are to stay.
    leaving
        GPUs of a copy of the model that is thought away.
    most
        How many to yield.
    """
    weights, kept, loads = state.need(model, degree, part)
    used, least, load = state.used, state.kept, state.load
    if leaving:
        at = list(leaving)
        copies = state.copies[model]
        share = state.parts(model, copies)[copies.index(leaving)]
        less = state.need(model, len(leaving), share)
        used, least, load = used.copy(), least.copy(), load.copy()
        used[at] -= less[0]
        least[at] -= less[1]
        load[:, at] -= np.array(less[2])[state.type_of[at]].T
    added = np.array(loads)[state.type_of].T
    pressed = state.pressed(state.memory, used + weights, least + kept, load + added)
    pressed = np.where(state.mask(model), pressed, np.inf)
    pressed[list(taken)] = np.inf
    if degree == 1:
        for gpu in _least(pressed, most):
            if pressed[gpu] < limit:
                yield (int(gpu),)
        return
    found: list[tuple[float, tuple[int, ...]]] = []
    for domains in state.domains_of_width:
        if domains.shape[1] < degree:
            continue
        there = pressed[domains]
        order = np.argsort(there, axis=1, kind="stable")[:, :degree]
        worst = np.take_along_axis(there, order[:, -1:], axis=1)[:, 0]
        for row in _least(worst, most):
            if worst[row] < limit:
                place = tuple(sorted(domains[row, order[row]].tolist()))
                found.append((float(worst[row]), place))
    found.sort()
    yield from (place for _, place in found[:most])


def _swaps(
    state: FleetState,
    rows: Rows,
    model: int,
    hot: int,
    limit: float,
    price: Callable[[int, Copies], float],
) -> Iterator[Candidate]:
    """Yield exchanges of a model's copy on a hot GPU with a copy of another elsewhere."""
    copies = state.copies[model]
    if (hot,) not in copies or not state.even(model) or not len(rows.model):
        return
    weights, kept, loads = state.need(model, 1, 1 / len(copies))
    load = np.array(loads)  # by type of GPU
    mine, type_here = load[state.type_of[hot]][:, None], int(state.type_of[hot])
    others = [gpu for c in copies for gpu in c]
    may = state.mask(model)[rows.gpu] & ~np.isin(rows.gpu, others)
    may &= state.kinds_on(hot)[rows.kind] & ~np.isin(rows.model, list(state.members[hot]))
    at = np.flatnonzero(may)
    if not len(at):
        return
    new_hot = state.pressed(
        state.memory[hot],
        state.used[hot] - weights + rows.weights[at],
        state.kept[hot] - kept + rows.kept[at],
        state.load[:, [hot]] - mine + rows.load[type_here][:, at],
    )
    some = at[new_hot < limit]
    if not len(some):
        return
    gpu = rows.gpu[some]
    kind = state.type_of[gpu]
    new_there = state.pressed(
        state.memory[gpu],
        state.used[gpu] - rows.weights[some] + weights,
        state.kept[gpu] - rows.kept[some] + kept,
        state.load[:, gpu] - rows.load[kind, :, some].T + load[kind].T,
    )
    worst = np.maximum(new_hot[new_hot < limit], new_there)
    now = price(model, copies)
    for pick in _least(worst, _BEST):
        if not worst[pick] < min(limit, BROKEN):
            break
        other, there = int(rows.model[some[pick]]), int(rows.gpu[some[pick]])
        mine = tuple(sorted((*(c for c in copies if c != (hot,)), (there,))))
        theirs_now = state.copies[other]
        theirs = tuple(sorted((*(c for c in theirs_now if c != (there,)), (hot,))))
        cost = price(model, mine) - now + price(other, theirs) - price(other, theirs_now)
        yield Candidate(float(worst[pick]), cost, ((model, mine), (other, theirs)))


def _least(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the least values, the least first, ties by position."""
    if len(values) > 4 * count:
        some = np.argpartition(values, count)[:count]
        some.sort()
        return some[np.argsort(values[some], kind="stable")]
    return np.argsort(values, kind="stable")[:count]


def shapes_of(state: FleetState, model: int, most: int) -> list[Copies] | None:
    """Return every allowed way to run a model; None where there are more than so many."""
    about = state.models[model]
    sets = []
    for degree in about.tensor_parallel:
        for place in state.sets_of(model, degree):
            sets.append(place)
            if len(sets) > most:
                return None
    found: list[Copies] = []

    def extend(chosen: Copies, first: int) -> bool:
        if len(chosen) >= about.replicas.min:
            found.append(tuple(sorted(chosen)))
        if len(chosen) < about.replicas.max:
            taken = {gpu for copy in chosen for gpu in copy}
            for at in range(first, len(sets)):
                if taken.isdisjoint(sets[at]) and not extend((*chosen, sets[at]), at + 1):
                    return False
        return len(found) <= most

    return found if extend((), 0) else None
