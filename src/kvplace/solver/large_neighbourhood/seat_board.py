"""The board of compiled fillings: copies on GPUs, and what they take at a target."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.kernels import kernel

Bytes = NDArray[np.uint8]


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
    type_of
        (g,) load type of each GPU.
    domains
        (d + 1,) where the GPUs of each link domain start in `in_domain`, and the end.
    in_domain
        (g,) the GPUs, domain by domain.
    masks, mask_of
        (masks, g) where models may run, and (n,) which of them is each model's.
    free
        (n,) whether the copies may go anywhere; the others stay.
    row
        (n,) option of each model, -1 for those that stay.
    first_seat
        (n + 1,) first seat of each model that is free; a seat is a row of `gpu`, and there for one
        copy.
    gpu
        (seats, degree) GPUs of each copy, -1 for none.
    used
        (g, pressures) room taken.
    """

    first_row: Ints
    degree: Ints
    copies: Ints
    usable: Bytes
    size: Floats
    cap: Floats
    type_of: Ints
    domains: Ints
    in_domain: Ints
    masks: Bytes
    mask_of: Ints
    free: Bools
    row: Ints
    first_seat: Ints
    gpu: Ints
    used: Floats


@kernel
def place(board: Board, seat: int, row: int, gpus: Ints) -> None:
    """Put all shards of a copy on GPUs."""
    for rank in range(board.degree[row]):
        g = gpus[rank]
        board.gpu[seat, rank] = g
        for p in range(board.cap.shape[1]):
            board.used[g, p] += board.size[row, board.type_of[g], p]


@kernel
def fill_up(board: Board) -> None:
    """Sum up what is on each GPU, from `Board.gpu`."""
    board.used[:] = 0.0
    for j in range(len(board.row)):
        row = board.row[j]
        for at in range(board.copies[row] if row >= 0 else 0):
            seat = board.first_seat[j] + at
            if board.gpu[seat, 0] >= 0:
                place(board, seat, row, board.gpu[seat])
