"""Facts from the header of a GGUF file, the format of llama.cpp and Ollama.

A GGUF file opens with a magic word, a version, the numbers of tensors and of key-value pairs, and
the pairs. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The pairs are put
into the words of a ``config.json``, so that one reader decides what a layer caches.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kvplace.errors import InputError

_MAGIC = b"GGUF"
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _ARRAY = 8, 9
_MOST_PAIRS = 65_536
_LONGEST_TEXT = 16 * 2**20
_LONGEST_ARRAY = 2**24
_KEPT_ARRAY = 4096  # longest list of layers; vocabularies are longer and are stepped over

_PLAIN = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "context_length": "max_position_embeddings",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.key_length_swa": "swa_head_dim",
    "attention.value_length_swa": "swa_v_head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.top_k": "index_topk",
    "attention.causal": "is_causal",
    "full_attention_interval": "full_attention_interval",
    "nextn_predict_layers": "num_nextn_predict_layers",
    "ssm.conv_kernel": "conv_kernel",
    "ssm.state_size": "ssm_state_size",
    "ssm.inner_size": "ssm_inner_size",
    "ssm.group_count": "n_groups",
    "ssm.time_step_rank": "mamba_num_heads",
}
"""Keys of GGUF after the architecture's name, and the field of a config that says the same."""

_HARMLESS = (
    "attention.layer_norm", "attention.key_length_mla", "attention.value_length_mla",
    "attention.q_lora_rank", "attention.scale", "attention.temperature", "attention.max_alibi",
    "attention.clamp", "attention.output_scale", "attention.group_norm", "rope.", "expert",
    "feed_forward", "leading_dense", "vocab_size", "swiglu", "embedding_length_per_layer",
    "logit", "final_logit", "attn_logit", "residual", "use_parallel", "tensor_data", "pooling",
    "embedding_scale", "altup", "activation", "interleave_moe", "moe_", "attention.indexer",
    "dense_", "n_deepstack", "decoder_start", "hyper_", "classifier", "token_shift",
)  # fmt: skip

_EVERY_NTH = {
    # llama.cpp builds the pattern of windows into the code of these architectures.
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "llama4": 4,
}  # fmt: skip
_PLAIN_WINDOWS = (
    "llama",
    "mistral",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen2moe",
    "qwen3moe",
    "starcoder2",
)
_MAMBA_HYBRIDS = ("nemotron_h", "nemotron_h_moe", "granitehybrid")
_DELTA = ("qwen3next", "qwen35", "qwen35moe")
_ENCODERS = {
    "bert": "bert",
    "nomic-bert": "nomic_bert",
    "modern-bert": "modernbert",
    "jina-bert-v2": "jina_bert",
    "nomic-bert-moe": "nomic_bert",
    "neo-bert": "neobert",
}


def gguf_parts(directory: Path) -> list[Path]:
    """Return the files of the one model in a directory, first part first; empty without any.

    Projectors of other modalities (``mmproj``) are left out.

    Raises
    ------
    InputError
        Several quantizations lie side by side.
    """
    files = [f for f in sorted(directory.glob("*.gguf")) if "mmproj" not in f.name.casefold()]
    if len(files) > 1 and not all("-of-" in file.name for file in files):
        raise InputError(
            f"{len(files)} GGUF files that are not parts of one "
            f"({', '.join(file.name for file in files[:4])}); name the file itself",
            str(directory),
        )
    return files


def config_of_gguf(file: Path) -> dict[str, Any]:
    """Return what a GGUF header says, in the words of a ``config.json``.

    Raises
    ------
    InputError
        It is no GGUF file, or its header is damaged.
    """
    try:
        with file.open("rb") as stream:
            pairs = _pairs(stream)
    except OSError as error:
        raise InputError(error.strerror or "it cannot be read", str(file)) from error
    except (ValueError, struct.error, OverflowError, MemoryError) as error:
        raise InputError(f"damaged GGUF header: {error}", str(file)) from error
    return _config(pairs, str(file))


