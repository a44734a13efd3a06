"""Compressed attention (DeepSeek-V4): a window of tokens, and one entry for several tokens beyond.

Every layer keeps the last `sliding_window` tokens, key and value being one vector. A layer with a
ratio r keeps one such vector per r tokens besides; one with the ratio 4 also keeps a key of its
indexer per 4 tokens. What has not filled r tokens yet is a state: keys and scores in float32,
twice as many and twice as wide where neighbours overlap, which they do at the ratio 4. Sources: the
class ``DeepseekV4Config`` of transformers, and the compressor of the published reference code.
"""

from collections import Counter

from kvplace.facts.cache import CacheGroup, Units
from kvplace.facts.config.fields import Fields

MODEL_TYPES = ("deepseek_v4",)
"""Model types whose layers cache so."""
_FLOAT32, _PLANES = 4, 2
_OVERLAPPING = 4
_READ = (
    "sliding_window", "compress_ratios", "head_dim", "index_head_dim", "num_key_value_heads",
    "qk_rope_head_dim", "num_hidden_layers", "compress_rope_theta",
)  # fmt: skip


def compressed_groups(fields: Fields, kv_bytes: float) -> list[CacheGroup]:
    """Return what the layers keep, whole on every rank; faults are noted in `fields`."""
    layers = fields.need("num_hidden_layers")
    width, window = fields.need("head_dim"), fields.need("sliding_window")
    indexed = fields.need("index_head_dim")
    ratios = fields.integers("compress_ratios")
    fields.used.update(_READ)
    if fields.whole("num_key_value_heads", default=1) != 1:
        fields.fault("num_key_value_heads", "it must be 1 where keys and values are one vector")
    if kv_bytes < 2:
        fields.fault(
            "model_type",
            "engines lay out an 8-bit cache of it in their own ways; take the figure in 16 bits, "
            "an upper bound, with --kv-dtype bf16",
        )
    if ratios is None or len(ratios) < layers or any(ratio < 0 for ratio in ratios):
        fields.fault("compress_ratios", f"it must name a ratio for each of {layers} layers")
        return []
    vector, key = round(width * kv_bytes), round(indexed * kv_bytes)
    shared = Units(1, vector, "shared key and value")
    groups = [CacheGroup("window", layers, (shared,), window)]
    # More ratios than layers belong to the heads that predict further tokens.
    for ratio, count in sorted(Counter(ratios[:layers]).items()):
        if ratio == 0:
            continue
        entry = Units(1, -(-vector // ratio), f"entry of {ratio} tokens")
        groups.append(CacheGroup("latent", count, (entry,)))
        state = _state_bytes(ratio, width)
        if ratio == _OVERLAPPING:
            indexer = Units(1, -(-key // ratio), "indexer key")
            groups.append(CacheGroup("indexer", count, (indexer,)))
            state += _state_bytes(ratio, indexed)
        groups.append(CacheGroup("state", count, (Units(1, state, "open entry"),)))
    return groups


def _state_bytes(ratio: int, width: int) -> int:
    """Return the bytes of keys and scores of tokens that have not filled an entry yet."""
    times = 2 if ratio == _OVERLAPPING else 1
    return _PLANES * (times * ratio) * (times * width) * _FLOAT32
