"""``params.json``, the config of checkpoints in Mistral's and Meta's own format."""

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "max_seq_len": "max_position_embeddings",
}


def config_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parsed ``params.json`` in the words of a ``config.json``.

    The format names no type; engines serve it in 16 bits. A window is one number, or one entry
    per layer, null where a layer sees all.
    """
    config = {_NAMES.get(name, name): value for name, value in params.items()}
    config.setdefault("model_type", "mistral")
    window = config.get("sliding_window")
    if isinstance(window, list):
        sizes = {size for size in window if isinstance(size, int) and size > 0}
        layers = config.get("num_hidden_layers")
        if len(sizes) <= 1 and window and isinstance(layers, int) and 0 < layers < 10_000:
            marks = [int(bool(window[i % len(window)])) for i in range(layers)]
            config |= {"hybrid_layer_pattern": marks, "sliding_window": max(sizes, default=None)}
    return config
