"""How many GPUs a copy of a model needs at least."""

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.cache import CacheLayout
from kvplace.facts.memory.loaded import loaded_weights
from kvplace.facts.memory.overhead import engine_limits, overhead, overhead_of_unknown
from kvplace.facts.model_facts import ModelFacts
from kvplace.units import format_bytes

DEGREES = (1, 2, 4, 8, 16, 32)
"""Tensor parallel degrees in use."""
_ROOM = 0.1
"""Share of the largest GPU that a shard should leave for KV cache when the degree is chosen."""


def smallest_degree(facts: ModelFacts, memory_bytes: int, gpus: int) -> Fact[int]:
    """Return the smallest tensor parallel degree at which a model fits.

    Parameters
    ----------
    facts
        What is known of the model.
    memory_bytes
        Usable memory of the largest GPU that it may run on.
    gpus
        GPUs of the largest node.

    Raises
    ------
    InputError
        It fits no node.
    """
    for degree in (d for d in DEGREES if d <= gpus):
        taken = _shard_bytes(facts, degree)
        if taken <= (1 - _ROOM) * memory_bytes and _splits(facts.layout, degree):
            reason = f"smallest degree that leaves {100 * _ROOM:.0f} % of a GPU for KV cache"
            return Fact(degree, reason if degree > 1 else "fits one GPU")
    most = max(d for d in DEGREES if d <= gpus)
    part = format_bytes(_shard_bytes(facts, most))
    split = f"split over {most} GPUs, a shard takes {part}" if most > 1 else f"it takes {part}"
    raise InputError(
        f"{format_bytes(facts.weights_bytes.value)} of weights fit no node: {split} with what "
        f"the engine needs besides, and a tenth of the GPU's {format_bytes(memory_bytes)} is "
        "for KV cache",
        facts.name,
    )


def _shard_bytes(facts: ModelFacts, degree: int) -> int:
    """Return what one rank takes besides KV cache, at the limits of engines that share GPUs."""
    loaded = loaded_weights(facts.weights_bytes.value, facts.shape, degree).total_bytes
    if facts.shape is None:
        return loaded + overhead_of_unknown(loaded)
    return loaded + overhead(facts.shape, degree, engine_limits([])).total


def _splits(layout: CacheLayout, degree: int) -> bool:
    try:
        layout.bytes_per_token(degree)
    except InputError:
        return False
    return True
