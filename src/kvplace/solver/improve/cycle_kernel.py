"""Kernel: cyclic exchanges among three GPUs, under several pressures.

Under several pressures two GPUs seldom suit each other: what one is short of, the other must have
at every pressure at once. A cyclic exchange (Thompson and Orlin, MIT OR 200-89, 1989) looks for a
GPU that can take some models of the hot one, another that can take what that one gives in turn,
and whose own models the hot one can take: so few models of thousands have to suit each other.
Where two GPUs do suit each other they exchange alone, which is found sooner.
"""

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.cycle_nodes import (
    HITS,
    Nodes,
    fill,
    givers,
    joined,
    new_nodes,
    smallest,
    suited,
    takers,
)
from kvplace.solver.improve.pair_kernel import carry_out, move, pressure_of, sum_up
from kvplace.solver.improve.pair_search import (
    TRIED,
    TrialScratch,
    least_pressure,
    left_enough,
    trial_scratch,
)
from kvplace.solver.kernels import kernel

__all__ = ["relieve_by_cycles"]

FEW = 128
"""Nodes on either side between which arcs are looked for: those that give least or have most."""
PARTNERS = 64
"""GPUs with which a hot one is to exchange alone."""
EASE = 0.9
"""Part of its excess that a hot GPU may keep where the target is out of reach."""
TINY = 1e-12
"""Relative gain that an exchange must exceed."""

Scratch = tuple[TrialScratch, Ints, Ints, Ints, Ints, Ints, Floats]
"""Room for the search of a pair and its slots; nodes on either side; a few of them; their keys."""


