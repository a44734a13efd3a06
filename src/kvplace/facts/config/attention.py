"""From a config to a `CacheLayout`: heads, latent vectors and states of every layer."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kvplace.facts.cache import CacheGroup, CacheLayout, Units
from kvplace.facts.config.compressed import MODEL_TYPES, compressed_groups
from kvplace.facts.config.encoder import encoder_only
from kvplace.facts.config.fields import Fields, text_fields
from kvplace.facts.config.heads import QUERY_HEADS, head_widths, kv_heads, listed_heads
from kvplace.facts.config.indexer import index_keys, indexing_layers
from kvplace.facts.config.layers import ATTENDING, layer_kinds, per_layer, window_tokens
from kvplace.facts.config.states import STATES
from kvplace.facts.config.unread import refuse_unread

ENGINES = ("vllm", "sglang", "trtllm")
"""Engines whose layout of the cache is known; they differ for FP8 latent vectors."""

_SCALED_LATENT = ("vllm", "sglang")
"""Engines that keep an FP8 latent vector of sparse attention with a scale per 128 elements and
the rotary part in 16 bits: 656 bytes for DeepSeek-V3.2 (vLLM's ``fp8_ds_mla``)."""

_BYTES_PER_SCALE, _SCALED = 4, 128

_EXPANDED = {"minicpm3"}
"""Model types with a latent vector that vLLM expands to heads before it caches them."""


def cache_layout(
    config: Mapping[str, Any],
    source: str,
    kv_bytes: float,
    state_bytes: tuple[int, int],
    engine: str = "vllm",
) -> CacheLayout:
    """Work out what a model caches.

    Parameters
    ----------
    config
        The parsed ``config.json``.
    source
        Its name, for messages.
    kv_bytes
        Bytes of one cached key or value element.
    state_bytes
        Bytes of one element of a convolution state and of a recurrent state.
    engine
        One of `ENGINES`: whose layout of the cache it is.

    Returns
    -------
    CacheLayout
        Layers that cache alike are one group; no groups for an encoder.

    Raises
    ------
    InputError
        Fields are missing, contradict each other or are not understood: all of them at once.
    """
    fields = text_fields(config, source)
    if encoder_only(fields):
        return CacheLayout(())
    if fields.model_type in MODEL_TYPES:
        compressed = compressed_groups(fields, kv_bytes)
        fields.used.update(QUERY_HEADS)
        refuse_unread(fields, ["full"], stated=False)
        fields.check(source)
        return CacheLayout(tuple(compressed))
    kinds, stated = layer_kinds(fields)
    own = per_layer(fields, len(kinds))
    heads = listed_heads(fields, len(kinds)) or [-1] * len(kinds)
    indexes = indexing_layers(fields, kinds)
    fields.check(source)
    groups: list[CacheGroup] = []
    alike = Counter(zip(kinds, heads, map(json.dumps, own), strict=True))
    for (kind, listed, stated_here), layers in alike.items():
        at = fields.at(json.loads(stated_here))
        for part in kind.split("+"):
            if part in ATTENDING:
                groups.append(_attention(at, part, listed, layers, kv_bytes, engine))
            elif part in STATES:
                groups.append(CacheGroup("state", layers, tuple(STATES[part](at, *state_bytes))))
    if any(indexes):
        groups.append(index_keys(fields, sum(indexes), kv_bytes))
    fields.used.update(QUERY_HEADS)
    refuse_unread(fields, kinds, stated=stated)
    fields.check(source)
    return CacheLayout(tuple(group for group in groups if group.units))


def _attention(
    fields: Fields, kind: str, listed: int, layers: int, kv_bytes: float, engine: str
) -> CacheGroup:
    """Return what attention layers keep: heads, or a latent vector."""
    rank = fields.whole("kv_lora_rank")
    if rank and fields.model_type in _EXPANDED:
        fields.fault("kv_lora_rank", "engines differ in whether they cache it or whole heads")
    if rank:
        # As many heads as queries are written beside a latent vector; they are not cached.
        fields.used.update(("num_key_value_heads", "head_dim", "v_head_dim", "global_head_dim"))
        size = _latent_bytes(fields, rank, kv_bytes, engine)
        return CacheGroup("latent", layers, (Units(1, size, "latent vector"),))
    key, value = head_widths(fields, "full" if kind == "full" else "window")
    heads = listed if listed >= 0 else kv_heads(fields, "full" if kind == "full" else "window")
    if not heads:
        return CacheGroup("full", layers, ())
    unit = Units(heads, round((key + value) * kv_bytes), "KV heads")
    if kind == "full":
        return CacheGroup("full", layers, (unit,))
    return CacheGroup("window", layers, (unit,), window_tokens(fields, kind))


def _latent_bytes(fields: Fields, rank: int, kv_bytes: float, engine: str) -> int:
    """Return the bytes of one latent vector.

    DeepSeek-V2, section 2.1: one compressed vector and one rotary key per token, in place of
    keys and values per head.
    """
    rotary = fields.whole("qk_rope_head_dim")
    if rotary is None:
        rotary = fields.need("qk_rope_head_dim")
    if kv_bytes == 1 and engine in _SCALED_LATENT and fields.whole("index_head_dim"):
        return rank + -(-rank // _SCALED) * _BYTES_PER_SCALE + 2 * rotary
    return round((rank + rotary) * kv_bytes)
