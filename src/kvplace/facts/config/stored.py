"""In how many bits weights are stored and in which number format they are multiplied."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kvplace.core.models.architecture import Format


@dataclass(frozen=True, slots=True)
class Stored:
    """How the weights of a checkpoint are stored.

    Parameters
    ----------
    weight_bits
        Mean bits of a parameter that every token is multiplied with.
    expert_bits
        Bits of a parameter of a routed expert.
    weight_format, expert_format
        The number formats in which they are multiplied.
    """

    weight_bits: float
    expert_bits: float
    weight_format: Format
    expert_format: Format


_SCHEMES: dict[str, tuple[float, Format]] = {
    # Bits with the scales: one of 8 bits per 32 (MXFP4) or 16 (NVFP4) weights, one of 16 bits and
    # a zero of the weights' own bits per 128 for AWQ and GPTQ, one of 32 bits per 128 x 128 block
    # for FP8.
    "fp8": (8.002, Format.FP8),
    "fbgemm_fp8": (8.002, Format.FP8),
    "mxfp8": (8.25, Format.FP8),
    "mxfp4": (4.25, Format.FP4),
    "nvfp4": (4.5, Format.FP4),
    "awq": (4.16, Format.BF16),
    "gptq": (4.16, Format.BF16),
    "bitsandbytes": (4.13, Format.BF16),
    "int8": (8.0, Format.BF16),
    "int4": (4.16, Format.BF16),
}
_PLAIN = (16.0, Format.BF16)


def stored_formats(
    config: Mapping[str, Any],
    quantization: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> Stored:
    """Return how weights are stored.

    Parameters
    ----------
    config
        The parsed ``config.json``; without a ``quantization_config`` weights are served in 16
        bits, also where the file has 32.
    quantization
        The parsed ``hf_quant_config.json``, or nothing.
    sizes
        Parameters of the parts ``attention``, ``mlp`` and ``lm_head``, to weigh their bits by.
    """
    described: dict[str, Any] = {}
    for part in (config, *(config.get(name) for name in ("text_config", "llm_config"))):
        given = part.get("quantization_config") if isinstance(part, dict) else None
        if isinstance(given, dict) and not described:
            described = dict(given)
    inner = quantization.get("quantization")
    if isinstance(inner, dict):
        described = {**inner, **described} if described else dict(inner)
    bits, multiplied = _scheme(described)
    experts = (bits, multiplied)
    spared = list(_spared(described))
    parts: dict[str, tuple[float, Format]] = {}
    for part in ("attention", "mlp", "lm_head"):
        kept = part == "lm_head" or _names(spared, part)
        if described.get("quant_method") == "mxfp4":  # experts alone, whatever is listed
            kept = True
        parts[part] = _PLAIN if kept else experts
    total = sum(sizes.values())
    mean = sum(sizes[part] * parts[part][0] for part in sizes) / total if total else 16.0
    heaviest = max(("attention", "mlp"), key=lambda part: sizes.get(part, 0), default="attention")
    return Stored(mean, bits, parts[heaviest][1], multiplied)


def _scheme(described: Mapping[str, Any]) -> tuple[float, Format]:
    """Return bits and format of the linear layers that are quantised."""
    keys = ("quant_algo", "quant_method", "format")
    names = [str(described.get(key, "")).lower() for key in keys]
    for name in names:
        for scheme in ("nvfp4", "mxfp4", "mxfp8", "fp8"):
            if scheme in name:
                return _SCHEMES[scheme]
    groups = described.get("config_groups")
    if isinstance(groups, dict):
        found = next(filter(None, map(_group, groups.values())), None)
        if found:
            return found
    return _integers(described, names)


def _integers(described: Mapping[str, Any], names: list[str]) -> tuple[float, Format]:
    """Return bits and format of weights that are stored as integers."""
    width = described.get("bits") or described.get("w_bit") or described.get("num_bits")
    if width == 8 or described.get("load_in_8bit"):
        return _SCHEMES["int8"]
    known = next((_SCHEMES[name] for name in names if name in _SCHEMES), None)
    if known:
        return known
    if isinstance(width, int) and 1 <= width <= 16:
        return (width + 0.16, Format.BF16)
    return _PLAIN


def _group(group: object) -> tuple[float, Format] | None:
    """Return bits and format of a group of compressed-tensors."""
    if not isinstance(group, dict):
        return None
    weights, inputs = group.get("weights"), group.get("input_activations")
    if not isinstance(weights, dict) or not isinstance(weights.get("num_bits"), int):
        return None
    bits, floating = weights["num_bits"], weights.get("type") == "float"
    per = weights.get("group_size")
    scale = 8 if floating and bits == 4 else 16
    bits_with_scale = bits + (scale / per if isinstance(per, int) and per > 0 else 0.0)
    if not isinstance(inputs, dict):
        return bits_with_scale, Format.BF16
    if floating:
        return bits_with_scale, Format.FP8 if bits == 8 else Format.FP4
    return bits_with_scale, Format.FP8 if bits == 8 else Format.BF16


def _spared(described: Mapping[str, Any]) -> Iterable[str]:
    """Yield the names of modules that keep their 16 bits."""
    for key in ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers"):
        listed = described.get(key)
        if isinstance(listed, list):
            yield from (str(name) for name in listed)


_PARTS = {
    "attention": ("self_attn", "attention", "linear_attn", "mixer"),
    "mlp": ("shared_expert", "mlp.gate_proj", "mlp.up_proj"),
}
_SMALL = ("norm", "indexer", "conv", "router", "rotary", ".gate.", "weights_proj", "k_scale")
_MANY = 8


def _names(spared: list[str], part: str) -> bool:
    """Whether a part is spared in most layers: by a pattern, or one by one."""
    named = [
        name
        for name in spared
        if any(word in name for word in _PARTS.get(part, ()))
        and not any(word in name for word in _SMALL)
    ]
    layers = {piece for name in named for piece in name.split(".") if piece.isdigit()}
    patterns = [name for name in named if not any(piece.isdigit() for piece in name.split("."))]
    return bool(patterns) or len(layers) >= _MANY
