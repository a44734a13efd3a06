"""Kernels: which GPUs have room for what others can give, under several pressures.

At a target K all is linear: a shard takes ``(s + l / K) / M`` of a GPU by a pressure on KV memory,
``u / K`` by one on time, and its weights with the KV that it must be left are a limit, too. A node
is a GPU and up to two of its models: what these take of any GPU, and the room that their GPU has
without them. Nodes are columns, those of a GPU next to each other, so that one limit of many is
compared at a time, that which most fail at first.
"""

from typing import NamedTuple

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.packed import Packing
from kvplace.solver.improve.pair_search import sort
from kvplace.solver.kernels import kernel

__all__ = ["Nodes", "fill", "givers", "joined", "new_nodes", "smallest", "suited", "takers"]

CHUNK = 512
"""Nodes that are compared at a time."""
HITS = 16_384
"""Nodes after which no more are looked for."""
STEPS = (5, 7, 11, 13, 17, 19)
"""Windows between two that are compared: the first that does not divide their number."""
TINY = 1e-12
"""Least spread of what is compared."""


class Nodes(NamedTuple):
    """The nodes of some GPUs.

    Parameters
    ----------
    given
        (load types, limits, nodes) what the models of a node take of a GPU.
    room
        (limits, nodes) what its GPU has left without them; ``-inf`` where there is no such node.
    taken, left
        (nodes,) both, on the own GPU, over all limits.
    slots
        (nodes, 2) of the models, -1 for none.
    kinds
        (nodes,) load type of the GPU.
    mean, spread
        (2, limits) of what is given, and of room, as they were at first.
    order
        (limits,) in which limits are compared, such that windows next to each other are not.
    """

    given: Floats
    room: Floats
    taken: Floats
    left: Floats
    slots: Ints
    kinds: Ints
    mean: Floats
    spread: Floats
    order: Ints


@kernel
def new_nodes(packing: Packing, gpus: Ints, width: int, target: float) -> Nodes:
    """Return up to `width` nodes for each of some GPUs at a target."""
    limits, columns = packing.loads.shape[1] + 1, len(gpus) * width
    nodes = Nodes(
        np.empty((packing.table.shape[1], limits, columns)),
        np.empty((limits, columns)),
        np.empty(columns),
        np.empty(columns),
        np.empty((columns, 2), np.int64),
        np.empty(columns, np.int64),
        np.empty((2, limits)),
        np.empty((2, limits)),
        _strided(limits),
    )
    for b in range(len(gpus)):
        fill(packing, gpus[b], b, width, target, target, nodes)
    for d in range(limits):
        _look(nodes.given[0, d], 0, d, nodes)
        _look(nodes.room[d], 1, d, nodes)
    return nodes


@kernel
def _strided(limits: int) -> Ints:
    """Return the limits in steps of some, from the last on."""
    step = 1
    for prime in STEPS:
        if limits % prime:
            step = prime
            break
    order = np.empty(limits, np.int64)
    for at in range(limits):
        order[at] = (limits - 1 + at * step) % limits
    return order


@kernel
def _look(values: Floats, side: int, d: int, nodes: Nodes) -> None:
    """Note the mean and the spread of those of some values that are finite."""
    n, total, squares = 0, 0.0, 0.0
    for value in values:
        if abs(value) < np.inf:
            n, total, squares = n + 1, total + value, squares + value * value
    mean = total / max(n, 1)
    nodes.mean[side, d] = mean
    nodes.spread[side, d] = np.sqrt(max(squares / max(n, 1) - mean * mean, TINY))


@kernel
def fill(
    packing: Packing, g: int, b: int, width: int, target: float, goal: float, nodes: Nodes
) -> int:
    """Fill in the nodes of GPU g, the b-th, that is to end at a goal; return how many it has.

    The first has no model: it takes without giving.
    """
    held, first, slots = packing.models[g], packing.start[g], nodes.slots
    at, end = b * width, b * width + width
    for i in range(-1, held):
        for j in range(-1, max(i, 0)):
            if at == end:
                break
            slots[at, 0] = first + i if i >= 0 else -1
            slots[at, 1] = first + j if j >= 0 else -1
            _fill_one(packing, g, at, target, goal, nodes)
            at += 1
    for rest in range(at, end):
        nodes.kinds[rest] = packing.type_of[g]
        for d in range(len(nodes.room)):
            nodes.room[d, rest] = -np.inf
            for t in range(len(nodes.given)):
                nodes.given[t, d, rest] = np.inf
    return int(at - b * width)


