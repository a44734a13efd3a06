"""Compiled moves of whole copies at a target: to another link domain, for another, resplit.

At a target every shard takes a room of its GPU, by each pressure, and what exceeds a GPU is its
excess. A move takes a copy off a GPU with an excess and seats it elsewhere, exchanges it for
another copy, or splits and copies its model anew. It is kept as in simulated annealing
(Kirkpatrick, Gelatt and Vecchi, Science 220, 1983). The excess of a GPU weighs more with every
move that did not lower it, so that a large model may push out many small ones in the end (the
breakout method of Morris, AAAI 1993).
"""

import numpy as np

from kvplace.solver.array_types import Ints
from kvplace.solver.kernels import kernel
from kvplace.solver.large_neighbourhood.anneal_board import (
    Bits,
    Board,
    drawn,
    drawn_part,
    excess,
    excess_with,
    holds,
    mark,
    put,
    take,
)

__all__ = [
    "anneal",
    "counted",
    "fill_up",
    "lift",
    "place",
    "seat_least",
]

ELSEWHERE, RESPLIT, MOVE = 0.05, 0.15, 0.5
"""Of a draw: below which any model is split anew, or one with an excess, or a copy is moved; above,
copies are exchanged."""
DOMAINS = 16
"""Link domains looked at for one copy."""
WIDE = 16
"""GPUs looked at in one link domain."""
FULLER = 1e-3
"""Part of a GPU that a fuller GPU counts less than an empty one where the excess is the same."""


@kernel
def _seat_in(
    board: Board, j: int, row: int, domain: int, region: int, chance: Bits, found: Ints
) -> float:
    """Find the GPUs of a domain for one more copy; return the excess it adds, ``inf`` for none."""
    degree, start = board.degree[row], board.domains[domain]
    width = board.domains[domain + 1] - start
    if width < degree:
        return np.inf
    looked = min(width, max(WIDE, 2 * degree))
    shift = drawn(chance, width)
    cost = np.full(degree, np.inf)
    added = np.zeros(degree)
    filled = 0
    mask = board.masks[board.mask_of[j]]
    for at in range(looked):
        g = board.in_domain[start + (shift + at) % width]
        if not mask[g] or (region >= 0 and board.region[g] != region) or holds(board, j, g):
            continue
        more = excess_with(board, g, row) - excess(board, g)
        score = more - FULLER * board.used[g, 0] / board.cap[g, 0]
        if filled == degree and score >= cost[degree - 1]:
            continue
        slot = filled if filled < degree else degree - 1
        while slot > 0 and cost[slot - 1] > score:
            cost[slot], added[slot], found[slot] = cost[slot - 1], added[slot - 1], found[slot - 1]
            slot -= 1
        cost[slot], added[slot], found[slot] = score, more, g
        filled = min(filled + 1, degree)
    return added.sum() if filled == degree else np.inf


@kernel
def seat_least(board: Board, j: int, row: int, region: int, chance: Bits, best: Ints) -> float:
    """Find GPUs for one more copy in some domain; return the excess it adds, ``inf`` for none."""
    number = len(board.domains) - 1
    found = np.empty(board.gpu.shape[1], np.int64)
    least, looked = np.inf, min(number, DOMAINS)
    shift = drawn(chance, number)
    for at in range(looked):
        domain = (shift + at) % number if number <= DOMAINS else drawn(chance, number)
        if region >= 0 and board.region[board.in_domain[board.domains[domain]]] != region:
            continue
        more = _seat_in(board, j, row, domain, region, chance, found)
        if more < least:
            least = more
            for rank in range(board.degree[row]):
                best[rank] = found[rank]
            if more <= 0.0 and number > DOMAINS:
                break
    return least


@kernel
def place(board: Board, seat: int, row: int, gpus: Ints) -> None:
    """Put all shards of a copy on GPUs."""
    for rank in range(board.degree[row]):
        put(board, seat, rank, gpus[rank], row)


