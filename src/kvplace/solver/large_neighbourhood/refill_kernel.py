"""Compiled filling of link domains one by one, each with the copies worth most there.

A cluster is filled domain by domain: of several fillings of a domain, each made by taking what is
worth most for its room, with a little chance, the one worth most stays. What a copy is worth is
changed from one filling of the cluster to the next: what was left over or lay beside waste comes
to be worth more (sequential value correction: Belov and Scheithauer, Operations Research Letters
35, 2007, for cutting stock). A copy may be split in any way that its model may be with so many
copies.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.chance import Bits, drawn_part
from kvplace.solver.kernels import kernel
from kvplace.solver.large_neighbourhood.seat_board import Board, Bytes, place

COPIES = 64
"""Copies on one GPU at most."""
SPREAD = 0.6
"""Part by which a worth is varied from one to the next."""


class Worth(NamedTuple):
    """What copies are worth, and how often each model is copied, at one target.

    Parameters
    ----------
    opened
        (rows,) whether an option may be taken, with its number of copies.
    room
        (rows, types) what a copy takes of all pressures together.
    rooms
        (rows,) the least of that; infinite where an option may not be taken.
    scarce
        (pressures,) how much each of them counts.
    large
        (d,) room of each link domain.
    copies
        (n,) copies of each model.
    least
        (n,) room of a copy of each model at least.
    base, worth
        (n,) what a copy of each model was worth at first, and is now.
    beside
        (n,) how full the fullest domain of the last filling is that each model is in.
    lacking
        (n,) copies without a place.
    """

    opened: Bytes
    room: Floats
    rooms: Floats
    scarce: Floats
    large: Floats
    copies: Ints
    least: Floats
    base: Floats
    worth: Floats
    beside: Floats
    lacking: Ints


@kernel
def tightest(
    board: Board, mine: Floats, held: Ints, j: int, row: int, start: int, width: int
) -> int:
    """Return the first of some GPUs in a row that have least left with a copy; -1 for none."""
    degree, best, least = board.degree[row], -1, np.inf
    if degree > width:
        return -1
    step = degree if width % degree == 0 else 1
    mask = board.masks[board.mask_of[j]]
    for first in range(0, width - degree + 1, step):
        left = 0.0
        for at in range(first, first + degree):
            g = board.in_domain[start + at]
            if not mask[g] or held[at] == j:
                left = np.inf
                break
            t = board.type_of[g]
            for p in range(board.cap.shape[1]):
                rest = board.cap[g, p] - mine[at, p] - board.size[row, t, p]
                if rest < 0.0:
                    left = np.inf
                    break
                left += (rest / board.cap[g, p]) ** 2
            if left >= least:
                break
        if left < least:
            best, least = first, left
    return best


@kernel
def ranked(values: Floats) -> Ints:
    """Return where the least of some numbers are, of two alike the first first."""
    return np.argsort(values, kind="mergesort")


@kernel
def _offers(
    board: Board, type_: int, lacking: Ints, worth: Floats, room: Floats, models: Ints
) -> tuple[Ints, Ints]:
    """Return the models that lack copies and their options, what is worth most for its room first.

    A model with copies elsewhere is split as they are.
    """
    number = 0
    for j in models:
        if lacking[j] > 0:
            number += board.first_row[j + 1] - board.first_row[j]
    model, row_of = np.empty(number, np.int64), np.empty(number, np.int64)
    part, number = np.empty(number), 0
    for j in models:
        for row in range(board.first_row[j], board.first_row[j + 1] if lacking[j] > 0 else 0):
            if board.usable[row] and (board.row[j] < 0 or board.row[j] == row):
                model[number], row_of[number] = j, row
                part[number] = -worth[j] / room[row, type_]
                number += 1
    order = ranked(part[:number])
    return model[order], row_of[order]


@kernel
def _fill_one(
    board: Board, domain: int, lacking: Ints, worth: Floats, room: Floats, models: Ints,
    taken: Ints, found: Ints,
) -> None:  # fmt: skip
    """Fill a domain by what is worth most for its room.

    `found` takes model, option and first GPU of each copy, and `taken` is 0 afterwards as before.
    """
    start = board.domains[domain]
    width = board.domains[domain + 1] - start
    type_ = board.type_of[board.in_domain[start]]
    mine = np.empty((width, board.cap.shape[1]))
    for at in range(width):
        for p in range(board.cap.shape[1]):
            mine[at, p] = board.used[board.in_domain[start + at], p]
    most, number = found.shape[0] - 1, 0
    held = np.full(width, -1, np.int64)
    offered, options = _offers(board, type_, lacking, worth, room, models)
    for at in range(len(offered)):
        j, row = offered[at], options[at]
        if taken[j] > 0:  # with another option
            continue
        while number < most and taken[j] < lacking[j]:
            first = tightest(board, mine, held, j, row, start, width)
            if first < 0:
                break
            for near in range(first, first + board.degree[row]):
                t = board.type_of[board.in_domain[start + near]]
                for p in range(board.cap.shape[1]):
                    mine[near, p] += board.size[row, t, p]
                held[near] = j
            found[number, 0], found[number, 1], found[number, 2] = j, row, first
            taken[j] += 1
            number += 1
    found[number, 0] = -1
    for n in range(number):
        taken[found[n, 0]] = 0


@kernel
def _empty(board: Board, order: Ints, count: Ints, lacking: Ints) -> None:
    """Take all copies in some domains off, and count those without a place.

    Models without any may choose their option anew.
    """
    emptied = np.zeros(len(board.used), np.bool_)
    for domain in order:
        for at in range(board.domains[domain], board.domains[domain + 1]):
            g = board.in_domain[at]
            emptied[g], board.used[g] = True, 0.0
    for j in range(len(board.row)):
        lacking[j] = count[j] if board.free[j] else 0
        for seat in range(board.first_seat[j], board.first_seat[j + 1]):
            g = board.gpu[seat, 0]
            if g >= 0 and emptied[g]:
                board.gpu[seat] = -1
            elif g >= 0:
                lacking[j] -= 1
        if lacking[j] == count[j]:
            board.row[j] = -1


@kernel
def _seat_found(board: Board, domain: int, found: Ints, lacking: Ints) -> int:
    """Put down what was found for a domain; return how many copies that is."""
    start, at = board.domains[domain], 0
    gpus = np.empty(board.gpu.shape[1], np.int64)
    while found[at, 0] >= 0:
        j, row, first = found[at]
        board.row[j] = row
        for rank in range(board.degree[row]):
            gpus[rank] = board.in_domain[start + first + rank]
        seat = board.first_seat[j]
        while board.gpu[seat, 0] >= 0:
            seat += 1
        place(board, seat, row, gpus)
        lacking[j] -= 1
        at += 1
    return at


@kernel
def _fullness(board: Board, domain: int, scarce: Floats) -> float:
    """Return how full a domain is."""
    full, whole = 0.0, 0.0
    for at in range(board.domains[domain], board.domains[domain + 1]):
        g = board.in_domain[at]
        for p in range(board.cap.shape[1]):
            full += scarce[p] * board.used[g, p]
            whole += scarce[p] * board.cap[g, p]
    return full / max(whole, 1e-300)


@kernel
def fill_domains(board: Board, worth: Worth, order: Ints, tries: int, chance: Bits) -> None:
    """Fill some domains anew with what is there and has no place, of models free to go anywhere.

    Parameters
    ----------
    board
        Changed.
    worth
        What copies are worth; takes how full the domains are, and what has no place.
    order
        The domains, in the order of their filling.
    tries
        Fillings of each domain that are compared.
    chance
        State of the random numbers; changed.
    """
    lacking, beside = worth.lacking, worth.beside
    widest = 0
    for domain in order:
        widest = max(widest, board.domains[domain + 1] - board.domains[domain])
    _empty(board, order, worth.copies, lacking)
    models = np.flatnonzero(lacking > 0)
    taken, varied = np.zeros(len(lacking), np.int64), np.empty(len(lacking))
    found = np.empty((COPIES * widest + 1, 3), np.int64)
    kept = np.empty((COPIES * widest + 1, 3), np.int64)
    beside[:] = 0.0
    for domain in order:
        best = -1.0
        for turn in range(tries):
            for j in models:
                part = 1.0 if turn == 0 else 1.0 + SPREAD * (2.0 * drawn_part(chance) - 1.0)
                varied[j] = worth.worth[j] * part
            _fill_one(board, domain, lacking, varied, worth.room, models, taken, found)
            total, at = 0.0, 0
            while found[at, 0] >= 0:
                total += worth.worth[found[at, 0]]
                at += 1
            if total > best:
                best = total
                for n in range(at + 1):
                    kept[n, 0], kept[n, 1], kept[n, 2] = found[n, 0], found[n, 1], found[n, 2]
        number = _seat_found(board, domain, kept, lacking)
        full = _fullness(board, domain, worth.scarce)
        for at in range(number):
            beside[kept[at, 0]] = max(beside[kept[at, 0]], full)
