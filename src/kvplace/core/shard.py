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


def shard_need(model: Model, load: float, degree: int, replicas: int) -> ShardNeed:
    """Split a model's weights and load over the shards of its replicas.

    Parameters
    ----------
    model
        The model.
    load
        Load of all its demand.
    degree
        Tensor parallel degree: weights and load are divided by it, the overhead is not.
    replicas
        Copies; each carries an even part of the load.
    """
    part = -(-model.weights_bytes // degree)  # rounded up: no byte is lost
    return ShardNeed(
        weights_bytes=part + model.overhead_bytes,
        min_kv_bytes=model.min_kv_bytes,
        load=load / (degree * replicas),
    )
