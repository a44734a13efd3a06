"""Compiled annealing over fillings of link domains.

All domains are filled several times; then some of them, again and again, from the best that was
found, kept as in simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983). What has
no place counts by its room; of two fillings that leave the same over, the one that leaves room in
fewer places is better.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.chance import Bits, drawn, drawn_part
from kvplace.solver.kernels import kernel
from kvplace.solver.large_neighbourhood.refill_kernel import Worth, fill_domains, ranked
from kvplace.solver.large_neighbourhood.seat_board import Board, fill_up

POWER = 1.2
"""Power of its room that a copy is worth: above 1, so that large copies go first."""
SHARE = 0.1
"""Share of what the last filling tells in what a copy is worth."""
DEARER = 1.15
"""Factor by which what was left over is worth more."""
MOST = 8.0
"""Factor by which a copy is worth more than its room at most."""
FEW, MANY = 2, 6
"""Domains filled anew together at least and at most; at most half of them all."""
PACKED = 0.05
"""GPUs of room left over that are as good as a full GPU beside an empty one: what is left over fits
where room is in one place."""
COLDEST = 0.02
"""Last temperature, in GPUs, at which a filling of some domains is kept that leaves more: what has
no place is then another model, for which there may be room elsewhere."""
AT_ONCE = 200
"""Domains filled before the clock is looked at again."""


class Course(NamedTuple):
    """How fillings go.

    Parameters
    ----------
    whole
        Part of the fillings that are of all domains, where they are all filled anew.
    hottest
        First temperature then, in GPUs, at which a change is kept that leaves more.
    tries
        Fillings of each domain that are compared.
    recounted
        Part of the changes before which a model may have another number of copies.
    """

    whole: float
    hottest: float
    tries: int
    recounted: float


class Known(NamedTuple):
    """How far annealing is.

    Parameters
    ----------
    last, best
        (3n + seats x degree,) what it goes on from, and what left least over: options, copies, what
        has no place, and GPUs.
    energy
        (1,) energy of `last`.
    left
        (1,) room of what `best` leaves over.
    work
        (1,) fillings made, in parts of all domains.
    """

    last: Ints
    best: Ints
    energy: Floats
    left: Floats
    work: Floats


def nothing_known(board: Board) -> Known:
    """Return what is known before the first filling."""
    size = 3 * len(board.row) + board.gpu.size
    last, best = np.full(size, -1), np.full(size, -1)
    return Known(last, best, np.zeros(1), np.full(1, np.inf), np.zeros(1))


@kernel
def _note(board: Board, worth: Worth, taken: Ints) -> None:
    """Write down what is on a board."""
    n, width = len(worth.copies), board.gpu.shape[1]
    for j in range(n):
        taken[j], taken[n + j], taken[2 * n + j] = board.row[j], worth.copies[j], worth.lacking[j]
    for seat in range(board.gpu.shape[0]):
        for rank in range(width):
            taken[3 * n + seat * width + rank] = board.gpu[seat, rank]


@kernel
def _take_count(board: Board, worth: Worth, j: int, count: int) -> None:
    """Let a model have a number of copies."""
    worth.copies[j], worth.least[j] = count, np.inf
    for row in range(board.first_row[j], board.first_row[j + 1]):
        usable = worth.opened[row] and board.copies[row] == count
        board.usable[row] = usable
        if usable:
            worth.least[j] = min(worth.least[j], worth.rooms[row])
    base = worth.least[j] ** POWER
    worth.worth[j] *= base / worth.base[j]
    worth.base[j] = base


@kernel
def _go_back(board: Board, worth: Worth, taken: Ints) -> None:
    """Go back to what was written down."""
    n, width = len(worth.copies), board.gpu.shape[1]
    for j in range(n):
        if taken[n + j] != worth.copies[j]:
            _take_count(board, worth, j, taken[n + j])
        board.row[j], worth.lacking[j] = taken[j], taken[2 * n + j]
    for seat in range(board.gpu.shape[0]):
        for rank in range(width):
            board.gpu[seat, rank] = taken[3 * n + seat * width + rank]
    fill_up(board)


@kernel
def _take_off(board: Board, j: int) -> None:
    """Let a model have no place; what GPUs carry is to be summed up anew."""
    board.row[j] = -1
    for seat in range(board.first_seat[j], board.first_seat[j + 1]):
        board.gpu[seat, 0] = -1


@kernel
def _recount(board: Board, worth: Worth, chance: Bits) -> None:
    """Take a model without a place off, and let it have another number of copies."""
    j, seen = -1, 0
    for i in range(len(worth.lacking)):
        if worth.lacking[i] > 0:
            seen += 1
            if drawn(chance, seen) == 0:
                j = i
    if j < 0:
        return
    count, seen = worth.copies[j], 0
    for row in range(board.first_row[j], board.first_row[j + 1]):
        other = worth.opened[row] and board.copies[row] != worth.copies[j]
        for before in range(board.first_row[j], row):
            other = other and not (
                worth.opened[before] and board.copies[before] == board.copies[row]
            )
        if other:
            seen += 1
            if drawn(chance, seen) == 0:
                count = board.copies[row]
    if seen:
        _take_count(board, worth, j, count)
        _take_off(board, j)
        fill_up(board)


@kernel
def _kept(board: Board, worth: Worth) -> Ints:
    """Keep what is placed, copied as often as it is; return the domains that exceed their room."""
    for j in range(len(worth.copies)):
        row = board.row[j]
        if not board.free[j] or row < 0:
            continue
        if worth.opened[row]:
            _take_count(board, worth, j, board.copies[row])
        else:
            _take_off(board, j)
    fill_up(board)
    over, number = np.empty(len(board.domains) - 1, np.int64), 0
    for d in range(len(over)):
        exceeds = False
        for at in range(board.domains[d], board.domains[d + 1]):
            g = board.in_domain[at]
            for p in range(board.cap.shape[1]):
                exceeds = exceeds or board.used[g, p] > board.cap[g, p]
        if exceeds:
            over[number] = d
            number += 1
    return over[:number]


@kernel
def _varied(worth: Worth, made: int, chance: Bits) -> Ints:
    """Return all domains, the largest first, with more chance in two of three fillings."""
    large = np.empty(len(worth.large))
    for d in range(len(large)):
        large[d] = -worth.large[d] * (1.0 + 0.5 * (made % 3) * drawn_part(chance))
    return ranked(large)


@kernel
def _left(worth: Worth) -> float:
    """Return the room of what has no place."""
    left = 0.0
    for j in range(len(worth.lacking)):
        if worth.lacking[j] > 0:
            left += worth.least[j] * worth.lacking[j]
    return left


@kernel
def _energy(board: Board, worth: Worth) -> float:
    """Return what is to become less: the room of what has no place, and how even GPUs are."""
    even = 0.0
    for g in range(board.cap.shape[0]):
        full = 0.0
        for p in range(board.cap.shape[1]):
            full = max(full, board.used[g, p] / max(board.cap[g, p], 1e-12))
        even -= full * full
    return _left(worth) + PACKED * even


@kernel
def _correct(worth: Worth) -> None:
    """Make worth more what has no place, or lies beside waste."""
    for j in range(len(worth.worth)):
        if worth.beside[j] > 0:
            told = worth.base[j] / max(worth.beside[j], 0.1)
            worth.worth[j] += SHARE * (told - worth.worth[j])
        if worth.lacking[j] > 0:
            worth.worth[j] = min(worth.worth[j] * DEARER, worth.base[j] * MOST)


@kernel
def _change(board: Board, worth: Worth, shuffled: Ints, course: Course, chance: Bits) -> int:
    """Fill a few domains anew; return how many."""
    number = len(shuffled)
    few = min(number, FEW + drawn(chance, max(FEW, min(MANY, number // 2)) - FEW + 1))
    for at in range(few):
        other = at + drawn(chance, number - at)
        shuffled[at], shuffled[other] = shuffled[other], shuffled[at]
    fill_domains(board, worth, shuffled[:few], course.tries, chance)
    return few


@kernel
def fill_until(
    board: Board,
    worth: Worth,
    known: Known,
    made: int,
    whole: int,
    rounds: int,
    hottest: float,
    course: Course,
    chance: Bits,
) -> int:
    """Fill domains for a moment, or until all copies have a place; return how often in all.

    Parameters
    ----------
    board, worth, known
        Changed.
    made
        How often was filled before.
    whole
        How often all domains are filled before some are; 0 to go on from what is there.
    rounds
        Work at most, in fillings of all domains.
    hottest
        First temperature, in GPUs.
    course
        How fillings go.
    chance
        State of the random numbers; changed.
    """
    number = len(board.domains) - 1
    filled, shuffled = 0, np.arange(number)
    first = max(1, whole)  # of the fillings of some domains
    if made == 0:
        fill_up(board)
    while known.work[0] < rounds and known.left[0] > 0 and filled < AT_ONCE:
        if made >= first:
            if made == first:
                _go_back(board, worth, known.best)
                _note(board, worth, known.last)
                known.energy[0] = _energy(board, worth)
            if drawn_part(chance) < course.recounted:
                _recount(board, worth, chance)
            changed = _change(board, worth, shuffled, course, chance)
        else:
            order = _varied(worth, made, chance) if whole else _kept(board, worth)
            fill_domains(board, worth, order, course.tries, chance)
            changed = len(order)
        known.work[0] += changed / number
        filled += changed
        made += 1
        left = _left(worth)
        if left <= known.left[0]:
            known.left[0] = left
            _note(board, worth, known.best)
        if left <= 0.0:
            break
        if made <= first:
            _correct(worth)
            continue
        heat = hottest * (COLDEST / hottest) ** (known.work[0] / rounds)
        energy = _energy(board, worth)
        if energy <= known.energy[0] - heat * np.log(1.0 - drawn_part(chance)):
            known.energy[0] = energy
            _note(board, worth, known.last)
        else:
            _go_back(board, worth, known.last)
    return made
