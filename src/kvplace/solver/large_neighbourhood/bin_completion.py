"""Refill: other company for a hot model, the kick that decides fleets with heavy-tailed demand.

A model that needs more than half of a GPU at the KVPR reached makes it the hottest; which few
models share that GPU with it decides more than any exchange between two GPUs can put right.
"""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.instance.pressure import fits

__all__ = ["hot_gpu", "refill"]

SETS = 256
"""Sets of company looked at."""
GAIN = 1e-6
"""Relative gain that a refilled GPU must bring."""


def hot_gpu(state: Assignment) -> int:
    """Return the hottest GPU if one of its models needs more than half of it and is not alone.

    Otherwise -1.
    """
    arrays = state.instance
    worst = state.worst()
    g = state.pressure.index(worst)
    held = state.members[g]
    if len(held) < 2 or math.isinf(worst):
        return -1
    needs = (arrays.size[j] + arrays.load[j] / worst for j in held)
    return g if 2 * max(needs) > arrays.memory[g] else -1


def refill(state: Assignment, g: int, turn: int) -> None:
    """Give the hottest model of a GPU other company, below the GPU's present KVPR.

    Parameters
    ----------
    state
        Changed in place.
    g
        The GPU.
    turn
        Which company: 0 for the one that leaves least room unused, and so on; after the last
        the first again.
    """
    arrays = state.instance
    target = state.pressure[g] * (1 - GAIN)
    sizes = np.array(arrays.size, dtype=np.float64) + np.array(arrays.load) / target
    hot = max(state.members[g], key=lambda j: (sizes[j], -j))
    room = arrays.memory[g] - float(sizes[hot])
    others = np.flatnonzero((sizes > 0) & (sizes <= room))
    company: list[tuple[float, list[int]]] = [(0.0, [])]
    if len(others):
        table = Knapsack(sizes[others], sizes[others], room)
        for group in table.above(room * 1e-9, SETS, beam=True):
            filled = sizes[others[group]].sum(axis=1)
            company += zip(filled.tolist(), others[group].tolist(), strict=True)
    company.sort(key=lambda entry: (-entry[0], entry[1]))
    chosen = company[turn % len(company)][1]
    for j in sorted(state.members[g], key=lambda j: (-arrays.load[j], j)):
        if j != hot and j not in chosen:
            _evict(state, g, j)
    for j in chosen:
        h = state.gpu_of[j]
        if h != g:
            state.exchange(h, [j], g, [])


def _evict(state: Assignment, g: int, j: int) -> None:
    """Move a model off a GPU to where it hurts least; it stays where no GPU takes it."""
    arrays = state.instance
    free = np.array(state.free, dtype=np.float64) - arrays.size[j]
    may = fits(free, np.array(state.kept) + arrays.keep[j])
    may[g] = False
    if may.any():
        load = np.array(state.load) + arrays.load[j]
        h = int(np.where(may, load / np.where(may, free, 1.0), math.inf).argmin())
        state.exchange(g, [j], h, [])
