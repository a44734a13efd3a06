"""Recurrent layers: the state of fixed size that one sequence keeps in each of them.

Each function returns the state of one layer as `Units`, in the split that engines use: heads
(or channels) over the ranks, groups replicated once there are more ranks than groups.
"""

from collections.abc import Callable

from kvplace.facts.cache import Units
from kvplace.facts.config.fields import Fields
from kvplace.facts.config.heads import head_dim


def _delta(fields: Fields, conv: int, recurrent: int) -> list[Units]:
    """Gated delta rule (Qwen3-Next, Qwen3.5): a matrix per value head, and a short convolution.

    The convolution runs over queries, keys and values and remembers ``kernel - 1`` inputs.
    """
    keys, values = fields.need("linear_num_key_heads"), fields.need("linear_num_value_heads")
    key, value = fields.need("linear_key_head_dim"), fields.need("linear_value_head_dim")
    past = fields.need("linear_conv_kernel_dim") - 1
    return [
        Units(values, key * value * recurrent + past * value * conv, "value heads"),
        Units(keys, past * 2 * key * conv, "key heads"),
    ]


def _kda(fields: Fields, conv: int, recurrent: int) -> list[Units]:
    """Kimi delta attention: as the gated delta rule, with as many key as value heads."""
    linear = fields.mapping("linear_attn_config")
    if not linear:  # the spelling of the transformers library
        linear = {
            "num_heads": fields.whole("linear_num_heads"),
            "head_dim": fields.whole("linear_head_dim"),
            "short_conv_kernel_size": fields.whole("linear_conv_kernel_dim"),
        }
    fields.used.update(("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"))
    given: list[int] = []
    for name in ("num_heads", "head_dim", "short_conv_kernel_size"):
        value = linear.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            fields.fault(f"linear_attn_config.{name}", "it must be a whole number of at least 1")
            value = 1
        given.append(value)
    heads, width, kernel = given
    size = width * width * recurrent + (kernel - 1) * 3 * width * conv
    return [Units(heads, size, "delta heads")]


def _mamba(fields: Fields, conv: int, recurrent: int) -> list[Units]:
    """Mamba 2 where the config has heads (Nemotron-H, Granite 4, Bamba), else Mamba 1 (Jamba).

    Mamba 2 keeps ``head_dim x state`` per head and convolves the inputs and, per group, two
    vectors of the state's size. Mamba 1 keeps ``state`` per channel.
    """
    kernel = fields.need("conv_kernel", "mamba_d_conv", "d_conv", "conv_kernel_size")
    state = fields.need("ssm_state_size", "mamba_d_state", "state_size", "mamba_state_dim")
    names = ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
    plain = fields.model_type == "mamba2"  # the names of other models' attention
    heads = fields.whole(*names, *(("num_heads",) if plain else ()))
    past = kernel - 1
    if heads is None:
        return [Units(mamba_channels(fields), state * recurrent + past * conv, "channels")]
    fields.used.add("mamba_d_ssm")
    width = fields.get("mamba_head_dim", "mamba_d_head", *(("head_dim",) if plain else ()))
    if not isinstance(width, int):  # Granite writes "auto": the expanded hidden size over heads
        inner = fields.whole("mamba_d_ssm")
        inner = inner or mamba_channels(fields)
        width = inner // max(heads, 1)
    groups = fields.whole("n_groups", "mamba_n_groups", default=1) or 1
    return [
        Units(heads, width * (state * recurrent + past * conv), "Mamba heads"),
        Units(groups, 2 * state * past * conv, "Mamba groups"),
    ]


def mamba_channels(fields: Fields) -> int:
    """Return the channels of a Mamba layer: the expanded hidden size, as far as none are stated.

    A config of Mamba layers alone states them as its intermediate size, which goes before the
    factor; Falcon-Mamba-7B states 8,192 channels and a factor of 16 on a hidden size of 4,096.
    Elsewhere the intermediate size is that of another layer.
    """
    alone = fields.model_type in ("mamba", "falcon_mamba")
    stated = fields.whole("intermediate_size") if alone else None
    return stated or fields.need("mamba_expand", "expand") * fields.need("hidden_size")


def _lightning(fields: Fields, _conv: int, recurrent: int) -> list[Units]:
    """Lightning attention (MiniMax-01): a square matrix per head."""
    heads = fields.need("num_attention_heads")
    width = head_dim(fields)
    return [Units(heads, width * width * recurrent, "linear heads")]


def _conv(fields: Fields, conv: int, _recurrent: int) -> list[Units]:
    """Short convolution (LFM2): the last inputs of every channel."""
    past = fields.need("conv_L_cache") - 1
    return [Units(fields.need("hidden_size"), past * conv, "channels")]


STATES: dict[str, Callable[[Fields, int, int], list[Units]]] = {
    "delta": _delta,
    "kda": _kda,
    "mamba": _mamba,
    "lightning": _lightning,
    "conv": _conv,
}
"""What one layer of each recurrent kind keeps per sequence, in bytes.

Every function takes the fields and the bytes of one element of the convolution state and of the
recurrent state.
"""
