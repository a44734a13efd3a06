"""How many parameters a layer has, by what kind of layer it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kvplace.facts.config.fields import Fields
from kvplace.facts.config.layers import ATTENDING
from kvplace.facts.config.states import mamba_channels

_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "num_attention_groups")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_WIDTH = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_PER_TOKEN = (
    "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_top_k",
    "top_k_experts",
)  # fmt: skip
_EXPERT_WIDTH = ("moe_intermediate_size", "expert_ffn_hidden_size")
_SHARED_WIDTH = (
    "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
)  # fmt: skip

_TWO_MATRICES = {"falcon", "gpt2", "gpt_neox", "gpt_bigcode", "starcoder2", "opt", "mpt", "phi",
                 "bloom", "bert", "xlm-roberta", "nemotron", "nemotron_h", "roberta"}  # fmt: skip
"""Model types whose perceptrons have no gate: two matrices in place of three."""


@dataclass(frozen=True, slots=True)
class FeedForward:
    """The perceptrons of a model.

    Parameters
    ----------
    dense
        Parameters of the perceptron of a dense layer.
    width
        Its inner width.
    experts, experts_per_token
        Routed experts of a sparse layer, and how many a token is sent to.
    expert
        Parameters of one routed expert.
    expert_width
        Its inner width.
    beside
        Parameters that every token of a sparse layer goes through: shared experts, the router.
    """

    dense: int
    width: int
    experts: int
    experts_per_token: int
    expert: int
    expert_width: int
    beside: int


def feed_forward(fields: Fields) -> FeedForward:
    """Return the perceptrons that a config describes."""
    hidden = fields.need(*_HIDDEN)
    matrices = 2 if _ungated(fields) else 3
    experts = fields.whole(*_EXPERTS, default=0) or 0
    width = fields.whole(*_WIDTH, default=0) or 4 * hidden
    expert_width = fields.whole(*_EXPERT_WIDTH, default=0) or width
    if fields.model_type.startswith("llama4"):  # the plain layers' width has a field of its own
        expert_width, width = width, fields.whole("intermediate_size_mlp", default=width) or width
    if experts <= 1:
        return FeedForward(matrices * hidden * width, width, 0, 0, 0, 0, 0)
    inner = fields.whole("moe_latent_size", default=0) or hidden
    width = fields.whole("dense_intermediate_size", default=width) or width  # MiniMax M3
    shared = fields.whole(*_SHARED_WIDTH)
    if shared is None:
        count = fields.whole("n_shared_experts", "num_shared_experts", default=0) or 0
        if fields.model_type.startswith("llama4"):
            count = 1
        shared = count * expert_width
    beside = matrices * hidden * shared + hidden * experts
    if inner != hidden:  # into the experts' width and back
        beside += 2 * hidden * inner
    return FeedForward(
        dense=matrices * hidden * width,
        width=width,
        experts=experts,
        experts_per_token=min(experts, fields.whole(*_PER_TOKEN, default=1) or 1),
        expert=matrices * inner * expert_width,
        expert_width=expert_width,
        beside=beside,
    )


def searched_widths(fields: Fields) -> list[int] | None:
    """Return the inner width of each perceptron of a searched architecture, or None.

    Nemotron Super's ``ffn_mult``: two thirds of it, in hidden sizes, rounded up to 256.
    """
    blocks = fields.sequence("block_configs")
    if not blocks:
        return None
    hidden = fields.need(*_HIDDEN)
    widths = []
    for block in blocks:
        inner = block.get("ffn") if isinstance(block, dict) else None
        inner = inner if isinstance(inner, dict) else {}
        times, given = inner.get("ffn_mult"), inner.get("intermediate_size")
        if inner.get("no_op"):
            widths.append(0)
        elif isinstance(given, int):
            widths.append(given)
        elif inner.get("replace_with_linear"):
            widths.append(hidden // 3)
        else:
            wide = int(2 * times * hidden / 3) if isinstance(times, int | float) else 4 * hidden
            widths.append(-(-wide // 256) * 256)
    return widths


def feed_forward_kinds(fields: Fields, layers: int) -> list[str]:
    """Return ``dense``, ``sparse`` or ``none`` for each layer."""
    letters = fields.get("hybrid_override_pattern", "layers_block_type")
    if letters is not None and any(word in ("E", "moe", "-", "mlp") for word in letters):
        kinds = {"E": "sparse", "moe": "sparse", "-": "dense", "mlp": "dense"}
        return [kinds.get(str(word), "none") for word in letters]
    if (fields.whole(*_EXPERTS, default=0) or 0) <= 1:
        return ["dense"] * layers
    named = fields.get("mlp_layer_types")
    if isinstance(named, list):
        return ["sparse" if word == "sparse" else "dense" for word in named]
    every, first = _sparse_period(fields)
    listed = fields.get("moe_layer_freq")
    if isinstance(listed, list):  # one flag per layer
        return ["sparse" if flag else "dense" for flag in listed]
    dense = set(fields.integers("mlp_only_layers") or ())
    start = fields.whole("first_k_dense_replace", "num_dense_layers", default=0) or 0
    return [
        "sparse" if i >= start and i not in dense and i % every == first % every else "dense"
        for i in range(layers)
    ]


def _sparse_period(fields: Fields) -> tuple[int, int]:
    """Return every how many layers one is sparse, and which is the first."""
    period = fields.whole("expert_layer_period")  # Jamba
    if period:
        return period, fields.whole("expert_layer_offset", default=0) or 0
    for name in ("decoder_sparse_step", "interleave_moe_layer_step"):  # Qwen, Llama 4
        period = fields.whole(name)
        if period:
            return period, period - 1
    return 1, 0


def _ungated(fields: Fields) -> bool:
    """Whether a perceptron has two matrices, an input and an output, and no gate."""
    if fields.get("mlp_hidden_act") == "relu2":
        return True
    return fields.model_type in _TWO_MATRICES


def mixer_parameters(fields: Fields, kind: str) -> int:
    """Return the parameters of what mixes tokens in a layer of one of `layer_kinds`' kinds."""
    return sum(_mixer(fields, part) for part in kind.split("+"))