@kernel
def _lift(board: Board, seat: int, row: int, gpus: Ints) -> float:
    """Take a copy off; return the excess that it added, and note where it was."""
    before = 0.0
    for rank in range(board.degree[row]):
        gpus[rank] = board.gpu[seat, rank]
        before += excess(board, gpus[rank])
    for rank in range(board.degree[row]):
        take(board, seat, rank, row)
    for rank in range(board.degree[row]):
        before -= excess(board, gpus[rank])
    return before


@kernel
def _kept(more: float, heat: float, chance: Bits) -> bool:
    return more <= 0.0 or (heat > 0.0 and drawn_part(chance) < np.exp(-more / heat))


@kernel
def _move(board: Board, seat: int, heat: float, chance: Bits) -> bool:
    """Seat a copy elsewhere."""
    j = board.model_of[seat]
    row, width = board.row[j], board.gpu.shape[1]
    old, new = np.empty(width, np.int64), np.empty(width, np.int64)
    region = board.region[board.gpu[seat, 0]] if board.freedom[j] == 1 else -1
    gone = _lift(board, seat, row, old)
    more = seat_least(board, j, row, region, chance, new)
    if more < np.inf and _kept(more - gone, heat, chance):
        place(board, seat, row, new)
        return True
    place(board, seat, row, old)
    return False


@kernel
def _exchange(board: Board, seat: int, other: int, heat: float, chance: Bits) -> bool:
    """Seat two copies each in the other's domain."""
    i, j = board.model_of[seat], board.model_of[other]
    a, b = board.domain_of[board.gpu[seat, 0]], board.domain_of[board.gpu[other, 0]]
    width = board.gpu.shape[1]
    was, had = np.empty(width, np.int64), np.empty(width, np.int64)
    new = np.empty(width, np.int64)
    first = board.region[board.gpu[seat, 0]] if board.freedom[i] == 1 else -1
    second = board.region[board.gpu[other, 0]] if board.freedom[j] == 1 else -1
    gone = _lift(board, seat, board.row[i], was)
    gone += _lift(board, other, board.row[j], had)
    more = _seat_in(board, i, board.row[i], b, first, chance, new)
    if more < np.inf:
        place(board, seat, board.row[i], new)
        again = _seat_in(board, j, board.row[j], a, second, chance, new)
        if again < np.inf and _kept(more + again - gone, heat, chance):
            place(board, other, board.row[j], new)
            return True
        for rank in range(board.degree[board.row[i]]):
            take(board, seat, rank, board.row[i])
    place(board, seat, board.row[i], was)
    place(board, other, board.row[j], had)
    return False


@kernel
def counted(board: Board, row: int, sign: float) -> None:
    """Count what all shards of an option take, by each pressure, where that is least."""
    shards = sign * board.degree[row] * board.copies[row]
    for p in range(board.cap.shape[1]):
        board.total[0, p] += board.size[row, :, p].min() * shards


@kernel
def _more_room(board: Board, now: int, then: int) -> float:
    """Return what more another option takes of the pressure where that is most, in GPUs.

    ``inf`` where the fleet has not as much left of some pressure.
    """
    before = board.degree[now] * board.copies[now]
    after = board.degree[then] * board.copies[then]
    most = -np.inf
    for p in range(board.cap.shape[1]):
        more = board.size[then, :, p].min() * after - board.size[now, :, p].min() * before
        if more > 0.0 and board.total[0, p] + more > board.total[1, p]:
            return np.inf
        most = max(most, more)
    return most


@kernel
def _resplit(board: Board, j: int, heat: float, chance: Bits) -> bool:
    """Split and copy a model in another way; the room that this takes counts as an excess does."""
    options = board.first_row[j + 1] - board.first_row[j]
    now, then = board.row[j], board.first_row[j] + drawn(chance, options)
    if then == now or not board.usable[then]:
        return False
    width, first = board.gpu.shape[1], board.first_seat[j]
    old = np.empty((board.copies[now], width), np.int64)
    new = np.empty(width, np.int64)
    more_room = _more_room(board, now, then)
    if more_room == np.inf:
        return False
    change = more_room
    for at in range(board.copies[now]):
        change -= _lift(board, first + at, now, old[at])
    board.row[j] = then
    placed = 0
    while placed < board.copies[then]:
        more = seat_least(board, j, then, -1, chance, new)
        if more == np.inf:
            break
        place(board, first + placed, then, new)
        change += more
        placed += 1
    if placed == board.copies[then] and _kept(change, heat, chance):
        counted(board, now, -1.0)
        counted(board, then, 1.0)
        return True
    for at in range(placed):
        for rank in range(board.degree[then]):
            take(board, first + at, rank, then)
    board.row[j] = now
    for at in range(board.copies[now]):
        place(board, first + at, now, old[at])
    return False