@kernel
def relieve_by_cycles(
    packing: Packing,
    order: Ints,
    block: int,
    width: int,
    target: float,
    turn: int,
    first: int,
    end: int,
) -> int:
    """Bring GPUs above a target below it by exchanges within blocks; return how many were made.

    Parameters
    ----------
    packing
        Changed in place.
    order
        (g,) the GPUs; those of a block are next to each other.
    block, width
        GPUs of a block at most, and nodes of each GPU.
    target
        Pressure that no GPU of an exchange may be above afterwards. A hot one may where that is
        out of reach, if it comes nearer.
    turn
        Number of the call; where the search starts depends on it.
    first, end
        Blocks to do.
    """
    g = len(order)
    blocks = -(-g // block)
    done = 0
    for at in range(first, end):
        gpus = order[g * at // blocks : g * (at + 1) // blocks]
        done += _relieve_block(packing, gpus, width, target, turn)
    return done


@kernel
def _relieve_block(packing: Packing, gpus: Ints, width: int, target: float, turn: int) -> int:
    """Relieve the hot GPUs of a block, the hottest first; return the exchanges made."""
    nodes = new_nodes(packing, gpus, width, target)
    scratch = (
        trial_scratch(TRIED, packing.loads.shape[1]),
        np.empty(3, np.int64), np.empty(3, np.int64),
        np.empty(HITS, np.int64), np.empty(HITS, np.int64),
        np.empty((2, FEW), np.int64), np.empty(FEW),
    )  # fmt: skip
    cycle = np.empty(3, np.int64)
    heat = np.empty(len(gpus))
    for b in range(len(gpus)):
        heat[b] = pressure_of(packing, gpus[b])
    top, done = heat.max(), 0
    while True:
        b = int(heat.argmax())
        if heat[b] <= target:
            return done
        heat[b] = 0.0
        now = pressure_of(packing, gpus[b])
        if not target < now < np.inf:
            continue
        length = _relieve(packing, gpus, b, width, target, top, turn, nodes, scratch, cycle)
        done += length > 0
        for at in cycle[:length]:
            fill(packing, gpus[at // width], at // width, width, target, target, nodes)
        if length == 0:
            fill(packing, gpus[b], b, width, target, target, nodes)


@kernel
def _relieve(
    packing: Packing,
    gpus: Ints,
    b: int,
    width: int,
    target: float,
    top: float,
    turn: int,
    nodes: Nodes,
    scratch: Scratch,
    cycle: Ints,
) -> int:
    """Relieve one GPU; return the GPUs that took part, of which nodes are filled in, or 0."""
    _, _, _, on, back, few, keys = scratch
    now = pressure_of(packing, gpus[b])
    eased = target + (now - target) * EASE
    many, enough = suited(nodes, b, width, keys, few[0, :PARTNERS])
    found = _partner(packing, gpus, b, few[0, :enough], target, turn, scratch)
    if found < 0 and now > (target + top) / 2:  # let it come nearer at least
        found = _partner(packing, gpus, b, few[0, :many], eased, turn, scratch)
    if found >= 0:
        cycle[0], cycle[1] = b * width, found * width
        return 2
    count = fill(packing, gpus[b], b, width, target, eased if turn % 2 else target, nodes)
    columns = nodes.room.shape[1]
    for step in range(count):
        own = b * width + (step + turn + b) % count
        start = (turn * 31 + step * 7 + b) * width % columns
        n_back = givers(own, nodes, start, back)
        if n_back == 0:
            continue
        n_on = takers(own, nodes, start, on)
        n_on = smallest(nodes.taken, on[:n_on], 1.0, keys, few[0])
        n_back = smallest(nodes.left, back[:n_back], -1.0, keys, few[1])
        cycle[0] = own
        if _closed(packing, gpus, width, few[0, :n_on], few[1, :n_back], nodes, cycle):
            _turn(packing, gpus, width, cycle, nodes)
            for x in range(3):  # what suits each other is shared as evenly as can be
                g, h = gpus[cycle[x] // width], gpus[cycle[x - 1] // width]
                most = max(pressure_of(packing, g), pressure_of(packing, h))
                _exchange(packing, g, h, most * (1 - TINY), turn, scratch)
            return 3
    return 0


@kernel
def _partner(
    packing: Packing, gpus: Ints, b: int, others: Ints, goal: float, turn: int, scratch: Scratch
) -> int:
    """Exchange with the first of some GPUs such that both end below a goal; return it, or -1."""
    for step in range(len(others)):
        other = others[(step + turn) % len(others)]
        if _exchange(packing, gpus[b], gpus[other], goal, turn, scratch):
            return int(other)
    return -1


@kernel
def _exchange(packing: Packing, g: int, h: int, goal: float, turn: int, scratch: Scratch) -> bool:
    """Make the best exchange of two GPUs if both end below a goal; return whether one was made."""
    by_trial, out, back = scratch[0], scratch[1], scratch[2]
    if pressure_of(packing, h) > pressure_of(packing, g):
        g, h = h, g
    if not least_pressure(packing, g, h, goal, turn, by_trial, out, back):
        return False
    return bool(carry_out(packing, g, h, out, back) > 0)


@kernel
def _closed(
    packing: Packing, gpus: Ints, width: int, on: Ints, back: Ints, nodes: Nodes, cycle: Ints
) -> bool:
    """Fill in a taker and a giver that are joined, after the node; return whether there are any."""
    own = cycle[0] // width
    for y in on:
        if y // width == own:
            continue
        for z in back:
            if nodes.taken[y] > nodes.left[z]:  # and more than any later one has left
                break
            if z // width in (own, y // width) or not joined(nodes, y, z):
                continue
            cycle[1], cycle[2] = y, z
            if _allowed(packing, gpus, width, cycle, nodes):
                return True
    return False


@kernel
def _allowed(packing: Packing, gpus: Ints, width: int, cycle: Ints, nodes: Nodes) -> bool:
    """Whether memory and the rows have room for a cycle, and no models of one group meet."""
    slots, item, group = nodes.slots, packing.item, packing.group
    for at in range(len(cycle)):
        here, before = cycle[at], cycle[at - 1]
        g = gpus[here // width]
        start, held = packing.start[g], packing.models[g]
        moved, more = 0, 0
        for slot in slots[here]:
            if slot >= 0:
                moved, more = moved + packing.size[slot], more + packing.keep[slot]
        for slot in slots[before]:
            if slot < 0:
                continue
            moved, more = moved - packing.size[slot], more - packing.keep[slot]
            for other in range(start, start + held):
                stays = other != slots[here, 0] and other != slots[here, 1]
                if stays and group[item[other]] == group[item[slot]]:
                    return False
        room = held + 2 <= packing.start[g + 1] - start  # one comes before another goes
        if not room or not left_enough(packing, g, moved, more):
            return False
    return True


@kernel
def _turn(packing: Packing, gpus: Ints, width: int, cycle: Ints, nodes: Nodes) -> None:
    """Give the models of each node of a cycle to the GPU of the next."""
    item, wanted, one = packing.item, np.full((len(cycle), 2), -1, np.int64), np.empty(1, np.int64)
    for at in range(len(cycle)):
        for x in range(2):
            if nodes.slots[cycle[at], x] >= 0:
                wanted[at, x] = item[nodes.slots[cycle[at], x]]
    for at in range(len(cycle)):
        g, h = gpus[cycle[at] // width], gpus[cycle[(at + 1) % len(cycle)] // width]
        for x in range(2):
            for slot in range(packing.start[g], packing.start[g] + packing.models[g]):
                if item[slot] == wanted[at, x]:
                    packing.free[g] += packing.size[slot]
                    packing.kept[g] -= packing.keep[slot]
                    packing.free[h] -= packing.size[slot]
                    packing.kept[h] += packing.keep[slot]
                    one[0] = slot
                    move(packing, g, h, one)
                    break
    for at in cycle:
        sum_up(packing, gpus[at // width])  # anew, so that nothing drifts
