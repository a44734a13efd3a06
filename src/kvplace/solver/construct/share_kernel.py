"""Kernels: GPUs that hold too much exchange shards with whichever other GPU helps most.

A shard takes room of a GPU in two ways, and neither sum may exceed it. All ways to exchange up to
two shards for up to two of another GPU are looked at, with every other GPU. Where nothing lowers
what two GPUs hold too much, that of the one counts for more from then on, so that it goes elsewhere
(the breakout method: Morris, AAAI 1993).

Meanwhile others exchange so that the room left is in fewer places, where more fits: the sum of its
squares counts, too (Fleszar and Hindi, Computers & Operations Research 29, 2002).
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.chance import Bits, drawn
from kvplace.solver.construct.rematch import WHOLE
from kvplace.solver.kernels import kernel

SETS = 64
"""Sets of one or two shards of a GPU that are looked at, the empty one included."""
LOOKED_AT, CALM_LOOKED_AT = 1_000_000, 30_000
"""Exchanges looked at for one GPU, after which the best of them is made: for one that holds too
much, and for others."""
CALM = 4
"""Exchanges of others for each of a GPU that holds too much."""
GATHERED = 1e-4
"""What the square of the room left of a GPU, in parts of its memory, counts to a byte too much."""
KEPT = 2.0
"""What a byte too much of the KV that must be left counts to one of the load: it stays so at any
target, where the load takes less at a higher one."""
HEAVIER, HEAVIEST = 1.3, 1e9
"""Factor by which what a GPU holds too much counts for more each time, up to the second."""
MENDED = 0.999
"""Part of what a GPU holds too much with which it is mended: no other exchange is looked for."""
NONE = -1


class Shared(NamedTuple):
    """Shards on GPUs.

    Parameters
    ----------
    taken
        (2, shards) bytes that a shard takes in either way.
    model
        (shards,) whose they are.
    alone
        (g,) bytes that a GPU has for what is alone on it.
    held, many
        (g, width) shards of each GPU, and (g,) how many.
    room
        (2, g) bytes left of each GPU, below 0 where it holds too much.
    beyond
        (g,) bytes of shards that are larger than their GPU, so that they must go elsewhere.
    weight
        (g,) how much what a GPU holds too much counts.
    order
        (g,) in which GPUs are looked at, from a random one on.
    """

    taken: Floats
    model: Ints
    alone: Floats
    held: Ints
    many: Ints
    room: Floats
    beyond: Floats
    weight: Floats
    order: Ints


@kernel
def share_some(shared: Shared, steps: int, chance: Bits) -> int:
    """Make so many exchanges of random GPUs that hold too much, and `CALM` times as many of others.

    Return how many of the former lowered what such a GPU holds too much.
    """
    gpus, made = len(shared.many), 0
    hot = np.empty(gpus, np.int64)
    for _ in range(steps):
        many = 0
        for g in range(gpus):
            if excess_of(shared, g) > WHOLE:
                hot[many] = g
                many += 1
        if not many:
            break
        for _ in range(CALM):
            _exchange(shared, drawn(chance, gpus), CALM_LOOKED_AT, chance)
        g = hot[drawn(chance, many)]
        before = excess_of(shared, g)
        _exchange(shared, g, LOOKED_AT, chance)
        if excess_of(shared, g) < before:
            made += 1
        else:
            shared.weight[g] = min(shared.weight[g] * HEAVIER, HEAVIEST)
    return made


@kernel
def excess_of(shared: Shared, g: int) -> float:
    """Return what a GPU holds too much, with all of what is too large for it alone."""
    return float(shared.beyond[g] + max(-shared.room[0, g], -KEPT * shared.room[1, g], 0.0))


@kernel
def _cost(weight: float, alone: float, first: float, second: float, beyond: float) -> float:
    """Return what counts of a GPU with such room left in either way."""
    left = min(first, second)
    if left < 0:
        return weight * (beyond - min(first, KEPT * second))
    return weight * beyond - GATHERED * left * left / alone


@kernel
def _exchange(shared: Shared, g: int, most: int, chance: Bits) -> bool:  # noqa: C901, PLR0912 - a kernel called for each GPU takes three times as long
    """Make the best exchange of a GPU with another, of so many; return whether any is better.

    Parameters
    ----------
    shared, g
        The GPU.
    most
        Exchanges looked at.
    chance
        Draws the GPU that is looked at first.
    """
    taken, held, count, room = shared.taken, shared.held, shared.many, shared.room
    alone, beyond, weight = shared.alone, shared.beyond, shared.weight
    gpus, width = held.shape
    given, size, above = _sets(shared, g)
    heavy, mine, own, a, b = weight[g], alone[g], beyond[g], room[0, g], room[1, g]
    now = _cost(heavy, mine, a, b, own)
    mended = -MENDED * now if excess_of(shared, g) > WHOLE else -np.inf
    best, partner, gives, first, second = -WHOLE * 1e-3, NONE, 0, NONE, NONE
    start, looked = drawn(chance, gpus), 0
    for at in range(gpus):
        h = shared.order[(start + at) % gpus]
        if h == g or max(count[g], count[h]) > width - 2:
            continue
        light, other, c, d = weight[h], alone[h], room[0, h], room[1, h]
        before = now + _cost(light, other, c, d, beyond[h])
        for i in range(NONE, count[h]):
            for j in range(NONE, max(i, 0)):
                x, y, here, there = 0.0, 0.0, own, beyond[h]
                for slot in (i, j):
                    if slot >= 0:
                        shard = held[h, slot]
                        x, y = x + taken[0, shard], y + taken[1, shard]
                        here += _too_large(shared, shard, g)
                        there -= _too_large(shared, shard, h)
                looked += len(above)
                for s in range(len(above)):
                    x_s, y_s = size[0, s] - x, size[1, s] - y
                    change = _cost(heavy, mine, a + x_s, b + y_s, here - above[s])
                    change += _cost(light, other, c - x_s, d - y_s, there) - before
                    if change >= best:
                        continue
                    for slot in given[s]:
                        if slot >= 0:
                            change += light * _too_large(shared, held[g, slot], h)
                    if change < best and not _any_meets(shared, g, given[s], h, i, j):
                        best, partner, gives, first, second = change, h, s, i, j
        if looked > most or best <= mended:
            break
    if partner == NONE:
        return False
    out = _taken_off(shared, g, given[gives, 0], given[gives, 1])
    back = _taken_off(shared, partner, first, second)
    for shard in out:
        _put(shared, shard, partner)
    for shard in back:
        _put(shared, shard, g)
    return True


@kernel
def _sets(shared: Shared, g: int) -> tuple[Ints, Floats, Floats]:
    """Return the sets of up to two shards of a GPU.

    They are (sets, 2) slots, the later first; (2, sets) bytes that they take; and (sets,) those of
    shards that are too large there.
    """
    given, size, above = np.empty((SETS, 2), np.int64), np.zeros((2, SETS)), np.zeros(SETS)
    sets = 0
    for i in range(NONE, shared.many[g]):
        for j in range(NONE, max(i, 0)):
            if sets == SETS:
                break
            given[sets, 0], given[sets, 1] = i, j
            for slot in (i, j):
                if slot >= 0:
                    size[:, sets] += shared.taken[:, shared.held[g, slot]]
                    above[sets] += _too_large(shared, shared.held[g, slot], g)
            sets += 1
    return given[:sets], size[:, :sets], above[:sets]


@kernel
def _too_large(shared: Shared, shard: int, g: int) -> float:
    """Return the bytes of a shard that does not fit a GPU alone, else 0."""
    size = max(shared.taken[0, shard], shared.taken[1, shard])
    return float(size) if size > shared.alone[g] else 0.0


@kernel
def _any_meets(shared: Shared, g: int, given: Ints, h: int, first: int, second: int) -> bool:
    """Return whether an exchange brings two shards of a model together."""
    for slot in given:
        if _meets(shared, g, slot, h):
            return True
    return _meets(shared, h, first, g) or _meets(shared, h, second, g)


@kernel
def _meets(shared: Shared, g: int, slot: int, h: int) -> bool:
    """Return whether another GPU has a shard of the model in a slot, which may be none."""
    found = False
    for other in range(shared.many[h] if slot >= 0 else 0):
        found |= shared.model[shared.held[h, other]] == shared.model[shared.held[g, slot]]
    return found


@kernel
def _taken_off(shared: Shared, g: int, first: int, second: int) -> Ints:
    """Take what is in two slots of a GPU, the later first, off it; return the shards."""
    found, many = np.empty(2, np.int64), 0
    for slot in (first, second):
        if slot < 0:
            break
        shard = shared.held[g, slot]
        found[many] = shard
        many += 1
        shared.many[g] -= 1
        shared.held[g, slot] = shared.held[g, shared.many[g]]
        shared.room[:, g] += shared.taken[:, shard]
        shared.beyond[g] -= _too_large(shared, shard, g)
    return found[:many]


@kernel
def _put(shared: Shared, shard: int, g: int) -> None:
    """Put a shard on a GPU."""
    shared.held[g, shared.many[g]] = shard
    shared.many[g] += 1
    shared.room[:, g] -= shared.taken[:, shard]
    shared.beyond[g] += _too_large(shared, shard, g)
