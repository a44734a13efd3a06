"""Which layer caches how: one kind per layer, from whatever field a config says it with.

Kinds: ``full``, ``window`` and ``chunk`` attention (the last two keep the last tokens only), a
recurrent state (``delta``, ``kda``, ``mamba``, ``lightning``, ``conv``), ``shared`` (reads
another layer's cache), ``none``. A sum such as ``full+mamba`` is both in one layer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kvplace.facts.config.fields import Fields

ATTENDING = ("full", "window", "chunk")
"""Kinds that keep keys and values."""

_PER_LAYER = {
    "head_dim",
    "v_head_dim",
    "num_key_value_heads",
    "num_attention_heads",
    "sliding_window",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
}
"""Fields that are understood where they differ from layer to layer."""

_NAMED = {
    # Names in `layer_types`, `layers_block_type` and the letters of `hybrid_override_pattern`.
    "full_attention": "full",
    "attention": "full",
    "*": "full",
    "indexed_attention": "full",  # sparse attention chooses what it reads, and keeps all
    "deepseek_sparse_attention": "full",
    "minimax_m3_sparse": "full",
    "sliding_attention": "window",
    "chunked_attention": "chunk",
    "linear_attention": "linear",  # which state: `_linear_state` says
    "mamba": "mamba",
    "mamba2": "mamba",
    "M": "mamba",
    "conv": "conv",
    "mlp": "none",
    "moe": "none",
    "-": "none",
    "E": "none",
}

_STATE_UNKNOWN = {"xlstm", "rwkv", "rwkv5", "rwkv6", "rwkv7", "retnet", "ttt", "mega"}
"""Model types whose every layer is recurrent, with a state that is not worked out here."""

_ALL_LAYERS_SLIDE = {"mistral", "mixtral", "phi3", "phimoe", "starcoder2", "ministral"}
"""Model types whose ``sliding_window``, where it is not null, holds for every layer."""


def layer_kinds(fields: Fields) -> tuple[list[str], bool]:
    """Return the kind of each layer, first to last, and whether a field said them."""
    layers = fields.layers
    for rule in _RULES:
        kinds = rule(fields, layers)
        if kinds is not None:
            break
    else:
        kinds = None
    stated = kinds is not None
    kinds = ["full"] * layers if kinds is None else kinds
    # Some configs list the layers that predict further tokens behind the others.
    further = fields.whole("num_nextn_predict_layers", "num_mtp_layers", default=0) or 0
    if len(kinds) == layers + further:
        kinds = kinds[:layers]
    if len(kinds) != layers:
        fields.fault("num_hidden_layers", f"it says {layers}, but {len(kinds)} layers are listed")
    return _with_sharing(fields, kinds), stated


def per_layer(fields: Fields, layers: int) -> list[Mapping[str, Any]]:
    """Return what a config states for each layer alone (``per_layer_config``), empty for most."""
    stated: list[Mapping[str, Any]] = [{} for _ in range(layers)]
    for key, values in fields.mapping("per_layer_config").items():
        path = f"per_layer_config.{key}"
        if not str(key).isdecimal() or not str(key).isascii() or len(str(key)) > 6:
            fields.fault(path, "it must be the number of a layer")
        elif int(key) >= layers or not isinstance(values, dict):
            fields.fault(path, f"it must be a mapping for one of {layers} layers")
        else:
            kept = {name: value for name, value in values.items() if _tells(name)}
            unknown = sorted(kept.keys() - _PER_LAYER)
            if unknown:
                fields.fault(path, f"it is not known what {', '.join(unknown)} change per layer")
            stated[int(key)] = {name: kept[name] for name in sorted(kept)}
    return stated


def window_tokens(fields: Fields, kind: str) -> int:
    """Return the tokens that a layer of the kind ``window`` or ``chunk`` keeps."""
    if kind == "chunk":
        return fields.need("attention_chunk_size")
    return fields.need(
        "sliding_window", "sliding_window_size", "attention_window_size", "window_size"
    )


def _tells(name: str) -> bool:
    """Say whether a field of a single layer may change what it caches."""
    return "head" in name or "window" in name or "kv" in name or "key" in name or "rank" in name


def _named(fields: Fields, name: str, words: Sequence[object]) -> list[str]:
    """Translate layer names; an unknown one is a fault."""
    unknown = sorted({str(word) for word in words} - _NAMED.keys())
    if unknown:
        known = ", ".join(sorted(_NAMED))
        fields.fault(name, f"unknown layer types {', '.join(unknown)}; known are {known}")
    return [_NAMED.get(str(word), "none") for word in words]


def _listed(fields: Fields, layers: int) -> list[str] | None:
    """``layer_types`` (transformers), ``layers_block_type`` (Nemotron 3.5)."""
    for name in ("layer_types", "layers_block_type"):
        words = fields.sequence(name)
        if words:
            if all(word == "hybrid" for word in words) and fields.model_type == "falcon_h1":
                return ["full+mamba"] * layers
            kinds = _named(fields, name, words)
            if "linear" in kinds:
                state = _linear_state(fields, name)
                kinds = [state if kind == "linear" else kind for kind in kinds]
            return kinds
    return None


def _linear_state(fields: Fields, name: str) -> str:
    """Return the state behind ``linear_attention``, which names four kinds of layer."""
    if fields.model_type.startswith("minimax"):
        return "lightning"
    if fields.get("linear_num_key_heads", "linear_num_value_heads") is not None:
        return "delta"
    if fields.mapping("linear_attn_config") or fields.model_type in (
        "kimi_linear",
        "glm5_next_text",
    ):
        return "kda"
    if (
        fields.get("mamba_d_state", "ssm_state_size", "mamba_n_heads", "mamba_num_heads")
        is not None
    ):
        return "mamba"
    fields.fault(
        name,
        f"linear_attention has a state that is not known for the model type "
        f"{fields.model_type!r}; give the figures in the fleet file yourself",
    )
    return "none"


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
    marks = fields.integers("hybrid_layer_pattern")
    if marks:  # MiMo-V2: 1 marks a layer with a window
        return ["window" if mark else "full" for mark in marks]
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
    if fields.get("attention_chunk_size") and fields.model_type.startswith(
        "llama4"
    ):  # Llama 4: layers without rotary positions see all
        plain = fields.integers("no_rope_layers")
        if plain:  # 1 marks a layer with rotary positions, which attends within its chunk
            return ["chunk" if rotary else "full" for rotary in plain]
        every = fields.whole("no_rope_layer_interval", default=4)
        return ["full" if (i + 1) % (every or 4) == 0 else "chunk" for i in range(layers)]
    habit = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}.get(fields.model_type)
    stated = fields.get("sliding_window_pattern", "_sliding_window_pattern", "layer_switch")
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


def _all_alike(fields: Fields, layers: int) -> list[str] | None:
    """Falcon-H1: attention and Mamba side by side in every layer; Mamba: no attention at all."""
    if fields.model_type in _STATE_UNKNOWN:
        fields.fault("model_type", f"the state of a {fields.model_type} layer is not known here")
    if fields.model_type in ("mamba", "mamba2", "falcon_mamba"):
        return ["mamba"] * layers
    return ["full+mamba"] * layers if fields.model_type == "falcon_h1" else None


_RULES: tuple[Callable[[Fields, int], list[str] | None], ...] = (
    _listed,
    _pattern_of_letters,
    _blocks,
    _all_alike,
    _periodic,
    _kimi_linear,
    _typed_by_number,
    _every_nth_full,
    _all_sliding,
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
    sources = fields.integers("kv_source_layers")  # Mistral Large 4: whose cache a layer reads
    if sources is not None:
        if len(sources) != len(kinds):
            fields.fault("kv_source_layers", f"it must name a layer for each of {len(kinds)}")
        else:
            kinds = [
                kind if s == i else "shared"
                for i, (kind, s) in enumerate(zip(kinds, sources, strict=True))
            ]
    return kinds
