"""Prices of room: what each pressure is worth on each kind of GPU where packing is left out.

Parts of models go to kinds of GPU, in any option, within what all GPUs of a kind together hold of
each pressure. The dual of that program says what room is worth. A shard priced at its room, on the
kind where that is cheapest, makes no set that fits dearer than its GPU. So these prices prove what
those of the configuration program do, only less, by a far smaller program; and more than one
weighting of the pressures for all kinds, where kinds are short of different things.
"""

from collections.abc import Sequence

import highspy
import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.column_generation.master import add_rows, quiet_highs
from kvplace.solver.column_generation.pricing import Room

EDGE = 1e-12
"""Part by which that limit is raised, so that rounding takes no set from a GPU."""
OTHERS = 0.02
"""Part of the size that ranks shards which counts all limits alike, so that none is 0."""


def room_weights(
    rooms: Sequence[Room], fits: Bools, starts: Ints, shards: Ints, count: Floats, seconds: float
) -> list[Floats] | None:
    """Return what each whole limit of a GPU is worth, kind by kind; None where time is too short.

    Parameters
    ----------
    rooms
        (kinds,) rooms, of which the first of several limits mixes the others.
    fits
        (rows, kinds) whether a shard of an option may be there; every model has one that may.
    starts
        (n + 1,) first option of each model.
    shards
        (rows,) shards of all copies together.
    count
        (kinds,) GPUs of each kind.
    seconds
        Time limit.
    """
    parts = list(map(_parts, rooms))
    numbers = [len(part) for part in parts]
    first, n = np.cumsum([0, *numbers]), len(starts) - 1
    model = np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
    highs = quiet_highs(time_limit=max(seconds, 0.0))
    infinite, limits = highspy.kHighsInf, int(first[-1])
    add_rows(highs, [1.0] * n + [-infinite] * limits, [infinite] * n + [0.0] * limits)
    whole = np.repeat(-count, numbers)
    of_all = np.arange(n, n + limits, dtype=np.int32)
    highs.addCol(float(count.sum()), 0.0, infinite, len(of_all), of_all, whole)
    for kind, part in enumerate(parts):
        held = np.flatnonzero(fits[:, kind])
        taken = part[:, held] * shards[held]
        values = np.column_stack([np.ones(len(held)), taken.T]).ravel()
        used = n + np.arange(first[kind], first[kind + 1], dtype=np.int32)
        rows = np.column_stack([model[held], np.tile(used, (len(held), 1))]).astype(np.int32)
        begin = np.arange(len(held), dtype=np.int32) * (1 + len(part))
        zero = np.zeros(len(held))
        highs.addCols(
            len(held), zero, zero, np.full(len(held), infinite),
            len(values), begin, rows.ravel(), values,
        )  # fmt: skip
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.maximum(-np.array(highs.getSolution().row_dual)[n:], 0.0)
    return np.split(duals, first[1:-1])


def prices_of_room(
    rooms: Sequence[Room], fits: Bools, weights: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Return (rows,) prices of a shard of each option, and (kinds,) worths of a GPU."""
    prices = np.full(len(fits), np.inf)
    for kind, (room, worth) in enumerate(zip(rooms, weights, strict=True)):
        held = fits[:, kind]
        prices[held] = np.minimum(prices[held], worth @ _parts(room)[:, held])
    worths = np.array([worth.sum() for worth in weights])
    return np.where(np.isfinite(prices), prices, 0.0), worths


def mixed_room(room: Room, weights: Floats) -> Room:
    """Return a room whose first limit mixes the others by what they are worth."""
    total = float(weights.sum())
    if len(room.capacity) == 1 or total <= 0:
        return room
    mix = (1 - OTHERS) * weights / total + OTHERS / len(weights)
    sizes = np.vstack([mix @ _parts(room), room.sizes[1:]])
    capacity = np.append(mix.sum() * (1 + EDGE), room.capacity[1:])
    return Room(sizes, capacity, room.groups)


def _parts(room: Room) -> Floats:
    """Return (limits, rows) what part of each limit a shard takes."""
    parts: Floats = room.sizes / room.capacity[:, None]
    return parts[1:] if len(parts) > 1 else parts