@kernel
def _fill_one(packing: Packing, g: int, at: int, target: float, goal: float, nodes: Nodes) -> None:
    """Fill in what the models of a node take, and the room without them."""
    given, room, kv = nodes.given, nodes.room, packing.kv
    unit, own, last = float(packing.memory[0]), packing.type_of[g], len(room) - 1
    size, keep = 0, 0
    for slot in nodes.slots[at]:
        if slot >= 0:
            size, keep = size + packing.size[slot], keep + packing.keep[slot]
    free = packing.free[g] + size
    nodes.kinds[at], nodes.taken[at], nodes.left[at] = own, 0.0, 0.0
    for d in range(last):
        for t in range(len(given)):
            load = 0.0
            for slot in nodes.slots[at]:
                if slot >= 0:
                    load += packing.table[packing.item[slot], t, d]
            given[t, d, at] = (size + load / target) / unit if d < kv else load / target
            if t == own:
                rest = (packing.loads[g, d] - load) / goal
                room[d, at] = (free - rest) / unit if d < kv else 1 - rest
    for t in range(len(given)):
        given[t, last, at] = (size + keep) / unit
    room[last, at] = (free - max(packing.kept[g] - keep, packing.spare[g], 1)) / unit
    for d in range(last + 1):
        nodes.taken[at] += given[own, d, at]
        nodes.left[at] += room[d, at]


@kernel
def takers(of: int, nodes: Nodes, start: int, out: Ints) -> int:
    """Fill in nodes with room for what a node gives, from a column on; return how many."""
    return _compared(nodes.given[:, :, of], nodes.room, nodes, 1, start, out)


@kernel
def givers(to: int, nodes: Nodes, start: int, out: Ints) -> int:
    """Fill in nodes that give what a node has room for, from a column on; return how many."""
    kind = nodes.kinds[to]
    return _compared(nodes.room[:, to : to + 1].T, nodes.given[kind], nodes, 0, start, out)


@kernel
def _compared(what: Floats, table: Floats, nodes: Nodes, side: int, start: int, out: Ints) -> int:
    """Fill in columns whose room is enough (side 1) or that give no more (side 0).

    Parameters
    ----------
    what
        (load types or 1, limits) that is compared with columns of `table`.
    """
    limits, columns = table.shape
    sign = 1.0 if side else -1.0
    keys, order = np.empty(limits), np.empty(limits, np.int64)
    for d in range(limits):
        keys[d] = sign * (nodes.mean[side, d] - what[0, d]) / nodes.spread[side, d]
    sort(keys, order, limits)
    # Of several load types, none is ruled out at once.
    worst = sign * what[0, order[0]] if len(what) == 1 else -np.inf
    n, at = 0, 0
    while at < columns and n + CHUNK <= len(out):
        begin = (start + at) % columns
        end = min(begin + CHUNK, columns)
        m = n
        for c in range(begin, end):
            out[m] = c
            m += worst <= sign * table[order[0], c]
        for limit in order:
            left, value = n, sign * what[0, limit]
            for i in range(n, m):
                c = out[i]
                if len(what) > 1:
                    value = sign * what[nodes.kinds[c], limit]
                out[left] = c
                left += value <= sign * table[limit, c]
            m = left
            if m == n:
                break
        n = m
        at += end - begin
    return n


@kernel
def joined(nodes: Nodes, y: int, z: int) -> bool:
    """Whether a node has room for what another gives."""
    given, room, kind = nodes.given, nodes.room, nodes.kinds[z]
    for d in nodes.order:  # noqa: SIM110 - not compiled otherwise
        if given[kind, d, y] > room[d, z]:
            return False
    return True


@kernel
def suited(nodes: Nodes, b: int, width: int, keys: Floats, out: Ints) -> tuple[int, int]:
    """Fill in the GPUs that have most room together with one, by the limit that has least.

    Returns
    -------
    many, enough
        How many, and how many of them, the first, have what both need at the target.
    """
    room, n = nodes.room, 0
    for other in range(room.shape[1] // width):
        if other == b:
            continue
        key = -np.inf
        for d in range(len(room)):
            key = max(key, -room[d, b * width] - room[d, other * width])
            if n == len(out) and key >= keys[n - 1]:
                break
        n = _insert(key, other, keys, out, n)
    enough = 0
    while enough < n and keys[enough] <= 0:
        enough += 1
    return n, enough


@kernel
def smallest(values: Floats, of: Ints, sign: float, keys: Floats, out: Ints) -> int:
    """Fill in those of some nodes with the smallest signed values; return how many."""
    n = 0
    for c in of:
        n = _insert(sign * values[c], c, keys, out, n)
    return n


@kernel
def _insert(key: float, what: int, keys: Floats, out: Ints, n: int) -> int:
    """Insert into a list sorted by keys that keeps what there is room for; return its length."""
    if n == len(out):
        if key >= keys[n - 1]:
            return n
        n -= 1
    at = n
    while at > 0 and keys[at - 1] > key:
        keys[at], out[at] = keys[at - 1], out[at - 1]
        at -= 1
    keys[at], out[at] = key, what
    return n + 1
