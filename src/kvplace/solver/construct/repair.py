"""Repair: bring an assignment that exceeds the memory of some GPUs back within it."""

import math
from collections.abc import Sequence

from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.pressure import fits

__all__ = ["make_room"]


def make_room(arrays: Instance, gpu_of: Sequence[int]) -> list[int] | None:
    """Move models off GPUs that hold too much, as few as that takes.

    Parameters
    ----------
    arrays
        The problem.
    gpu_of
        (n,) GPU per model.

    Returns
    -------
    list of int or None
        GPU per model; None where a model that had to go finds no other GPU.
    """
    found = list(gpu_of)
    free, kept, load = list(arrays.memory), [0] * arrays.g, [0.0] * arrays.g
    members: list[list[int]] = [[] for _ in arrays.memory]

    def put(j: int, g: int, times: int) -> None:
        free[g] -= times * arrays.size[j]
        kept[g] += times * arrays.keep[j]
        load[g] += times * arrays.load[j]

    for j, g in enumerate(gpu_of):
        put(j, g, 1)
        members[g].append(j)
    homeless: list[int] = []
    for g, held in enumerate(members):
        while held and not fits(free[g], kept[g]):
            j = _leaver(arrays, held, max(1, kept[g]) - free[g])
            held.remove(j)
            put(j, g, -1)
            homeless.append(j)
    for j in sorted(homeless, key=lambda j: (-_room(arrays, j), j)):
        fitting = (
            (((load[g] + arrays.load[j]) / (free[g] - arrays.size[j])), g)
            for g in range(arrays.g)
            if fits(free[g] - arrays.size[j], kept[g] + arrays.keep[j])
        )
        _, g = min(fitting, default=(math.inf, -1))
        if g < 0:
            return None
        put(j, g, 1)
        found[j] = g
    return found


def _leaver(arrays: Instance, held: Sequence[int], lacking: int) -> int:
    """Return the smallest model without which all others fit, or else the largest."""
    enough = [j for j in held if _room(arrays, j) >= lacking]
    return min(enough or held, key=lambda j: (_room(arrays, j) * (1 if enough else -1), j))


def _room(arrays: Instance, j: int) -> int:
    """Return what a model takes at least: bytes resident and of KV."""
    return arrays.size[j] + arrays.keep[j]
