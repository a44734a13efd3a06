"""A row of the catalogue as facts of a model: weights, cache and shape, each with its source."""

from dataclasses import replace

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.cache import CacheGroup, CacheLayout, Units
from kvplace.facts.catalogue.models import KnownModel
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.facts.model_facts import ModelFacts

_STATE_PARTS = 16
"""Parts that ranks share of a state: heads of gated delta and Mamba layers are multiples of 16."""


def facts_of(row: KnownModel, kv_dtype: str = "auto") -> ModelFacts:
    """Return a row as facts; its cache is in 16 bits unless 8 are asked for.

    Raises
    ------
    InputError
        The state per sequence is not known, or the KV type is neither 8 nor 16 bits.
    """
    if row.kv_bytes_per_sequence is None:
        raise InputError(
            "the catalogue does not know the state that each sequence of it takes; read its "
            "checkpoint with --facts hub, or give a directory",
            row.name,
        )
    scale = {"auto": 2, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2, "fp8": 1}
    if kv_dtype not in scale:
        raise InputError(f"the catalogue knows 16-bit and fp8 caches, not {kv_dtype!r}", row.name)
    whole = row.kv_bytes_per_token * scale[kv_dtype] // 2
    beyond = (row.kv_bytes_per_token_beyond_window or 0) * scale[kv_dtype] // 2
    latent = row.kv_units == 1 and row.attention == "mla"
    groups = []
    if latent:
        groups.append(CacheGroup("latent", 1, _units(row, whole, "latent vector")))
    elif row.window_tokens is None:
        groups.append(CacheGroup("full", 1, _units(row, whole, "KV heads")))
    else:
        window = _units(row, whole - beyond, "KV heads")
        groups.append(CacheGroup("full", 1, _units(row, beyond, "KV heads")))
        groups.append(CacheGroup("window", 1, window, row.window_tokens))
    shape = known_shape(row.name, row.weights_bytes)
    if row.kv_bytes_per_sequence:
        groups = [_in_layers(groups[0], shape.attending_layers if shape else 1)]
        parts = _STATE_PARTS if row.kv_bytes_per_sequence % _STATE_PARTS == 0 else 1
        state = (Units(parts, row.kv_bytes_per_sequence // parts, "parts of a state"),)
        groups.append(_in_layers(CacheGroup("state", 1, state), shape.state_layers if shape else 1))
    origin = f"catalogue: {row.source}" + (f" ({row.note})" if row.note else "")
    cache = f"{8 * scale[kv_dtype]}-bit KV cache"
    return ModelFacts(
        row.name,
        Fact(row.weights_bytes, f"{origin}, {row.weight_dtype}"),
        CacheLayout(tuple(groups)),
        f"{origin}, {cache}",
        row.context_tokens,
        shape,
    )


def _units(row: KnownModel, size: int, kind: str) -> tuple[Units, ...]:
    return (Units(row.kv_units, size // row.kv_units, kind),)


def _in_layers(group: CacheGroup, layers: int) -> CacheGroup:
    """Return a group of one layer as so many, where its bytes divide evenly."""
    (unit,) = group.units
    if layers < 1 or unit.size_bytes % layers:
        return group
    return replace(
        group, layers=layers, units=(replace(unit, size_bytes=unit.size_bytes // layers),)
    )
