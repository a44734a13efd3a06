"""Rows of the model table: what was decided for each model."""

from typing import NamedTuple

from kvplace.core.evaluation.evaluate import part_of
from kvplace.core.result import Result

__all__ = ["ModelRow", "model_rows"]


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


def model_rows(result: Result) -> list[ModelRow]:
    """Return one row per placed model, the one on the most loaded GPU first."""
    assert result.evaluation is not None
    assert result.placement is not None
    worst: dict[str, tuple[float, float]] = {}
    for gpu in result.evaluation.occupied:
        for shard in gpu.shards:
            here = (gpu.pressure, part_of(shard, gpu))
            if here > worst.get(shard.model, (-1.0, 0.0)):
                worst[shard.model] = here
    copies: dict[str, list[tuple[str, ...]]] = {}
    for replica in result.placement:
        copies.setdefault(replica.model, []).append(replica.gpus)
    order = sorted(copies, key=lambda name: (-worst[name][0], -worst[name][1], name))
    return [
        ModelRow(
            name,
            len(copies[name]),
            len(copies[name][0]),
            *worst[name],
            tuple(copies[name]),
        )
        for name in order
    ]
