"""Kernel: pairs of GPUs share out what they hold anew, under several pressures, as in annealing.

Under several pressures two GPUs seldom both come below a target at once, and a search that asks for
it stands still while most GPUs are a little above. So what counts is the sum over both GPUs and all
pressures of the squared excess over a target. Of all ways to share out some models of a pair, one
is drawn that exceeds the least, or little more where the temperature allows it (heat bath; Geman
and Geman, IEEE Transactions on Pattern Analysis and Machine Intelligence 6, 1984).

Sums are of single precision: they choose, and no more.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.chance import MIX, Bits, drawn
from kvplace.solver.improve.pair_kernel import carry_out, pressure_of
from kvplace.solver.improve.pair_ways import (
    MOVABLE,
    Ways,
    add_up,
    change_of,
    draw_ways,
    room_for_ways,
)
from kvplace.solver.kernels import kernel

LUCKS = 1 << 12
"""Random numbers that chance picks among."""
REACH, SLACK = 8.0, 1e-5
"""Excess above what it is now, in temperatures, that no way reaches; and what rounding may add."""


Floats32 = NDArray[np.float32]


class Heat(NamedTuple):
    """What pairs are to lower, and how far it may rise.

    Parameters
    ----------
    weights
        (g,) how much the excess of each GPU counts.
    target, above
        Pressure above which excess counts, and above which GPUs look for others, at least as much.
    temperature
        How much of excess, as a square of parts of the target, is given for chance.
    tries
        Others that each GPU above the target is paired with.
    seed
        Of what is drawn, with the number of the block.
    """

    weights: Floats
    target: float
    above: float
    temperature: float
    tries: int
    seed: int


@kernel
def anneal(packing: Packing, order: Ints, block: int, heat: Heat, first: int, end: int) -> int:
    """Let GPUs share out anew with others of their blocks; return how often models moved.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block
        GPUs of a block at most.
    heat
        What is lowered, and how.
    first, end
        Blocks to do.
    """
    g, done = len(order), 0
    blocks = -(-g // block)
    ways, luck = room_for_ways(packing, np.empty(0, np.float32)), _luck()
    chance = np.empty(1, np.uint64)
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        chance[0] = np.uint64(2 * (heat.seed * blocks + at) + 1) * np.uint64(MIX)
        for one in gpus:
            for _ in range(heat.tries if len(gpus) > 1 else 0):
                if pressure_of(packing, one) <= heat.above:
                    break
                other = gpus[drawn(chance, len(gpus))]
                if other != one:
                    done += _share_out(packing, one, other, heat, chance, luck, ways)
    return done


@kernel
def _luck() -> Floats32:
    """Return numbers of the Gumbel distribution: the most of what they are added to is drawn."""
    luck = np.empty(LUCKS, np.float32)
    for at in range(LUCKS):
        luck[at] = -np.log(-np.log((at + 0.5) / LUCKS))
    return luck


@kernel
def _share_out(
    packing: Packing, g: int, h: int, heat: Heat, chance: Bits, luck: Floats32, ways: Ways
) -> int:
    """Draw a way for two GPUs to share out some models; return 1 where models moved."""
    mine, movable = draw_ways(packing, g, h, heat.target, chance, ways)
    heavy, light = heat.weights[g], heat.weights[h]
    limit = 0.0
    for d in range(len(ways.limits)):
        x, y = max(ways.ours[MOVABLE, d], 0.0), max(ways.theirs[MOVABLE, d], 0.0)
        limit += heavy * x * x + light * y * y
    limit = limit * (1 + SLACK) + REACH * heat.temperature
    if not add_up(mine, movable, heavy, light, limit, ways):
        return 0
    excess, now = ways.excess, (1 << mine) - 1
    best, way = np.inf, now
    for at in range(1 << movable):
        if excess[at] < limit:
            level = excess[at]
            if heat.temperature > 0:
                level -= heat.temperature * luck[drawn(chance, LUCKS)]
            if level < best:
                best, way = level, at
    if way == now:
        return 0
    out, back = change_of(way, mine, movable, ways)
    return carry_out(packing, g, h, out, back)
