"""What one shard takes from its GPU, given how its model is split."""

from dataclasses import dataclass

from kvplace.core.model import Model

__all__ = ["ShardNeed", "shard_need"]


@dataclass(frozen=True, slots=True)
class ShardNeed:
    """What one shard takes from its GPU.

    Parameters
    ----------
    weights_bytes
        Resident memory: its part of the weights and the overhead of its engine process.
    min_kv_bytes
        KV memory that must be left for it.
    load
        Its part of the demand, in the objective's unit.
    """

    weights_bytes: int
    min_kv_bytes: int
    load: float


def shard_need(model: Model, load: float, degree: int, load_part: float) -> ShardNeed:
    """Return what a shard takes.

    Parameters
    ----------
    model
        The model.
    load
        Load of all its demand on one undivided copy.
    degree
        Tensor parallel degree: weights are divided by it, the overhead is not.
    load_part
        Part of that load that falls on one rank: the copy's part of the demand times the rank's
        part of the KV cache (`Problem.rank_part`).
    """
    part = -(-model.weights_bytes // degree)  # rounded up: no byte is lost
    return ShardNeed(
        weights_bytes=part + model.overhead_bytes,
        min_kv_bytes=model.min_kv_bytes,
        load=load * load_part,
    )
