"""The board of compiled moves: copies on GPUs, what they take at a target, and what exceeds it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.kernels import kernel

__all__ = [
    "TINY",
    "Bits",
    "Board",
    "Bytes",
    "drawn",
    "drawn_part",
    "excess",
    "excess_with",
    "holds",
    "mark",
    "put",
    "take",
]

Bits = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

TINY = 1e-12
"""Part of a GPU below which an excess is rounding."""


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
def drawn(chance: Bits, below: int) -> int:
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
    return drawn(chance, 1 << 30) / float(1 << 30)


@kernel
def excess(board: Board, g: int) -> float:
    """Return the excess of a GPU, as it weighs."""
    found = 0.0
    for p in range(board.cap.shape[1]):
        found += max(0.0, board.used[g, p] - board.cap[g, p])
    weighted: float = found * board.weight[g]
    return weighted


@kernel
def excess_with(board: Board, g: int, row: int) -> float:
    """Return the excess of a GPU with a shard more."""
    found, t = 0.0, board.type_of[g]
    for p in range(board.cap.shape[1]):
        found += max(0.0, board.used[g, p] + board.size[row, t, p] - board.cap[g, p])
    weighted: float = found * board.weight[g]
    return weighted


@kernel
def mark(board: Board, g: int) -> None:
    """Note whether a GPU has an excess."""
    is_hot, at = excess(board, g) > TINY * board.weight[g], board.place[g]
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
def put(board: Board, seat: int, rank: int, g: int, row: int) -> None:
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
    mark(board, g)


@kernel
def take(board: Board, seat: int, rank: int, row: int) -> None:
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
    mark(board, g)


@kernel
def holds(board: Board, j: int, g: int) -> bool:
    """Whether a GPU has a shard of a model."""
    shard, width = board.head[g], board.gpu.shape[1]
    while shard >= 0:
        if board.model_of[shard // width] == j:
            return True
        shard = board.after[shard]
    return False
