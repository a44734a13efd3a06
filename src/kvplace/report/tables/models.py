"""Rows of the model table: what was decided for each model."""

import math
from typing import NamedTuple

from kvplace.core.evaluation.evaluate import part_of
from kvplace.core.result import Result


class ModelRow(NamedTuple):
    """The decision for one model.

    Parameters
    ----------
    model
        Its name.
    replicas, degree
        Number of copies, and tensor parallel degree of each.
    pressure
        Of the most loaded GPU that holds a part of it.
    share
        The part of what presses most on that GPU that is its own, from 0 to 1.
    gpus
        GPUs of each copy, in rank order.
    """

    model: str
    replicas: int
    degree: int
    pressure: float
    share: float
    gpus: tuple[tuple[str, ...], ...]


def model_rows(result: Result, most: int | None = None) -> list[ModelRow]:
    """Return one row per placed model, the one on the most loaded GPU first.

    Parameters
    ----------
    result
        A result with a placement.
    most
        Rows wanted; None for all. GPUs that are less loaded than theirs are not looked at.
    """
    evaluation, placement = result.evaluation, result.placement
    assert evaluation is not None
    assert placement is not None
    pressures, worst = evaluation.pressures, dict[str, tuple[float, float]]()
    before = math.inf
    for at in sorted(evaluation.sums.busy, key=lambda at: -pressures[at]):
        if most is not None and len(worst) >= most and pressures[at] < before:
            break
        before, gpu = pressures[at], evaluation.gpus[at]
        for shard in gpu.shards:
            here = (gpu.pressure, part_of(shard, gpu))
            if here > worst.get(shard.model, (-1.0, 0.0)):
                worst[shard.model] = here
    order = sorted(worst, key=lambda name: (-worst[name][0], -worst[name][1], name))[:most]
    copies: dict[str, list[tuple[str, ...]]] = {name: [] for name in order}
    for replica in placement.of_models(copies):
        copies[replica.model].append(replica.gpus)
    return [
        ModelRow(name, len(gpus), len(gpus[0]), *worst[name], tuple(gpus))
        for name, gpus in copies.items()
    ]
