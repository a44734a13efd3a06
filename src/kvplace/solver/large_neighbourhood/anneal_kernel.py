"""Compiled moves of whole copies at a target: to another link domain, for another, resplit.

At a target every shard takes a room of its GPU, by each pressure, and what exceeds a GPU is its
excess. A move takes a copy off a GPU with an excess and seats it elsewhere, exchanges it for
another copy, or splits and copies its model anew. It is kept as in simulated annealing
(Kirkpatrick, Gelatt and Vecchi, Science 220, 1983). The excess of a GPU weighs more with every
move that did not lower it, so that a large model may push out many small ones in the end (the
breakout method of Morris, AAAI 1993).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.kernels import kernel

__all__ = [
    "Bits",
    "Board",
    "anneal",
    "counted",
    "drawn_part",
    "fill_up",
    "lift",
    "place",
    "seat_least",
]

Bits = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

ELSEWHERE, RESPLIT, MOVE = 0.05, 0.15, 0.5
"""Of a draw: below which any model is split anew, or one with an excess, or a copy is moved; above,
copies are exchanged."""
DOMAINS = 16
"""Link domains looked at for one copy."""
WIDE = 16
"""GPUs looked at in one link domain."""
TINY = 1e-12
"""Part of a GPU below which an excess is rounding."""
FULLER = 1e-3
"""Part of a GPU that a fuller GPU counts less than an empty one where the excess is the same."""


class Board(NamedTuple):
    """Copies on GPUs, and what they take at a target.

    Parameters
    ----------
    first_row, degree, copies
        (n + 1,) first option of each model, and (rows,) what each option is.
    usable
        (rows,) whether an option may be taken at the target.
    size
        (rows, types, pressures) part of a GPU's room that a shard takes.
    cap
        (g, pressures) room of each GPU.
    type_of, region, domain_of
        (g,) load type, region and link domain of each GPU.
    domains
        (d + 1,) where the GPUs of each link domain start in `in_domain`, and the end.
    in_domain
        (g,) the GPUs, domain by domain.
    masks, mask_of
        (masks, g) where models may run, and (n,) which of them is each model's.
    freedom
        (n,) 0 where the copies stay, 1 where they may move within their region, 2 everywhere.
    row
        (n,) option of each model, -1 for those that stay.
    model_of, first_seat
        (seats,) model of each seat, and (n + 1,) first seat of each model; a seat is a row of `gpu`
        and there for one copy.
    gpu
        (seats, degree) GPUs of each copy, -1 for none.
    used
        (g, pressures) room taken.
    head, after, before
        Chains of the shards on each GPU; a shard is seat x degree + rank.
    hot, place, number
        GPUs with an excess, the place of each GPU among them, -1 for none, and how many they are.
    weight
        (g,) how much the excess of each GPU counts: more the longer it stays.
    total
        (2, pressures) what all copies take at least, and what all GPUs have.
    """

    first_row: Ints
    degree: Ints
    copies: Ints
    usable: Bytes
    size: Floats
    cap: Floats
    type_of: Ints
    region: Ints
    domain_of: Ints
    domains: Ints
    in_domain: Ints
    masks: Bytes
    mask_of: Ints
    freedom: Ints
    row: Ints
    model_of: Ints
    first_seat: Ints
    gpu: Ints
    used: Floats
    head: Ints
    after: Ints
    before: Ints
    hot: Ints
    place: Ints
    number: Ints
    weight: Floats
    total: Floats


@kernel
def _drawn(chance: Bits, below: int) -> int:
    """Return a random whole number below another (xorshift; Marsaglia, J. Stat. Softw. 8, 2003)."""
    x = chance[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    chance[0] = x
    return int(np.int64((x >> np.uint64(11)) % np.uint64(below)))


@kernel
def drawn_part(chance: Bits) -> float:
    """Return a random part of one."""
    return _drawn(chance, 1 << 30) / float(1 << 30)


@kernel
def _excess(board: Board, g: int) -> float:
    found = 0.0
    for p in range(board.cap.shape[1]):
        found += max(0.0, board.used[g, p] - board.cap[g, p])
    weighted: float = found * board.weight[g]
    return weighted


@kernel
def _with(board: Board, g: int, row: int) -> float:
    """Return the excess of a GPU with a shard more."""
    found, t = 0.0, board.type_of[g]
    for p in range(board.cap.shape[1]):
        found += max(0.0, board.used[g, p] + board.size[row, t, p] - board.cap[g, p])
    weighted: float = found * board.weight[g]
    return weighted


@kernel
def _mark(board: Board, g: int) -> None:
    """Note whether a GPU has an excess."""
    is_hot, at = _excess(board, g) > TINY * board.weight[g], board.place[g]
    if is_hot and at < 0:
        board.place[g] = board.number[0]
        board.hot[board.number[0]] = g
        board.number[0] += 1
    elif not is_hot and at >= 0:
        board.number[0] -= 1
        last = board.hot[board.number[0]]
        board.hot[at] = last
        board.place[last] = at
        board.place[g] = -1


@kernel
def _put(board: Board, seat: int, rank: int, g: int, row: int) -> None:
    """Put a shard of a copy on a GPU."""
    shard = seat * board.gpu.shape[1] + rank
    board.gpu[seat, rank] = g
    board.before[shard], board.after[shard] = -1, board.head[g]
    if board.head[g] >= 0:
        board.before[board.head[g]] = shard
    board.head[g] = shard
    t = board.type_of[g]
    for p in range(board.cap.shape[1]):
        board.used[g, p] += board.size[row, t, p]
    _mark(board, g)


@kernel
def _take(board: Board, seat: int, rank: int, row: int) -> None:
    """Take a shard of a copy off its GPU."""
    shard, g = seat * board.gpu.shape[1] + rank, board.gpu[seat, rank]
    before, after = board.before[shard], board.after[shard]
    if before >= 0:
        board.after[before] = after
    else:
        board.head[g] = after
    if after >= 0:
        board.before[after] = before
    board.gpu[seat, rank] = -1
    t = board.type_of[g]
    for p in range(board.cap.shape[1]):
        board.used[g, p] -= board.size[row, t, p]
    _mark(board, g)


@kernel
def _holds(board: Board, j: int, g: int) -> bool:
    """Whether a GPU has a shard of a model."""
    shard, width = board.head[g], board.gpu.shape[1]
    while shard >= 0:
        if board.model_of[shard // width] == j:
            return True
        shard = board.after[shard]
    return False


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
    shift = _drawn(chance, width)
    cost = np.full(degree, np.inf)
    added = np.zeros(degree)
    filled = 0
    mask = board.masks[board.mask_of[j]]
    for at in range(looked):
        g = board.in_domain[start + (shift + at) % width]
        if not mask[g] or (region >= 0 and board.region[g] != region) or _holds(board, j, g):
            continue
        more = _with(board, g, row) - _excess(board, g)
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
    shift = _drawn(chance, number)
    for at in range(looked):
        domain = (shift + at) % number if number <= DOMAINS else _drawn(chance, number)
        if region >= 0 and board.region[board.in_domain[board.domains[domain]]] != region:
            continue
        more = _seat_in(board, j, row, domain, region, chance, found)
        if more < least:
            least = more
            best[:] = found
            if more <= 0.0 and number > DOMAINS:
                break
    return least


@kernel
def place(board: Board, seat: int, row: int, gpus: Ints) -> None:
    """Put all shards of a copy on GPUs."""
    for rank in range(board.degree[row]):
        _put(board, seat, rank, gpus[rank], row)


@kernel
def _lift(board: Board, seat: int, row: int, gpus: Ints) -> float:
    """Take a copy off; return the excess that it added, and note where it was."""
    before = 0.0
    for rank in range(board.degree[row]):
        gpus[rank] = board.gpu[seat, rank]
        before += _excess(board, gpus[rank])
    for rank in range(board.degree[row]):
        _take(board, seat, rank, row)
    for rank in range(board.degree[row]):
        before -= _excess(board, gpus[rank])
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
            _take(board, seat, rank, board.row[i])
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
    now, then = board.row[j], board.first_row[j] + _drawn(chance, options)
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
            _take(board, first + at, rank, then)
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
    for _ in range(_drawn(chance, held)):
        shard = board.after[shard]
    return int(shard // board.gpu.shape[1])


@kernel
def _tried(board: Board, seat: int, heat: float, chance: Bits) -> bool:
    """Try a random move of a copy; whether it was kept."""
    j, draw = board.model_of[seat], drawn_part(chance)
    if draw < ELSEWHERE:
        seat = _random_seat(board, _drawn(chance, len(board.head)), chance)
        j = board.model_of[max(seat, 0)]
    if draw < RESPLIT:
        several = board.first_row[j + 1] - board.first_row[j] > 1
        return board.freedom[j] == 2 and several and _resplit(board, j, heat, chance)
    if draw < MOVE:
        return _move(board, seat, heat, chance)
    other = _random_seat(board, _drawn(chance, len(board.head)), chance)
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
        g = board.hot[_drawn(chance, board.number[0])]
        seat = _random_seat(board, g, chance)
        if seat < 0:
            continue
        j = board.model_of[seat]
        if board.freedom[j] == 0:
            continue
        if not _tried(board, seat, heat, chance):
            board.weight[g] *= growth
            if board.weight[g] > most:
                board.weight[:] = 1.0 + (board.weight - 1.0) * memory
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
                _put(board, seat, rank, board.gpu[seat, rank], row)
    for g in range(len(board.head)):
        _mark(board, g)


@kernel
def lift(board: Board, seat: int, row: int) -> None:
    """Take all shards of a copy off."""
    for rank in range(board.degree[row]):
        _take(board, seat, rank, row)
