"""A large fleet cut down to the GPUs that a few moves can concern.

A budget of m moves can relieve at most m GPUs and fill at most m others. So the hottest and the
coolest are looked at, with what is on them; the rest stays as it is and is not loaded.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace

import numpy as np

from kvplace.core.hardware import Fleet, Node
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem

LARGE_GPUS = 4_000
"""GPUs from which on a fleet of undivided models is cut down."""
_MORE_HOT, _MORE_COOL = 64, 256


@dataclass(frozen=True, slots=True)
class Nearby:
    """The part of a fleet that may change.

    Parameters
    ----------
    problem, placement
        The GPUs looked at, with the models on them.
    """

    problem: Problem
    placement: Placement

    def lift(self, whole: Problem, current: Placement, found: Placement) -> Placement:
        """Return the placement of the whole fleet in which this part is as it was found."""
        position = {gpu.id: at for at, gpu in enumerate(whole.fleet.gpus)}
        gpu_of = _gpu_of(whole, current, position)
        for replica in found:
            gpu_of[whole.index_of[replica.model]] = position[replica.gpus[0]]
        ids = [gpu.id for gpu in whole.fleet.gpus]
        return Placement(Assigned(whole.names, ids, array("q", gpu_of.tolist())))


def _gpu_of(
    problem: Problem, placement: Placement, position: dict[str, int]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the position of the GPU of each model."""
    replicas = placement.replicas
    same = isinstance(replicas, Assigned) and (
        replicas.names is problem.names or list(replicas.names) == list(problem.names)
    )
    if isinstance(replicas, Assigned) and same and len(position) == len(replicas.gpu_ids):
        return np.array(replicas.gpu_of, dtype=np.int64)
    found = np.empty(len(problem.names), dtype=np.int64)
    for replica in replicas:
        found[problem.index_of[replica.model]] = position[replica.gpus[0]]
    return found


def cut_down(problem: Problem, current: Placement, moves: float) -> Nearby | None:
    """Return the part of a fleet that some moves can concern; None where that is nearly all of it.

    Parameters
    ----------
    problem
        Undivided models, free to go anywhere.
    current
        A valid placement of all of them.
    moves
        How many are allowed.
    """
    gpus = problem.fleet.gpus
    if (
        not problem.plain
        or problem.goal is Objective.PRESSURE
        or len(gpus) < LARGE_GPUS
        or 3 * moves + 320 > len(gpus) / 2
    ):
        return None
    position = {gpu.id: at for at, gpu in enumerate(gpus)}
    gpu_of = _gpu_of(problem, current, position)
    memory = np.array([gpu.usable_bytes for gpu in gpus], dtype=float)
    weights = np.frombuffer(problem.undivided_bytes, dtype=np.int64)
    loads = np.array(problem.loads, dtype=float)
    free = memory - np.bincount(gpu_of, weights.astype(float), len(gpus))
    load = np.bincount(gpu_of, loads, len(gpus))
    with np.errstate(divide="ignore", invalid="ignore"):
        pressure = np.where(free > 0, load / free, np.inf)
    order = np.argsort(pressure, kind="stable")
    hot = order[-int(moves) - _MORE_HOT :]
    cool = order[: 2 * int(moves) + _MORE_COOL]
    chosen = np.unique(np.concatenate([hot, cool]))
    inside = np.zeros(len(gpus), dtype=bool)
    inside[chosen] = True
    models = np.flatnonzero(inside[gpu_of])
    few: tuple[Model, ...] = tuple(problem.models[int(j)] for j in models)
    devices = tuple(gpus[int(g)] for g in chosen)
    nodes = tuple(Node(f"{at}", (replace(gpu, resources={}),)) for at, gpu in enumerate(devices))
    part = replace(problem, models=few, fleet=Fleet(nodes))
    placement = Placement(
        tuple(
            Replica(model.name, 0, (gpus[int(gpu_of[j])].id,))
            for model, j in zip(few, models, strict=True)
        )
    )
    return Nearby(part, placement)
