"""Compiled search for the fillings of a link domain that are worth most at given prices.

From a filling that is known some copies are taken out, and what is dearest for its room goes in,
again and again, with what is worse kept now and then as in simulated annealing.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.chance import Bits, drawn, drawn_part
from kvplace.solver.kernels import kernel
from kvplace.solver.large_neighbourhood.refill_kernel import COPIES, ranked, tightest
from kvplace.solver.large_neighbourhood.seat_board import Board

SPREAD = 0.4
"""Part by which the worth for the room of a copy is varied."""
REORDERED = 8
"""Fillings after which it is varied anew."""
SINGLE = 0.5
"""Part of the fillings before which single copies are taken out; else those of one GPU are."""
MOST_SINGLE, LEFT_OUT = 3, 0.7
"""Copies taken out at most, and part of those of one GPU that are."""
HEAT = 0.02
"""First temperature, in parts of the price from which a filling is dear."""
EDGE = 1e-9
"""Part of that price by which fillings differ, or are dear."""


class Offer(NamedTuple):
    """What may go into a domain.

    Parameters
    ----------
    model
        (rows,) model of each option.
    price
        (rows,) what a copy is worth.
    most
        (rows,) copies of each option at most, 0 for none.
    room
        (rows,) what a copy takes of all pressures together.
    """

    model: Ints
    price: Floats
    most: Ints
    room: Floats


class _Content(NamedTuple):
    """What is in a domain.

    Parameters
    ----------
    used
        (width, pressures) room taken of each GPU.
    copies, number
        (most, 2) option and first GPU of each copy, and (1,) how many there are.
    placed, row
        (n,) copies of each model, and their option.
    """

    used: Floats
    copies: Ints
    number: Ints
    placed: Ints
    row: Ints


@kernel
def _fits(board: Board, start: int, used: Floats, row: int, first: int) -> bool:
    """Return whether a copy fits on GPUs of a domain."""
    for at in range(first, first + board.degree[row]):
        g = board.in_domain[start + at]
        for p in range(used.shape[1]):
            if used[at, p] + board.size[row, board.type_of[g], p] > board.cap[g, p]:
                return False
    return True


@kernel
def _add(board: Board, start: int, used: Floats, row: int, first: int, sign: float) -> None:
    """Add a copy to what is used, or take it off."""
    for at in range(first, first + board.degree[row]):
        t = board.type_of[board.in_domain[start + at]]
        for p in range(used.shape[1]):
            used[at, p] += sign * board.size[row, t, p]


@kernel
def _put(board: Board, start: int, offer: Offer, of: _Content, row: int, first: int) -> None:
    """Put a copy in."""
    _add(board, start, of.used, row, first, 1.0)
    number, j = of.number[0], offer.model[row]
    of.copies[number, 0], of.copies[number, 1] = row, first
    of.number[0], of.row[j] = number + 1, row
    of.placed[j] += 1


@kernel
def _take_out(board: Board, start: int, offer: Offer, of: _Content, at: int) -> None:
    """Take a copy out."""
    row, first = of.copies[at]
    _add(board, start, of.used, row, first, -1.0)
    of.number[0] -= 1
    of.copies[at] = of.copies[of.number[0]]
    of.placed[offer.model[row]] -= 1


@kernel
def _take(board: Board, start: int, offer: Offer, of: _Content, copies: Ints, number: int) -> None:
    """Hold some copies alone, without those that do not fit or may not be here."""
    of.used[:] = 0.0
    of.placed[:] = 0
    of.number[0] = 0
    for at in range(number):
        row, first = copies[at]
        j = offer.model[row]
        may = of.placed[j] < offer.most[row] and (of.placed[j] == 0 or of.row[j] == row)
        if may and _fits(board, start, of.used, row, first):
            _put(board, start, offer, of, row, first)


@kernel
def _rest(board: Board, start: int, used: Floats, rest: Floats) -> None:
    """Take the most room that a GPU of a domain has, for each load type and pressure."""
    rest[:] = -1.0
    for at in range(len(used)):
        g = board.in_domain[start + at]
        for p in range(rest.shape[1]):
            t = board.type_of[g]
            rest[t, p] = max(rest[t, p], board.cap[g, p] - used[at, p])


@kernel
def _may_fit(board: Board, row: int, rest: Floats) -> bool:
    """Return whether a shard takes no more than the most room, on some load type."""
    for t in range(len(rest)):
        fits = True
        for p in range(rest.shape[1]):
            fits = fits and board.size[row, t, p] <= rest[t, p]
        if fits:
            return True
    return False


@kernel
def _fill(board: Board, start: int, offer: Offer, of: _Content, order: Ints, held: Ints) -> None:
    """Put in what fits, in an order; `held` is -1 afterwards as before."""
    width, most = len(held), len(of.copies) - 1
    rest = np.empty(board.size.shape[1:])
    _rest(board, start, of.used, rest)
    for row in order:
        j = offer.model[row]
        if of.placed[j] > 0 and of.row[j] != row:
            continue
        if not _may_fit(board, row, rest):
            continue
        while of.placed[j] < offer.most[row] and of.number[0] < most:
            for at in range(of.number[0] if of.placed[j] > 0 else 0):
                other, first = of.copies[at]
                if other == row:
                    held[first : first + board.degree[row]] = j
            first = tightest(board, of.used, held, j, row, start, width)
            held[:] = -1
            if first < 0:
                break
            _put(board, start, offer, of, row, first)
            _rest(board, start, of.used, rest)


@kernel
def _ruin(board: Board, start: int, offer: Offer, of: _Content, chance: Bits) -> None:
    """Take some copies out: a few, or most of those that are on one GPU."""
    if drawn_part(chance) < SINGLE:
        for _ in range(min(1 + drawn(chance, MOST_SINGLE), of.number[0])):
            _take_out(board, start, offer, of, drawn(chance, of.number[0]))
        return
    near = drawn(chance, len(of.used))
    for at in range(of.number[0] - 1, -1, -1):
        row, first = of.copies[at]
        if first <= near < first + board.degree[row] and drawn_part(chance) < LEFT_OUT:
            _take_out(board, start, offer, of, at)


@kernel
def _slot(values: Floats, value: float, edge: float) -> int:
    """Return where a value belongs among the best known, -1 for nowhere or known."""
    worst = 0
    for at in range(len(values)):
        if abs(values[at] - value) <= edge:
            return -1
        if values[at] < values[worst]:
            worst = at
    return worst if values[worst] < value else -1


@kernel
def dear_fillings(
    board: Board, domain: int, offer: Offer, begun: Ints, steps: int, dear: float, number: int,
    chance: Bits,
) -> Ints:  # fmt: skip
    """Return fillings of an empty domain that are worth more than a price.

    Parameters
    ----------
    board
        What fits, and where; what is on it does not count.
    domain
        The domain.
    offer
        What may go there.
    begun
        (copies, 2) option and first GPU of the copies of a filling to begin with.
    steps
        Fillings made.
    dear
        The price.
    number
        Fillings returned at most.
    chance
        State of the random numbers; changed.

    Returns
    -------
    ndarray
        (fillings, copies, 2) option and first GPU of each copy; -1 after the last.
    """
    start = board.domains[domain]
    width, n = board.domains[domain + 1] - start, len(board.first_row) - 1
    most = COPIES * width + 1
    of = _Content(
        np.zeros((width, board.cap.shape[1])), np.empty((most, 2), np.int64),
        np.zeros(1, np.int64), np.zeros(n, np.int64), np.empty(n, np.int64),
    )  # fmt: skip
    held, kept = np.full(width, -1), np.empty((most, 2), np.int64)
    rows = np.flatnonzero((offer.price > 0.0) & (offer.most > 0))
    order, varied = rows, np.empty(len(rows))
    found, values = np.full((number, most, 2), -1), np.full(number, dear * (1.0 + EDGE))
    _take(board, start, offer, of, begun, len(begun))
    keeps, now = 0, -np.inf
    for step in range(steps):
        if step % REORDERED == 0:
            for at in range(len(rows)):
                part = 1.0 + SPREAD * (drawn_part(chance) - 0.5)
                varied[at] = -offer.price[rows[at]] / offer.room[rows[at]] * part
            order = rows[ranked(varied)]
        _ruin(board, start, offer, of, chance)
        _fill(board, start, offer, of, order, held)
        value = 0.0
        for at in range(of.number[0]):
            value += offer.price[of.copies[at, 0]]
        slot = _slot(values, value, EDGE * dear)
        if slot >= 0:
            values[slot] = value
            found[slot, : of.number[0]] = of.copies[: of.number[0]]
            found[slot, of.number[0] :] = -1
        heat = HEAT * dear * (1.0 - step / steps)
        if value >= now + heat * np.log(1.0 - drawn_part(chance)):
            now, keeps = value, of.number[0]
            kept[:keeps] = of.copies[:keeps]
        else:
            _take(board, start, offer, of, kept, keeps)
    return found[found[:, 0, 0] >= 0]


@kernel
def that_fit(board: Board, most: Ints, domains: Ints, fillings: Ints) -> Bools:
    """Return which fillings fit.

    Parameters
    ----------
    board
        What fits, and where.
    most
        (rows,) copies of each option at most, 0 for none.
    domains
        (m,) domain of each filling.
    fillings
        (m, copies, 2) option and first GPU of each copy; -1 after the last.
    """
    fit = np.ones(len(domains), np.bool_)
    for at in range(len(domains)):
        start = board.domains[domains[at]]
        used = np.zeros((board.domains[domains[at] + 1] - start, board.cap.shape[1]))
        for copy in range(fillings.shape[1]):
            row, first = fillings[at, copy]
            if row < 0:
                break
            fit[at] = fit[at] and most[row] > 0 and _fits(board, start, used, row, first)
            _add(board, start, used, row, first, 1.0)
    return fit
