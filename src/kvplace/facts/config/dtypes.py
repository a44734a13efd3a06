"""How many bytes one cached element takes, as the engines decide it."""

from collections.abc import Mapping
from typing import Any

from kvplace.core.fact import Fact
from kvplace.errors import InputError

_BYTES = {
    "float32": 4,
    "fp32": 4,
    "bfloat16": 2,
    "bf16": 2,
    "float16": 2,
    "fp16": 2,
    "half": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "int8": 1,
}

KV_DTYPES = ("auto", *sorted(_BYTES))
"""Types that a caller may ask for; ``auto`` is what the files say."""


def kv_element_bytes(
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    quantization: Mapping[str, Any],
    asked: str,
    source: str,
) -> Fact[int]:
    """Return the bytes of one cached key or value element.

    Parameters
    ----------
    config, text
        The whole config and its text part.
    quantization
        The content of ``hf_quant_config.json``, empty where there is none.
    asked
        One of `KV_DTYPES`.
    source
        Name of the config, for messages.

    Raises
    ------
    InputError
        The files name a type whose size per element is not a constant.
    """
    if asked != "auto":
        if asked not in _BYTES:
            raise InputError(f"unknown KV type {asked!r}; known are {', '.join(KV_DTYPES)}", source)
        return Fact(_BYTES[asked], f"KV cache in {asked}, as asked")
    stated = _mapping(config.get("quantization_config"))
    scheme = stated.get("kv_cache_scheme") or {}
    if scheme:
        bits = scheme.get("num_bits") if isinstance(scheme, dict) else None
        if isinstance(scheme, str) and scheme.casefold() in ("fp8", "int8", "fp8_e4m3", "fp8_e5m2"):
            bits = 8
        if bits != 8:
            raise InputError(
                f"kv_cache_scheme {scheme!r} is not understood; pass --kv-dtype", source
            )
        return Fact(1, "8-bit KV cache, from quantization_config.kv_cache_scheme")
    algorithm = _mapping(_mapping(quantization).get("quantization")).get("kv_cache_quant_algo")
    algorithm = algorithm or stated.get("kv_cache_quant_algo")
    if algorithm:
        if str(algorithm).upper() not in ("FP8", "INT8"):
            raise InputError(
                f"kv_cache_quant_algo {algorithm!r} is not understood; pass --kv-dtype", source
            )
        return Fact(1, f"{algorithm} KV cache, from kv_cache_quant_algo")
    name = _dtype(config, text)
    if name is None:  # gpt-oss; vLLM and SGLang then take float32 and serve it in half precision
        return Fact(2, "KV cache in 16 bits: the config names no type, so engines serve in 16 bits")
    if name not in _BYTES:
        raise InputError(f"the type {name!r} is not known; pass --kv-dtype", source)
    if _BYTES[name] == 4:
        return Fact(2, f"KV cache in 16 bits: engines serve a {name} checkpoint in half precision")
    return Fact(_BYTES[name], f"KV cache in {name}, the config's dtype")


_FLOAT32_STATES = frozenset(("kimi_linear", "glm5_next_text", "nemotron_h", "nemotron_h_puzzle"))


def state_element_bytes(
    config: Mapping[str, Any], text: Mapping[str, Any], kv: Fact[int]
) -> tuple[Fact[int], Fact[int]]:
    """Return the bytes of one element of a convolution state and of a recurrent state.

    Neither follows a quantized KV cache. The recurrent state takes the type that the config
    names for it (``mamba_ssm_dtype``, ``mamba_ssm_cache_dtype``), else the one that engines keep
    it in: float32 for Kimi delta attention and Nemotron-H, the model's for every other kind.
    """
    name = _dtype(config, text)
    size = min(_BYTES.get(name or "", max(kv.value, 2)), 2)
    conv = Fact(size, f"convolution state in {8 * size} bits, the model's type")
    for field in ("mamba_ssm_cache_dtype", "mamba_ssm_dtype"):
        named = text.get(field)
        if isinstance(named, str) and named.removeprefix("torch.") in _BYTES:
            return conv, Fact(_BYTES[named.removeprefix("torch.")], f"recurrent state in {named}")
    if "linear_attn_config" in text or str(text.get("model_type")) in _FLOAT32_STATES:
        return conv, Fact(4, "recurrent state in float32, as engines keep it where none is named")
    return conv, Fact(size, f"recurrent state in {8 * size} bits, the model's type")


def _mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> str | None:
    """Return the model's type, the text part's first."""
    for part in (text, config):
        for field in ("dtype", "torch_dtype"):
            if isinstance(part.get(field), str):
                return str(part[field]).removeprefix("torch.")
    return None
