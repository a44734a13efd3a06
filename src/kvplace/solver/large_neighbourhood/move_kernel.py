"""Compiled moves of single copies between link domains: what is in the way is pushed out.

A copy goes to another domain, where it may be split in another way. What it pushes out, and
whatever else has no place, goes where it fits in the two domains: so copies that take about the
same room change places, as in the ejection chains of Glover (Discrete Applied Mathematics 65,
1996).
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.chance import Bits, drawn, drawn_part
from kvplace.solver.kernels import kernel
from kvplace.solver.large_neighbourhood.refill_kernel import Worth, ranked
from kvplace.solver.large_neighbourhood.seat_board import Board, lift, place

__all__ = ["move_copy"]

PUSHED = 64
"""Copies pushed out by one at most."""
PLACED = 0.9
"""Part of the moves that are of a copy which has a place."""
VARIED = 0.05
"""GPUs by which the room of what is pushed out is varied."""
LEFT = 1e-3
"""GPUs pushed out that are as good as leaving a whole GPU empty: of places where nothing is in the
way, the tightest is taken."""


@kernel
def _among(seats: Ints, number: int, seat: int) -> bool:
    """Whether a seat is among the first of some."""
    found = False
    for at in range(number):
        found = found or seats[at] == seat
    return found


@kernel
def _short(board: Board, j: int, row: int, g: int, out: Ints, number: int, short: Floats) -> bool:
    """Return whether a model may go on a GPU; `short` takes what that lacks once copies leave."""
    if not board.masks[board.mask_of[j], g]:
        return False
    t, shard = board.type_of[g], board.head[g]
    for p in range(len(short)):
        short[p] = board.used[g, p] + board.size[row, t, p] - board.cap[g, p]
    while shard >= 0:
        seat = shard // board.gpu.shape[1]
        i = board.model_of[seat]
        if i == j:
            return False
        if _among(out, number, seat):
            for p in range(len(short)):
                short[p] -= board.size[board.row[i], t, p]
        shard = board.after[shard]
    return True


@kernel
def _leaver(
    board: Board, worth: Worth, g: int, out: Ints, number: int, short: Floats, scarcest: int
) -> int:
    """Return the seat of the smallest copy on a GPU that is enough, else of the largest; or -1."""
    best, enough, t, shard = -1, False, board.type_of[g], board.head[g]
    while shard >= 0:
        seat = shard // board.gpu.shape[1]
        shard = board.after[shard]
        if _among(out, number, seat):
            continue
        i = board.model_of[seat]
        row, leaves = board.row[i], True
        for p in range(len(short)):
            leaves = leaves and board.size[row, t, p] >= short[p]
        other = board.model_of[best]
        if leaves:
            if not enough or worth.least[i] < worth.least[other]:
                best, enough = seat, True
        elif not enough and (
            best < 0 or board.size[row, t, scarcest] > board.size[board.row[other], t, scarcest]
        ):
            best = seat
    return best


@kernel
def _pushed(
    board: Board, worth: Worth, j: int, row: int, start: int, first: int, most: float, out: Ints
) -> tuple[float, int]:
    """Return the room of what must leave some GPUs for a copy, and its number.

    `out` takes the seats. The room is infinite where it is above `most`, or nothing is enough.
    """
    room, number, short = 0.0, 0, np.empty(board.cap.shape[1])
    for at in range(first, first + board.degree[row]):
        g = board.in_domain[start + at]
        if not _short(board, j, row, g, out, number, short):
            return np.inf, 0
        while short.max() > 0.0:
            seat = _leaver(board, worth, g, out, number, short, int(short.argmax()))
            if seat < 0 or number == len(out):
                return np.inf, 0
            i, t = board.model_of[seat], board.type_of[g]
            room += worth.least[i]
            if room > most:
                return np.inf, 0
            out[number] = seat
            number += 1
            for p in range(len(short)):
                short[p] -= board.size[board.row[i], t, p]
    return room, number


@kernel
def _take_off(board: Board, worth: Worth, seat: int) -> None:
    """Take a copy off; a model without any may be split in another way."""
    i = board.model_of[seat]
    lift(board, seat, board.row[i])
    worth.lacking[i] += 1
    if worth.lacking[i] == worth.copies[i]:
        board.row[i] = -1


@kernel
def _put_in(board: Board, worth: Worth, j: int, domain: int, most: float, chance: Bits) -> bool:
    """Put a copy in a domain where it pushes out least, at most some room; return whether it is."""
    start, width = board.domains[domain], board.domains[domain + 1] - board.domains[domain]
    out, kept = np.empty(PUSHED, np.int64), np.empty(PUSHED, np.int64)
    least, best, at_first, leaving = np.inf, -1, 0, 0
    for row in range(board.first_row[j], board.first_row[j + 1]):
        degree = board.degree[row]
        split = board.usable[row] and (board.row[j] < 0 or board.row[j] == row)
        if not split or degree > width:
            continue
        for first in range(0, width - degree + 1, degree if width % degree == 0 else 1):
            room, number = _pushed(board, worth, j, row, start, first, min(most, least), out)
            if room == np.inf:
                continue
            for at in range(first, first + degree if number == 0 else first):
                g = board.in_domain[start + at]
                for p in range(board.cap.shape[1]):
                    room += LEFT * (1.0 - board.used[g, p] / board.cap[g, p]) ** 2
            if number:
                room += VARIED * drawn_part(chance)
            if room < least:
                least, best, at_first, leaving = room, row, first, number
                kept[:number] = out[:number]
    if best < 0:
        return False
    for at in range(leaving):
        _take_off(board, worth, kept[at])
    gpus, seat = board.in_domain[start + at_first : start + width], board.first_seat[j]
    while board.gpu[seat, 0] >= 0:
        seat += 1
    board.row[j] = best
    place(board, seat, best, gpus)
    worth.lacking[j] -= 1
    return True


@kernel
def _lacking(worth: Worth) -> Ints:
    """Return the models that lack copies, the largest first."""
    models = np.flatnonzero(worth.lacking > 0)
    return models[ranked(-worth.least[models])]


@kernel
def move_copy(board: Board, worth: Worth, chance: Bits) -> None:
    """Put a copy into some domain, and what has no place then where it fits there, or where it was.

    Parameters
    ----------
    board
        Changed.
    worth
        What copies take; takes what has no place.
    chance
        State of the random numbers; changed.
    """
    number, seats = len(board.domains) - 1, board.gpu.shape[0]
    lacking, home = _lacking(worth), -1
    if not seats:  # no model may move
        return
    if len(lacking) and drawn_part(chance) >= PLACED:
        j = lacking[drawn(chance, len(lacking))]
    else:
        seat, tried = drawn(chance, seats), 0
        while board.gpu[seat, 0] < 0 and tried < seats:
            seat, tried = (seat + 1) % seats, tried + 1
        if board.gpu[seat, 0] < 0:  # none has a place
            return
        j, at = board.model_of[seat], 0
        while board.in_domain[at] != board.gpu[seat, 0]:
            at += 1
        while board.domains[home + 1] <= at:
            home += 1
        _take_off(board, worth, seat)
    domain = drawn(chance, number)
    _put_in(board, worth, j, domain, np.inf, chance)
    for i in _lacking(worth):
        for other in (domain, home):
            if other >= 0 and worth.lacking[i] > 0:
                _put_in(board, worth, i, other, 0.0, chance)
