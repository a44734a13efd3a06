"""From a config to an `Architecture`: the shape that memory and time depend on."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from kvplace.core.models.architecture import Architecture
from kvplace.facts.config.fields import Fields, text_fields
from kvplace.facts.config.layers import layer_kinds
from kvplace.facts.config.parameters import (
    feed_forward,
    feed_forward_kinds,
    mixer_parameters,
    searched_widths,
)
from kvplace.facts.config.states import STATES
from kvplace.facts.config.stored import stored_formats

_VISION_PARTS = ("vision_config", "vit_config", "vision_tower_config", "audio_config")
_DEFAULT_TIED = {"gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "cohere",
                 "cohere2"}  # fmt: skip
"""Model types whose head shares the input embedding unless the config says otherwise."""


def architecture(
    config: Mapping[str, Any],
    source: str,
    quantization: Mapping[str, Any] | None = None,
) -> Architecture:
    """Work out the shape of a model.

    Parameters
    ----------
    config
        The parsed ``config.json``.
    source
        Its name, for messages.
    quantization
        The parsed ``hf_quant_config.json``, if there is one.

    Returns
    -------
    Architecture
        Matrices are counted, norms and biases are not: they are below one part in a thousand.

    Raises
    ------
    InputError
        Fields are missing or not understood: all of them at once.
    """
    fields = text_fields(config, source)
    kinds, _ = layer_kinds(fields)
    blocks = feed_forward(fields)
    wide = feed_forward_kinds(fields, len(kinds))
    fields.check(source)
    mixers = sum(count * mixer_parameters(fields, kind) for kind, count in Counter(kinds).items())
    dense_layers, sparse_layers = wide.count("dense"), wide.count("sparse")
    hidden = fields.need("hidden_size", "n_embd", "d_model")
    vocabulary = fields.need("vocab_size", "padded_vocab_size")
    heads = fields.need("num_attention_heads", "n_head", "n_heads")
    fields.check(source)
    table = vocabulary * hidden
    tied = _tied(fields)
    perceptrons = dense_layers * blocks.dense
    widths = searched_widths(fields)
    if widths is not None:
        perceptrons = sum(3 * hidden * width for width in widths)
    beside = sparse_layers * blocks.beside
    routed = sparse_layers * blocks.experts * blocks.expert
    active = sparse_layers * blocks.experts_per_token * blocks.expert
    formats = stored_formats(
        config,
        quantization or {},
        {"attention": mixers, "mlp": perceptrons + beside, "lm_head": table},
    )
    every_token = mixers + perceptrons + beside + table
    return Architecture(
        layers=max(1, (sum(k != "none" for k in kinds) + dense_layers + sparse_layers) // 2),
        hidden_size=hidden,
        parameters=every_token + routed + (0 if tied else table),
        active_parameters=every_token + active,
        vocabulary_size=vocabulary,
        heads=heads,
        head_size=_head_size(fields, hidden, heads),
        kv_heads=_kv_heads(fields, heads),
        attention_layers=sum("full" in kind.split("+") for kind in kinds),
        state_layers=sum(part in STATES for kind in kinds for part in kind.split("+")),
        latent=bool(fields.get("kv_lora_rank")),
        indexed=bool(fields.get("index_head_dim", "index_n_heads")),
        intermediate_size=max(
            blocks.width if dense_layers else 0,
            blocks.expert_width * blocks.experts_per_token if sparse_layers else 0,
        ),
        experts=blocks.experts if sparse_layers else 0,
        experts_per_token=blocks.experts_per_token if sparse_layers else 0,
        expert_parameters=routed,
        expert_intermediate_size=blocks.expert_width if sparse_layers else 0,
        embedding_parameters=0 if tied else table,
        other_parameters=_beside_text(config),
        weight_bits=formats.weight_bits,
        expert_bits=formats.expert_bits,
        weight_format=formats.weight_format,
        expert_format=formats.expert_format,
    )


def _tied(fields: Fields) -> bool:
    """Whether the head shares the input embedding."""
    for values in (fields.values, fields.outer):
        if isinstance(values.get("tie_word_embeddings"), bool):
            return bool(values["tie_word_embeddings"])
    return fields.model_type in _DEFAULT_TIED


def _head_size(fields: Fields, hidden: int, heads: int) -> int:
    if fields.get("kv_lora_rank"):
        return fields.need("qk_nope_head_dim") + fields.need("qk_rope_head_dim")
    given = fields.whole("head_dim", "attention_head_dim", "kv_channels", "d_head")
    return given or hidden // max(1, heads)


def _kv_heads(fields: Fields, heads: int) -> int:
    if fields.get("kv_lora_rank"):
        return 1
    given = fields.whole("num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)
    return given or heads


def _beside_text(config: Mapping[str, Any]) -> int:
    """Return about how many parameters vision and audio towers have.

    A transformer's layer has ``4 h^2`` parameters of attention and two matrices of its
    perceptron; embeddings of patches and the projector are small beside them.
    """
    total = 0
    for part in _VISION_PARTS:
        tower = config.get(part)
        if not isinstance(tower, dict):
            continue
        hidden = _first(tower, "hidden_size", "embed_dim", "d_model")
        layers = _first(tower, "num_hidden_layers", "depth", "encoder_layers", "num_layers")
        width = _first(tower, "intermediate_size", "encoder_ffn_dim") or 4 * hidden
        total += layers * (4 * hidden * hidden + 2 * hidden * width)
    return total


def _first(values: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
