"""Indexers of sparse attention: the keys that a layer keeps to choose which tokens it attends to.

DeepSeek-V3.2 and GLM-5 keep one FP8 key per token with a scale; GLM-5.2 lets several layers
share one indexer, and only the layer that owns it keeps keys. MiniMax-M3 keeps one key per token
in the model's type.
"""

from kvplace.facts.cache import CacheGroup, Units
from kvplace.facts.config.fields import Fields

_BYTES_PER_SCALE = 4
_BLOCK = 128


def indexing_layers(fields: Fields, kinds: list[str]) -> list[bool]:
    """Return, for each layer, whether it owns an indexer and so keeps its keys."""
    layers = len(kinds)
    if fields.model_type.startswith("minimax_m3"):
        fields.used.add("index_head_dim")
        return _minimax(fields, layers)
    attends = [bool({"full", "window"} & set(kind.split("+"))) for kind in kinds]
    if not fields.whole("index_head_dim"):
        return [False] * layers
    return [a and own for a, own in zip(attends, _owned(fields, layers), strict=True)]


def index_keys(fields: Fields, layers: int, kv_bytes: float) -> CacheGroup:
    """Return what so many layers with an indexer keep of it, whole on every rank."""
    sparse = fields.mapping("sparse_attention_config")
    if fields.model_type.startswith("minimax_m3"):
        width = fields.whole("index_head_dim") or 0
        stated = sparse.get("sparse_index_dim")
        if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0:
            width = stated
        if not width:
            fields.fault("sparse_attention_config.sparse_index_dim", "the file does not give it")
        size = round(width * max(kv_bytes, 2))
    else:
        width = fields.need("index_head_dim")
        size = width + -(-width // _BLOCK) * _BYTES_PER_SCALE
    return CacheGroup("indexer", layers, (Units(1, size, "indexer key"),))


def _minimax(fields: Fields, layers: int) -> list[bool]:
    """MiniMax-M3: a list of 0 and 1, or layer types (``minimax_m3_sparse``)."""
    listed = fields.sequence("layer_types")
    sparse = fields.mapping("sparse_attention_config")
    if listed and len(listed) == layers:
        return [word == "minimax_m3_sparse" for word in listed]
    if not sparse or not sparse.get("use_sparse_attention", True):
        return [False] * layers
    marks = sparse.get("sparse_attention_freq")
    if not isinstance(marks, list) or len(marks) != layers:
        fields.fault(
            "sparse_attention_config.sparse_attention_freq", f"it must be a list of {layers} marks"
        )
        return [False] * layers
    return [bool(mark) for mark in marks]


def _owned(fields: Fields, layers: int) -> list[bool]:
    """Return which layers own an indexer: by a list, by a rhythm, else all of them."""
    stated = fields.get("indexer_types", "index_topk_pattern")
    if stated is not None:
        words = list(stated) if isinstance(stated, (list, str)) else []
        unknown = {str(word) for word in words} - {"full", "shared", "F", "S"}
        if unknown or len(words) < layers:
            fields.fault("indexer_types", f"it must say full or shared for each of {layers} layers")
            return [True] * layers
        return [word in ("full", "F") for word in words[:layers]]
    every = fields.whole("index_topk_freq", default=1) or 1
    offset = fields.whole("index_skip_topk_offset", default=2) or 0
    return [max(i - offset + 1, 0) % every == 0 for i in range(layers)]