@kernel
def _random_seat(board: Board, g: int, chance: Bits) -> int:
    """Return the seat of a random copy on a GPU, -1 for none."""
    held, shard = 0, board.head[g]
    while shard >= 0:
        held += 1
        shard = board.after[shard]
    if held == 0:
        return -1
    shard = board.head[g]
    for _ in range(drawn(chance, held)):
        shard = board.after[shard]
    return int(shard // board.gpu.shape[1])


@kernel
def _tried(board: Board, seat: int, heat: float, chance: Bits) -> bool:
    """Try a random move of a copy; whether it was kept."""
    j, draw = board.model_of[seat], drawn_part(chance)
    if draw < ELSEWHERE:
        seat = _random_seat(board, drawn(chance, len(board.head)), chance)
        j = board.model_of[max(seat, 0)]
    if draw < RESPLIT:
        several = board.first_row[j + 1] - board.first_row[j] > 1
        return board.freedom[j] == 2 and several and _resplit(board, j, heat, chance)
    if draw < MOVE:
        return _move(board, seat, heat, chance)
    other = _random_seat(board, drawn(chance, len(board.head)), chance)
    if other < 0 or board.freedom[board.model_of[other]] == 0 or board.model_of[other] == j:
        return False
    apart = board.domain_of[board.gpu[seat, 0]] != board.domain_of[board.gpu[other, 0]]
    return apart and _exchange(board, seat, other, heat, chance)


@kernel
def anneal(
    board: Board,
    moves: int,
    hottest: float,
    coldest: float,
    growth: float,
    memory: float,
    most: float,
    chance: Bits,
) -> int:
    """Try moves until no GPU has an excess; return how many were tried.

    Parameters
    ----------
    board
        Changed in place.
    moves
        At most.
    hottest, coldest
        Temperature at first and at last, in parts of a GPU.
    growth
        Factor by which the excess of a GPU weighs more after a move that was not kept.
    memory
        Part of that weight which is left after a move that left no excess; and of all weights
        once one is above `most`.
    chance
        State of the random numbers; changed.
    """
    heat, cooling = hottest, (coldest / hottest) ** (1.0 / max(moves, 1))
    for made in range(moves):
        if board.number[0] == 0:
            return made
        heat *= cooling
        g = board.hot[drawn(chance, board.number[0])]
        seat = _random_seat(board, g, chance)
        if seat < 0:
            continue
        j = board.model_of[seat]
        if board.freedom[j] == 0:
            continue
        if not _tried(board, seat, heat, chance):
            board.weight[g] *= growth
            if board.weight[g] > most:
                for at in range(len(board.weight)):
                    board.weight[at] = 1.0 + (board.weight[at] - 1.0) * memory
        elif board.place[g] < 0:
            board.weight[g] = 1.0 + (board.weight[g] - 1.0) * memory
    return moves


@kernel
def fill_up(board: Board) -> None:
    """Sum up what is on each GPU, and chain the shards, from `Board.gpu`."""
    board.used[:] = 0.0
    board.head[:] = -1
    board.place[:] = -1
    board.number[0] = 0
    board.weight[:] = 1.0
    for j in range(len(board.row)):
        row = board.row[j]
        if row < 0:
            continue
        counted(board, row, 1.0)
        for at in range(board.copies[row]):
            seat = board.first_seat[j] + at
            for rank in range(board.degree[row] if board.gpu[seat, 0] >= 0 else 0):
                put(board, seat, rank, board.gpu[seat, rank], row)
    for g in range(len(board.head)):
        mark(board, g)


@kernel
def lift(board: Board, seat: int, row: int) -> None:
    """Take all shards of a copy off."""
    for rank in range(board.degree[row]):
        take(board, seat, rank, row)
