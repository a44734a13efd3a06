"""Which layer caches how: one kind per layer, from whatever field a config says it with.

Kinds: ``full`` and ``window`` attention, a recurrent state (``delta``, ``kda``, ``mamba``,
``lightning``, ``conv``), ``shared`` (reads another layer's cache), ``none``.
"""

from collections.abc import Callable, Sequence

from kvplace.facts.config import Fields

__all__ = ["layer_kinds", "window_tokens"]

_NAMED = {
    # Names in `layer_types`, `layers_block_type` and the letters of `hybrid_override_pattern`.
    "full_attention": "full",
    "attention": "full",
    "*": "full",
    "sliding_attention": "window",
    "chunked_attention": "window",
    "linear_attention": "delta",
    "mamba": "mamba",
    "mamba2": "mamba",
    "M": "mamba",
    "conv": "conv",
    "mlp": "none",
    "moe": "none",
    "-": "none",
    "E": "none",
}

_ALL_LAYERS_SLIDE = {"mistral", "mixtral", "phi3", "phimoe", "starcoder2", "ministral"}
"""Model types whose ``sliding_window``, where it is not null, holds for every layer."""

_TELLING = (
    "mamba", "ssm", "linear_", "rwkv", "sliding", "window", "hybrid", "layer_pattern",
    "attn_type", "recurrent", "cla_", "use_cla", "chunk_size", "attn_layer", "block_configs",
    "layer_types", "layers_block_type", "kv_shared", "share_kv", "compress", "full_attn",
    "cross_attention_layers", "block_types",
)  # fmt: skip
"""Parts of field names that say: not every layer caches alike."""

_HARMLESS = {
    "chunk_size_feed_forward",
    "max_window_layers",
    "mamba_chunk_size",
    "use_mamba_kernels",
    "use_sliding_window",
    "num_kv_shared_layers",
    "use_cla",
    "cla_share_factor",
}
"""Fields with such a name that change nothing, or whose meaning `_with_sharing` knows."""


def layer_kinds(fields: Fields) -> list[str]:
    """Return the kind of each layer, first to last.

    A config that hints at special layers in a way that is not understood is a fault, never
    taken for plain attention.
    """
    layers = fields.layers
    for rule in _RULES:
        kinds = rule(fields, layers)
        if kinds is not None:
            break
    else:
        kinds = ["full"] * layers
        _refuse_unknown_hints(fields)
    if len(kinds) != layers:
        fields.fault("num_hidden_layers", f"it says {layers}, but {len(kinds)} layers are listed")
    return _with_sharing(fields, kinds)


def window_tokens(fields: Fields) -> int:
    """Return the tokens that a ``window`` layer keeps."""
    if fields.get("attention_chunk_size"):
        return fields.need("attention_chunk_size")
    return fields.need("sliding_window", "sliding_window_size")


def _named(fields: Fields, name: str, words: Sequence[object]) -> list[str]:
    """Translate layer names; an unknown one is a fault."""
    unknown = sorted({str(word) for word in words} - _NAMED.keys())
    if unknown:
        known = ", ".join(sorted(_NAMED))
        fields.fault(name, f"unknown layer types {', '.join(unknown)}; known are {known}")
    return [_NAMED.get(str(word), "none") for word in words]


def _listed(fields: Fields, _layers: int) -> list[str] | None:
    """``layer_types`` (transformers), ``layers_block_type`` (Nemotron 3.5)."""
    for name in ("layer_types", "layers_block_type"):
        words = fields.sequence(name)
        if words:
            kinds = _named(fields, name, words)
            if "linear_attention" in words and fields.model_type.startswith("minimax"):
                return ["lightning" if kind == "delta" else kind for kind in kinds]
            return kinds
    return None


def _pattern_of_letters(fields: Fields, _layers: int) -> list[str] | None:
    """``hybrid_override_pattern`` of Nemotron-H, one letter per layer, as a text or a list."""
    pattern = fields.get("hybrid_override_pattern")
    if pattern is None:
        return None
    letters = pattern if isinstance(pattern, list) else str(pattern)
    return _named(fields, "hybrid_override_pattern", letters)


def _blocks(fields: Fields, _layers: int) -> list[str] | None:
    """``block_configs`` of searched architectures (Nemotron Super): some blocks do nothing."""
    blocks = fields.sequence("block_configs")
    if not blocks:
        return None
    kinds = []
    for index, block in enumerate(blocks):
        attention = block.get("attention") if isinstance(block, dict) else None
        if not isinstance(attention, dict):
            fields.fault(f"block_configs[{index}].attention", "it must be a mapping")
            kinds.append("none")
        else:
            nothing = attention.get("no_op") or attention.get("replace_with_linear")
            kinds.append("none" if nothing else "full")
    return kinds


