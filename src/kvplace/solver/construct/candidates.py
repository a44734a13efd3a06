"""Seats: the GPUs that a copy of a model could take, the best first."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment, Change
from kvplace.solver.instance.instance import Option
from kvplace.solver.instance.pressure import pressures

TRIED = 24
"""Seats looked at for a copy before it is given up."""
RULED = 400
"""The same for a model of which rules speak."""


def seats(
    board: Assignment, j: int, option: Option, target: float, *, tight: bool
) -> Iterator[tuple[int, ...]]:
    """Yield the GPUs that one more copy could take, the best first.

    Parameters
    ----------
    board
        The assignment so far.
    j, option
        The model and how it is split.
    target
        KVPR not to exceed; ``inf`` where only memory counts.
    tight
        Take the tightest fit at the target; else the GPU with the least pressure afterwards.
    """
    instance = board.instance
    tried = TRIED if board.costs.free(j) else RULED
    room = board.arrays.free - option.size
    may = instance.columns.allowed[j] & (room >= board.arrays.spare)
    for copy in board.where[j]:
        may[list(copy)] = False
    loads = board.arrays.loads_with(option)
    after = pressures(room, board.arrays.kept + option.keep, loads, instance.kv)
    after[~may | (after > target)] = math.inf
    score = np.where(after < math.inf, _left(board, room, loads, target), after) if tight else after
    yield from seats_by(board, option, score, tried)


def seats_by(
    board: Assignment, option: Option, score: Floats, most: int
) -> Iterator[tuple[int, ...]]:
    """Yield the GPUs that a copy could take, those first whose scores are least.

    Parameters
    ----------
    board
        Of the instance.
    option
        How it is split.
    score
        (g,) of each GPU, ``inf`` where it may not go.
    most
        Seats at most.
    """
    if option.degree == 1:
        yield from ((g,) for g in _least(score, most))
    else:
        yield from _best_of_domains(board.instance.columns.domains, score, option.degree, most)


def _left(board: Assignment, room: Floats, loads: list[Floats], target: float) -> Floats:
    """Return how much room GPUs have left at a target: in bytes, or over several pressures.

    Of several, what is left of a GPU by each, in parts of it, makes a vector, and its length is
    what is left: the least length is the best fit (Panigrahy et al., Microsoft Research 2011).
    """
    if not 0 < target < math.inf:
        return room
    if len(loads) == 1:
        return room - loads[0] / target
    instance = board.instance
    memory = instance.columns.memory
    left = [(room - load / target) / memory for load in loads[: instance.kv]]
    left += [1.0 - load / target for load in loads[instance.kv :]]
    return np.asarray(np.square(left).sum(axis=0))


def _least(score: Floats, most: int) -> Iterator[int]:
    """Yield the positions of the least finite scores, in order."""
    if len(score) > most:
        few = np.argpartition(score, most)[:most]
        few = few[np.lexsort((few, score[few]))]
    else:
        few = np.argsort(score, kind="stable")
    for at in few:
        if score[at] == math.inf:
            return
        yield int(at)


def _best_of_domains(
    domains: Ints, score: Floats, degree: int, most: int
) -> Iterator[tuple[int, ...]]:
    """Yield the best `degree` GPUs of each domain, those whose worst is best first."""
    if domains.shape[1] < degree:
        return
    padded = np.append(score, math.inf)[domains]
    order = np.argsort(padded, axis=1, kind="stable")[:, :degree]
    worst = np.take_along_axis(padded, order[:, -1:], axis=1)[:, 0]
    for domain in _least(worst, most):
        yield tuple(sorted(domains[domain][order[domain]].tolist()))


def place_model(
    board: Assignment,
    j: int,
    option: Option,
    target: float = math.inf,
    *,
    tight: bool = False,
    tried: int = RULED,
) -> bool:
    """Place the copies that a model lacks, one by one, at their best seats.

    A seat that leaves soft rules as they are goes before all others.

    Parameters
    ----------
    board
        Changed where all copies find a seat, else left as it was.
    j, option
        The model and how it is split and copied; copies on the board stay where they are.
    target, tight
        As in `seats`.
    tried
        As in `best_seat`.

    Returns
    -------
    bool
        Whether it was placed without breaking what must hold.
    """
    before: Change = (j, board.option[j], board.where[j])
    if board.where[j]:
        board.apply([(j, option, board.where[j])])
    while len(board.where[j]) < option.copies:
        found = seats(board, j, option, target, tight=tight)
        seat = best_seat(board, j, found, tried)
        if seat is None:
            board.apply([before])
            return False
        board.apply([(j, option, (*board.where[j], seat))])
    return True


def best_seat(
    board: Assignment, j: int, found: Iterable[tuple[int, ...]], tried: int = RULED
) -> tuple[int, ...] | None:
    """Return the first of some seats that leaves the rules as they are, or what is nearest to it.

    A seat that breaks what must hold is none.

    Parameters
    ----------
    board, j
        The assignment, and the model.
    found
        Seats for one more copy, the best first.
    tried
        Seats looked at once one is known that only breaks soft rules; without one, `RULED` are.
    """
    costs, copies = board.costs, board.where[j]
    if costs.free(j):
        return next(iter(found), None)
    broken, vector = costs.broken, costs.vector
    best: tuple[tuple[float, ...], tuple[int, ...]] | None = None
    for number, seat in enumerate(found):
        breaks, now = costs.after(j, copies, (*copies, seat))
        held = breaks <= broken
        if held and now <= vector:
            return seat
        if held and (best is None or now < best[0]):
            best = now, seat
        if number >= (RULED if best is None else tried):
            break
    return best[1] if best else None