def _mixer(fields: Fields, kind: str) -> int:
    if kind in ATTENDING:
        return _attention(fields, kind)
    count = _OTHER_MIXERS.get(kind)
    return count(fields, fields.need(*_HIDDEN)) if count else 0


def _shared(fields: Fields, hidden: int) -> int:
    """Count queries and an output of its own; keys and values are another layer's."""
    return 2 * hidden * fields.need(*_HEADS) * _head(fields)


def _delta(fields: Fields, hidden: int) -> int:
    keys = fields.need("linear_num_key_heads") * fields.need("linear_key_head_dim")
    count = fields.need("linear_num_value_heads")
    values = count * fields.need("linear_value_head_dim")
    return hidden * (2 * keys + 3 * values + 2 * count)


def _kda(fields: Fields, hidden: int) -> int:
    linear = fields.mapping("linear_attn_config")
    heads, width = linear.get("num_heads"), linear.get("head_dim")
    if not isinstance(heads, int) or not isinstance(width, int):
        return 0
    return 5 * hidden * heads * width


def _lightning(fields: Fields, hidden: int) -> int:
    return 4 * hidden * fields.need(*_HEADS) * _head(fields)


def _conv(_fields: Fields, hidden: int) -> int:
    return 4 * hidden * hidden


def _mamba(fields: Fields, hidden: int) -> int:
    heads = fields.whole("mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
    state = fields.need("ssm_state_size", "mamba_d_state", "state_size", "mamba_state_dim")
    if heads is None:
        return 3 * hidden * mamba_channels(fields)
    width = fields.get("mamba_head_dim", "mamba_d_head")
    inner = heads * width if isinstance(width, int) else mamba_channels(fields)
    groups = fields.whole("n_groups", "mamba_n_groups", default=1) or 1
    return hidden * (3 * inner + 2 * groups * state + heads)


_OTHER_MIXERS: dict[str, Callable[[Fields, int], int]] = {
    "shared": _shared,
    "delta": _delta,
    "mamba": _mamba,
    "kda": _kda,
    "lightning": _lightning,
    "conv": _conv,
}


def _attention(fields: Fields, kind: str) -> int:
    hidden, heads = fields.need(*_HIDDEN), fields.need(*_HEADS)
    rank = fields.whole("kv_lora_rank", default=0) or 0
    if rank:
        rotary, plain = fields.need("qk_rope_head_dim"), fields.need("qk_nope_head_dim")
        value, low = fields.need("v_head_dim"), fields.whole("q_lora_rank", default=0) or 0
        asked = heads * (plain + rotary)
        queries = low * (hidden + asked) if low else hidden * asked
        cache = hidden * (rank + rotary) + rank * heads * (plain + value)
        return queries + cache + heads * value * hidden + _indexer(fields, hidden, low)
    width = _head(fields)
    if kind == "full":
        width = fields.whole("global_head_dim", default=width) or width
    value = fields.whole("v_head_dim", default=width) or width
    kv = fields.whole(*_KV_HEADS, default=heads) or heads
    if kind == "full":
        kv = fields.whole("num_global_key_value_heads", default=kv) or kv
    if fields.get("multi_query") and not fields.get("new_decoder_architecture"):
        kv = 1
    gate = hidden * heads * width if fields.get("attn_output_gate") else 0
    return hidden * (heads * (width + value) + kv * (width + value)) + gate


def _indexer(fields: Fields, hidden: int, low: int) -> int:
    """Return the parameters of a sparse-attention indexer (DeepSeek-V3.2)."""
    count, width = (
        fields.whole(f"index_{name}", default=0) or 0 for name in ("n_heads", "head_dim")
    )
    return (low or hidden) * count * width + hidden * (width + count) if count else 0


def _head(fields: Fields) -> int:
    given = fields.whole("head_dim", "attention_head_dim", "kv_channels", "d_head")
    return given or math.ceil(fields.need(*_HIDDEN) / max(1, fields.need(*_HEADS)))
