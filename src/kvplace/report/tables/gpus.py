"""Rows of the GPU table: GPUs that are alike share one row, the most loaded first."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation
from kvplace.core.hardware import Fleet, Node
from kvplace.report.text import names_text, places_text


class GPURow(NamedTuple):
    """GPUs of one type that hold shards of the same models under the same pressure.

    Parameters
    ----------
    gpu
        The first of them.
    ids
        All of them, in the fleet's order.
    """

    gpu: GPUEvaluation
    ids: tuple[str, ...]


def gpu_rows(
    evaluation: Evaluation, fleet: Fleet, most: int | None
) -> tuple[list[GPURow], list[str], int]:
    """Group the GPUs of a fleet, the most loaded first.

    Parameters
    ----------
    evaluation
        What the placement is worth.
    fleet
        Where it is.
    most
        Rows wanted; None for all. GPUs beyond them are counted and not looked at, so that a
        large fleet costs little.

    Returns
    -------
    tuple
        The rows, the ids of idle GPUs, and the number of busy GPUs left out.
    """
    pressures, gpus = evaluation.pressures, evaluation.gpus
    groups: dict[object, tuple[GPUEvaluation, list[str]]] = {}
    shown, busy = 0, set(evaluation.sums.busy)
    idle = [gpu.id for at, gpu in enumerate(fleet.gpus) if at not in busy]
    for at in sorted(evaluation.sums.busy, key=lambda at: -pressures[at]):
        gpu = gpus[at]
        models = tuple(sorted(shard.model for shard in gpu.shards))
        key = (gpu.type, gpu.memory_bytes, gpu.weights_bytes, f"{gpu.pressure:.4g}", models)
        if key not in groups:
            if most is not None and len(groups) == most:
                break
            groups[key] = (gpu, [])
        groups[key][1].append(gpu.id)
        shown += 1
    rows = [GPURow(gpu, tuple(ids)) for gpu, ids in groups.values()]
    return rows, idle, evaluation.busy - shown


def idle_text(idle: Sequence[str], nodes: Iterable[Node]) -> str:
    """Return how many GPUs are idle and where, whole nodes by name; not yet cleaned for display."""
    left = set(idle)
    whole = [node for node in nodes if node.gpus and all(gpu.id in left for gpu in node.gpus)]
    left.difference_update(gpu.id for node in whole for gpu in node.gpus)
    places = places_text(id_ for id_ in idle if id_ in left)
    if whole:
        places.append(f"all of {names_text(node.name for node in whole)}")
    return f"{len(idle):,} idle {'GPU' if len(idle) == 1 else 'GPUs'}: {', '.join(places)}"


def histogram(kvprs: Sequence[float], top: float, bins: int) -> list[int]:
    """Count the GPUs in `bins` equal steps from 0 to `top`; what is above counts in the last."""
    counts = [0] * bins
    for kvpr in kvprs:
        at = int(kvpr / top * bins) if top > 0 and kvpr < top else bins - 1 if top > 0 else 0
        counts[at] += 1
    return counts