def _periodic(fields: Fields, layers: int) -> list[str] | None:
    """Jamba: attention once in ``attn_layer_period``, Mamba elsewhere; others list indices."""
    for name, other in (("attn_layer_indices", "mamba"), ("full_attn_idxs", "conv")):
        if fields.get(name) is not None:  # Bamba, LFM2
            attending = set(fields.integers(name) or ())
            return ["full" if i in attending else other for i in range(layers)]
    period = fields.whole("attn_layer_period")
    if not period:
        return None
    offset = fields.need("attn_layer_offset")
    return ["full" if i % period == offset else "mamba" for i in range(layers)]


def _kimi_linear(fields: Fields, layers: int) -> list[str] | None:
    """``linear_attn_config`` of Kimi Linear; its layer numbers start at 1."""
    linear = fields.mapping("linear_attn_config")
    if not linear:
        return None
    listed = linear.get("kda_layers")
    if not isinstance(listed, list) or not all(isinstance(n, int) for n in listed):
        fields.fault("linear_attn_config.kda_layers", "it must be a list of whole numbers")
        listed = []
    delta = set(listed)
    return ["kda" if i + 1 in delta else "full" for i in range(layers)]


def _typed_by_number(fields: Fields, _layers: int) -> list[str] | None:
    """``attn_type_list`` of MiniMax: 1 is softmax attention, 0 lightning attention."""
    numbers = fields.integers("attn_type_list")
    return ["full" if n else "lightning" for n in numbers] if numbers else None


def _every_nth_full(fields: Fields, layers: int) -> list[str] | None:
    """One full layer in n, by interval or by the known habit of the model type."""
    interval = fields.whole("full_attention_interval")
    if interval:  # Qwen3-Next, Qwen3.5
        return ["full" if (i + 1) % interval == 0 else "delta" for i in range(layers)]
    if fields.get("attention_chunk_size"):  # Llama 4: layers without rotary positions see all
        plain = fields.integers("no_rope_layers")
        if plain:  # 1 marks a layer with rotary positions, which attends within its chunk
            return ["window" if rotary else "full" for rotary in plain]
        every = fields.whole("no_rope_layer_interval", default=4)
        return ["full" if (i + 1) % (every or 4) == 0 else "window" for i in range(layers)]
    habit = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}.get(fields.model_type)
    stated = fields.get("sliding_window_pattern", "layer_switch")
    if isinstance(stated, str):  # EXAONE 4: such as LLLG
        return ["window" if stated[i % len(stated)] == "L" else "full" for i in range(layers)]
    every = stated if isinstance(stated, int) else habit
    if not every:
        return None
    return ["full" if (i + 1) % every == 0 else "window" for i in range(layers)]


def _all_sliding(fields: Fields, layers: int) -> list[str] | None:
    """Mistral: a window holds for every layer; Qwen: from ``max_window_layers`` up."""
    use = fields.get("use_sliding_window")
    if use is not None:
        if not use:
            fields.used.update(("sliding_window", "max_window_layers"))
            return ["full"] * layers
        first = fields.need("max_window_layers")
        return ["full" if i < first else "window" for i in range(layers)]
    if fields.model_type in _ALL_LAYERS_SLIDE and fields.get("sliding_window"):
        return ["window"] * layers
    return None


def _all_parallel(fields: Fields, layers: int) -> list[str] | None:
    """Falcon-H1: attention and Mamba side by side in every layer."""
    return ["full+mamba"] * layers if fields.model_type == "falcon_h1" else None


_RULES: tuple[Callable[[Fields, int], list[str] | None], ...] = (
    _listed,
    _pattern_of_letters,
    _blocks,
    _all_parallel,
    _periodic,
    _kimi_linear,
    _typed_by_number,
    _every_nth_full,
    _all_sliding,
)


def _refuse_unknown_hints(fields: Fields) -> None:
    """Record a fault for each field that hints at special layers and was not understood."""
    for name, value in fields.values.items():
        if not value or name in fields.used or name in _HARMLESS:
            continue
        if any(part in name for part in _TELLING):
            kind = fields.model_type or "without a model_type"
            fields.fault(
                name,
                f"it says that layers cache differently, and for the model type {kind!r} it is "
                "not known how; give the figures in the fleet file yourself",
            )


def _with_sharing(fields: Fields, kinds: list[str]) -> list[str]:
    """Mark layers that read another layer's cache instead of keeping their own."""
    last = fields.whole("num_kv_shared_layers", default=0) or 0  # Gemma 3n, Gemma 4
    if last:
        kept = len(kinds) - last
        kinds = [kind if i < kept else "shared" for i, kind in enumerate(kinds)]
    factor = fields.whole("cla_share_factor", default=1) or 1  # Hunyuan: one in `factor` keeps
    if fields.get("use_cla") and factor > 1:
        kinds = [kind if i % factor == 0 else "shared" for i, kind in enumerate(kinds)]
    return kinds
