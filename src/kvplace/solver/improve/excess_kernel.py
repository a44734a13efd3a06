"""Kernel: exchanges that lower what GPUs exceed a target by, under several pressures.

Under several pressures two GPUs seldom both come below a target at once, and a search that asks for
it stands still while most GPUs are a little above. So what counts is the sum over both GPUs and all
pressures of the squared excess: an exchange is made where that falls, even if both stay above. What
a GPU exceeds can be given a weight, which grows while nothing lowers it, as in guided local search
(Voudouris and Tsang, European Journal of Operational Research 113, 1999).
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_kernel import carry_out, pressure_of
from kvplace.solver.improve.pair_trial import (
    TrialScratch,
    fill,
    least,
    rank_shared,
    share,
    trial_scratch,
)
from kvplace.solver.kernels import kernel

__all__ = ["Aim", "even_out"]

WORTH = 0.1
"""Part of a GPU's excess that a pair could take away if it shared all, else it is not tried."""
GAIN = 0.02
"""Part of a GPU's excess that an exchange must take away."""


class Aim(NamedTuple):
    """What exchanges are to lower.

    Parameters
    ----------
    weights
        (g,) how much the excess of each GPU counts.
    target
        Pressure above which excess counts.
    above
        Pressure above which GPUs look for others to exchange with, at least the target.
    turn
        Number of the call; the subsets looked at depend on it where not all are.
    tried
        (blocks,) filled in with how many pairs were looked at in each block.
    """

    weights: Floats
    target: float
    above: float
    turn: int
    tried: Ints


@kernel
def even_out(packing: Packing, order: Ints, block: int, aim: Aim, first: int, end: int) -> int:
    """Exchange between GPUs within blocks while that lowers excess; return how often.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block
        GPUs of a block at most.
    aim
        What is lowered.
    first, end
        Blocks to do.
    """
    g, done = len(order), 0
    blocks = -(-g // block)
    scratch = trial_scratch(packing.loads.shape[1])
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        excess = np.empty(len(gpus))
        aim.tried[at] = 0
        for b in range(len(gpus)):
            excess[b] = _excess(packing, gpus[b], aim)
        for b in np.argsort(-excess):
            done += _relieve(packing, gpus, b, at, aim, excess, scratch)
    return done


@kernel
def _excess(packing: Packing, g: int, aim: Aim) -> float:
    """Return the weighted sum of squares by which a GPU exceeds the target."""
    total, in_memory = 0.0, 1 / (aim.target * packing.free[g])
    for d in range(packing.loads.shape[1]):
        part = in_memory if d < packing.kv else 1 / aim.target
        total += max(packing.loads[g, d] * part - 1, 0.0) ** 2
    return float(total * aim.weights[g])


@kernel
def _shared(packing: Packing, g: int, h: int, aim: Aim, shared: Floats) -> float:
    """Return the weighted sum of squares of two GPUs that share what they hold as is best."""
    total = 0.0
    share(packing, g, h, shared)
    for pressure in shared:
        total += max(2 * pressure / aim.target - 2, 0.0) ** 2
    heavy, light = aim.weights[g], aim.weights[h]
    return float(total * heavy * light / (heavy + light))


@kernel
def _relieve(
    packing: Packing, gpus: Ints, b: int, at: int, aim: Aim, excess: Floats, scratch: TrialScratch
) -> int:
    """Exchange between one GPU of a block and the others until it is below; return how often."""
    g, done, filled, mine = gpus[b], 0, -1, 0
    ours, theirs = scratch.ours, scratch.theirs
    out, back = np.empty(3, np.int64), np.empty(3, np.int64)
    for step in range(1, len(gpus)):
        if excess[b] <= 0 or pressure_of(packing, g) <= aim.above:
            break
        other = (b + step) % len(gpus)
        h, most = gpus[other], excess[b] + excess[other]
        if most - _shared(packing, g, h, aim, scratch.shared) < WORTH * excess[b]:
            continue
        aim.tried[at] += 1
        rank_shared(packing, g, h, scratch)
        if filled != packing.type_of[h]:
            filled = packing.type_of[h]
            mine = fill(packing, g, filled, aim.turn, ours)
        many = fill(packing, h, packing.type_of[g], aim.turn, theirs)
        most -= GAIN * excess[b]
        weights = aim.weights[g], aim.weights[h]
        one, two = least(packing, g, h, mine, many, aim.target, weights, most, scratch)
        if one < 0:
            continue
        out[:], back[:] = ours.slots[one], theirs.slots[two]
        if carry_out(packing, g, h, out, back) == 0:
            continue
        excess[b], excess[other] = _excess(packing, g, aim), _excess(packing, h, aim)
        done, filled = done + 1, -1
    return done
