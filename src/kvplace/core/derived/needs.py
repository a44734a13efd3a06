"""What copies and shards take: allowed ways to run a model, and how its demand is divided."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Model, Replicas, Split
from kvplace.core.models.objective import Objective


class ShardNeed(NamedTuple):
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
        Tensor parallel degree.
    load_part
        Part of that load that falls on one rank: the copy's part of the demand times the rank's
        part of the KV cache (`rank_part`).
    """
    return ShardNeed(
        weights_bytes=model.resident_bytes(degree),
        min_kv_bytes=model.least_kv_bytes(degree),
        load=load * load_part,
    )


def rank_part(goal: Objective, model: Model, degree: int) -> float:
    """Return the part of a copy's load that falls on each rank.

    That of its KV cache, or an even part where the load has no KV bytes in it.
    """
    if goal is Objective.REQUESTS:
        return 1 / degree
    return model.kv_part(degree)


def demand_parts(model: Model, fleet: Fleet, copies: Sequence[Sequence[str]]) -> list[float]:
    """Return the part of the demand that each copy carries; together they are 1.

    Parameters
    ----------
    model
        The model.
    fleet
        What it is placed on.
    copies
        Ids of the GPUs of each copy.
    """
    if len(copies) == 1:
        return [1.0]
    if model.replicas.split is Split.EVEN:
        return [1 / len(copies)] * len(copies)
    found = ([fleet.gpu(gpu) for gpu in gpus] for gpus in copies)
    least = [min((g.usable_bytes for g in gpus if g), default=1) for gpus in found]
    return [memory / sum(least) for memory in least]


@dataclass(frozen=True, slots=True)
class Ways:
    """The pairs of degree and number of copies in which models may run.

    Models that allow the same on equally many GPUs share one list.
    """

    _known: dict[tuple[object, ...], list[tuple[int, int]]] = field(default_factory=dict)

    def of(self, degrees: tuple[int, ...], replicas: Replicas, gpus: int) -> list[tuple[int, int]]:
        """Return the pairs, by degree and then by copies.

        Copies share no GPU, so more shards than there are GPUs are left out.

        Parameters
        ----------
        degrees, replicas
            What the model allows.
        gpus
            GPUs that it may run on.
        """
        key = (degrees, replicas.min, replicas.max, gpus)
        if key not in self._known:
            self._known[key] = [
                (degree, copies)
                for degree in degrees
                for copies in range(replicas.min, min(replicas.max, gpus // degree) + 1)
            ]
        return list(self._known[key])