def _config(pairs: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Put the pairs of a header into the words of a config."""
    architecture = pairs.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise InputError("its header names no general.architecture", source)
    if pairs.get("general.type", "model") != "model":
        raise InputError(
            f"it holds a {pairs['general.type']}, not a model; read the model it belongs to", source
        )
    config: dict[str, Any] = {"torch_dtype": "float16"}  # llama.cpp's cache, unless told otherwise
    config["model_type"] = _ENCODERS.get(architecture, f"gguf:{architecture}")
    for key, value in pairs.items():
        name = key.removeprefix(f"{architecture}.")
        if name == key or name.startswith(_HARMLESS):
            continue
        config[_PLAIN.get(name, f"attention_types:{name}")] = value
    if "kv_lora_rank" in config:
        config["qk_rope_head_dim"] = pairs.get(f"{architecture}.rope.dimension_count")
    if isinstance(config.get("num_attention_heads"), list):  # heads of queries, per layer
        config["num_attention_heads"] = max(config["num_attention_heads"], default=0)
    return _windows(config, architecture, pairs)


def _windows(config: dict[str, Any], architecture: str, pairs: Mapping[str, Any]) -> dict[str, Any]:
    """Say which layers have a window, as llama.cpp decides it for an architecture."""
    layers = config.get("num_hidden_layers")
    pattern = pairs.get(f"{architecture}.attention.sliding_window_pattern")
    config.pop("attention_types:attention.sliding_window_pattern", None)
    if not isinstance(layers, int):
        return config
    if architecture in _DELTA:
        return _delta(config)
    if "ssm_state_size" in config:
        return _mamba(config, architecture)
    if isinstance(pattern, list):
        config["hybrid_layer_pattern"] = [int(bool(mark)) for mark in pattern[:layers]]
    elif config.get("sliding_window"):
        every = pattern if isinstance(pattern, int) else _EVERY_NTH.get(architecture)
        if every:
            config["sliding_window_pattern"] = every
        elif architecture in _PLAIN_WINDOWS:  # llama.cpp caches all tokens of these
            config["use_sliding_window"] = False
    return config


def _mamba(config: dict[str, Any], architecture: str) -> dict[str, Any]:
    """Put Mamba layers beside attention into a config's words, or leave a word that refuses."""
    heads = config.get("num_key_value_heads")
    if architecture in _MAMBA_HYBRIDS and isinstance(heads, list):
        config["layer_types"] = ["full_attention" if count else "mamba" for count in heads]
        inner, count = config.pop("ssm_inner_size", None), config.get("mamba_num_heads")
        if isinstance(inner, int) and isinstance(count, int) and count > 0:
            config["mamba_head_dim"] = inner // count
        config["mamba_ssm_dtype"] = "float32"  # llama.cpp keeps recurrent state in float32
        return config
    config["recurrent_layers"] = architecture
    return config


def _delta(config: dict[str, Any]) -> dict[str, Any]:
    """Put the gated delta rule of Qwen3-Next and Qwen3.5 into a config's words."""
    heads, inner = config.pop("mamba_num_heads", None), config.pop("ssm_inner_size", None)
    state = config.pop("ssm_state_size", None)
    config["linear_num_value_heads"], config["linear_num_key_heads"] = (
        heads,
        config.pop("n_groups", None),
    )
    config["linear_key_head_dim"] = state
    whole = isinstance(heads, int) and isinstance(inner, int) and heads > 0
    config["linear_value_head_dim"] = inner // heads if whole else None
    config["linear_conv_kernel_dim"] = config.pop("conv_kernel", None)
    config.setdefault("full_attention_interval", 4)
    config["mamba_ssm_dtype"] = "float32"
    return config


def _pairs(stream: BinaryIO) -> dict[str, Any]:
    """Read the key-value pairs of a header; `ValueError` where it is damaged."""
    if stream.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    (version,) = _unpack(stream, "I")
    if version not in (2, 3):
        raise ValueError(f"version {version} is not known")
    _, count = _unpack(stream, "QQ")
    if count > _MOST_PAIRS:
        raise ValueError(f"it states {count:,} key-value pairs")
    pairs = {}
    for _ in range(count):
        key = _text(stream)
        (kind,) = _unpack(stream, "I")
        pairs[key] = _value(stream, kind)
    return pairs


def _value(stream: BinaryIO, kind: int) -> Any:
    """Read one value; None for a list too long to be about layers, which is stepped over."""
    if kind == _TEXT:
        return _text(stream)
    if kind != _ARRAY:
        if kind not in _SCALARS:
            raise ValueError(f"a value of the unknown kind {kind}")
        return _unpack(stream, _SCALARS[kind])[0]
    inner, length = _unpack(stream, "IQ")
    if length > _LONGEST_ARRAY:
        raise ValueError(f"a list of {length:,} values")
    if inner == _TEXT:
        for _ in range(length):
            (size,) = _unpack(stream, "Q")
            _skip(stream, size)
        return None
    if inner not in _SCALARS:
        raise ValueError(f"a list of values of the unknown kind {inner}")
    if length > _KEPT_ARRAY:
        _skip(stream, length * struct.calcsize(f"<{_SCALARS[inner]}"))
        return None
    return list(_unpack(stream, f"{length}{_SCALARS[inner]}"))


def _text(stream: BinaryIO) -> str:
    (size,) = _unpack(stream, "Q")
    if size > _LONGEST_TEXT:
        raise ValueError(f"a text of {size:,} bytes")
    return _exactly(stream, size).decode("utf-8", "replace")


def _skip(stream: BinaryIO, size: int) -> None:
    if size > _LONGEST_TEXT:
        raise ValueError(f"a value of {size:,} bytes")
    _exactly(stream, size)


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", _exactly(stream, struct.calcsize(f"<{form}")))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("it ends within its header")
    return data
