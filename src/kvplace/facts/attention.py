"""From a config to a `CacheLayout`: heads, latent vectors and states of every layer."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from kvplace.facts.cache import CacheGroup, CacheLayout, Units
from kvplace.facts.config import Fields, text_fields
from kvplace.facts.layers import layer_kinds, window_tokens
from kvplace.facts.states import STATES

__all__ = ["cache_layout"]

_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads",
    "num_attention_groups",  # Step
)  # fmt: skip
_INDEXER_BYTES_PER_SCALE = 4
_INDEXER_BLOCK = 128


def cache_layout(
    config: Mapping[str, Any],
    source: str,
    kv_bytes: float,
    state_bytes: tuple[int, int],
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

    Returns
    -------
    CacheLayout
        Layers that cache alike are one group.

    Raises
    ------
    InputError
        Fields are missing, contradict each other or are not understood: all of them at once.
    """
    fields = text_fields(config, source)
    kinds = layer_kinds(fields)
    fields.check(source)
    attending = _heads_per_layer(fields, kinds)
    groups: list[CacheGroup] = []
    for (kind, heads), layers in Counter(zip(kinds, attending, strict=True)).items():
        for part in kind.split("+"):
            if part in ("full", "window"):
                groups.extend(_attention(fields, part, heads, layers, kv_bytes))
            elif part in STATES:
                groups.append(
                    CacheGroup("state", layers, tuple(STATES[part](fields, *state_bytes)))
                )
    fields.check(source)
    return CacheLayout(tuple(groups))


def _attention(
    fields: Fields, kind: str, heads: int, layers: int, kv_bytes: float
) -> list[CacheGroup]:
    """Return what attention layers keep: heads, or a latent vector and an indexer's keys."""
    rank = fields.whole("kv_lora_rank")
    if rank:
        # DeepSeek-V2, section 2.1: one compressed vector and one rotary key per token, in place
        # of keys and values per head.
        size = round((rank + fields.need("qk_rope_head_dim")) * kv_bytes)
        groups = [CacheGroup("latent", layers, (Units(1, size, "latent vector"),))]
        index = fields.whole("index_head_dim")
        if index:
            # DeepSeek-V3.2's sparse attention keeps one FP8 key per token and layer, with a
            # 4-byte scale per 128 elements, whatever the type of the main cache.
            size = index + -(-index // _INDEXER_BLOCK) * _INDEXER_BYTES_PER_SCALE
            groups.append(CacheGroup("indexer", layers, (Units(1, size, "indexer key"),)))
        return groups
    key = _head_dim(fields)
    value = fields.whole("v_head_dim", default=key) or key
    if kind == "full" and fields.get("global_head_dim"):  # Gemma 4
        key = value = fields.need("global_head_dim")
    unit = Units(heads, round((key + value) * kv_bytes), "KV heads")
    if kind == "window":
        return [CacheGroup("window", layers, (unit,), window_tokens(fields))]
    return [CacheGroup("full", layers, (unit,))]


def _head_dim(fields: Fields) -> int:
    """Return the width of a head: given, or the hidden size over the number of heads."""
    given = fields.whole("head_dim", "attention_head_dim", "kv_channels", "d_head")
    if given:
        return given
    hidden, heads = fields.need("hidden_size", "n_embd", "d_model"), fields.need(*_HEADS)
    if heads and hidden % heads:
        fields.fault("hidden_size", f"{hidden} is no multiple of the {heads} attention heads")
    return hidden // (heads or 1)


def _heads_per_layer(fields: Fields, kinds: list[str]) -> list[int]:
    """Return the KV heads of each layer; 0 where it has no attention of its own."""
    blocks = fields.sequence("block_configs")
    each = fields.get("num_key_value_heads_per_layer", "num_kv_heads_per_layer")
    if blocks:
        counts = [_heads_of_block(fields, block) for block in blocks]
    elif each is not None:
        name = "num_key_value_heads_per_layer"
        name = name if fields.values.get(name) is not None else "num_kv_heads_per_layer"
        counts = list(fields.integers(name) or ())
    else:
        whole = 1 if fields.get("kv_lora_rank") else _kv_heads(fields)
        beyond = fields.whole("num_global_key_value_heads", default=whole) or whole
        counts = [beyond if kind == "full" else whole for kind in kinds]
    if len(counts) != len(kinds):
        fields.fault("num_key_value_heads", f"{len(counts)} are given for {len(kinds)} layers")
        counts = [1] * len(kinds)
    return [
        count if {"full", "window"} & set(kind.split("+")) else 0
        for kind, count in zip(kinds, counts, strict=True)
    ]


def _heads_of_block(fields: Fields, block: object) -> int:
    """Return the KV heads of a searched block: given, or query heads over the group's size."""
    attention = block.get("attention") if isinstance(block, dict) else None
    if not isinstance(attention, dict):
        fields.fault("block_configs", "each must be a mapping with a mapping 'attention'")
        return 0
    if isinstance(attention.get("num_key_value_heads"), int):
        return int(attention["num_key_value_heads"])
    group = attention.get("n_heads_in_group")
    return fields.need(*_HEADS) // group if isinstance(group, int) and group > 0 else 0


def _kv_heads(fields: Fields) -> int:
    """Return the KV heads of a layer, by the field of the model's family."""
    inner = fields.mapping("attn_config")  # MPT, DBRX
    if isinstance(inner.get("kv_n_heads"), int):
        return int(inner["kv_n_heads"])
    if fields.get("multi_query_attention"):  # ChatGLM
        return fields.need("multi_query_group_num")
    grouped = fields.get("new_decoder_architecture")  # Falcon: multi-query unless it is set
    if fields.get("multi_query") and not grouped:
        return 1
    given = fields.whole(*_KV_HEADS)
    # Without such a field the transformers library gives every query head its own KV head.
    return given if given is not None else fields.need(*_HEADS)
