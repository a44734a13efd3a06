"""Facts about a model, read from its Hugging Face checkpoint: a directory or a hub id."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvplace.core.fact import Fact
from kvplace.core.models.architecture import Architecture
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.shapes import stored_bytes
from kvplace.facts.checkpoint.gguf import config_of_gguf, gguf_parts
from kvplace.facts.checkpoint.json_object import parse_object, read_object
from kvplace.facts.checkpoint.params_json import config_of_params
from kvplace.facts.checkpoint.safetensors import file_sizes, local_weights
from kvplace.facts.config.architecture import architecture
from kvplace.facts.config.attention import cache_layout
from kvplace.facts.config.dtypes import kv_element_bytes, state_element_bytes
from kvplace.facts.config.fields import text_fields
from kvplace.facts.model_facts import ModelFacts

CONFIG = "config.json"
PARAMS = "params.json"
_AGREE = 0.1
ADAPTER = "adapter_config.json"
QUANTIZATION = "hf_quant_config.json"


def facts_from_config(
    name: str,
    config: Mapping[str, Any],
    weights: Fact[int],
    *,
    quantization: Mapping[str, Any] | None = None,
    kv_dtype: str = "auto",
    source: str = CONFIG,
    engine: str = "vllm",
) -> ModelFacts:
    """Work out the facts of a parsed config.

    Parameters
    ----------
    name
        Name of the model.
    config
        The parsed ``config.json``.
    weights
        Bytes of weights, which no config states.
    quantization
        The parsed ``hf_quant_config.json``, if there is one.
    kv_dtype
        Type of the KV cache; ``auto`` for what the files say.
    source
        Name of the config, for messages.
    engine
        Whose layout of the cache it is: one of `kvplace.facts.config.attention.ENGINES`.

    Raises
    ------
    InputError
        A figure cannot be known; every fault at once.
    """
    text = text_fields(config, source).values
    element = kv_element_bytes(config, text, quantization or {}, kv_dtype, source)
    conv, recurrent = state_element_bytes(config, text, element)
    layout = cache_layout(config, source, element.value, (conv.value, recurrent.value), engine)
    origin = f"{source}: {layout.describe()}; {element.origin}"
    if any(group.kind == "indexer" for group in layout.groups) and element.value == 1:
        origin += f", as {engine} lays it out"
    if not layout.groups:
        origin = f"{source}: no layer keeps a KV cache of its own, as in an encoder"
    if layout.bytes_per_sequence():
        origin += f"; {conv.origin}, {recurrent.origin}"
    context = text.get("max_position_embeddings") or text.get("seq_length")
    return ModelFacts(
        name,
        weights,
        layout,
        origin,
        context if isinstance(context, int) else None,
        _shape(config, source, quantization or {}, weights.value),
    )


def _shape(
    config: Mapping[str, Any], source: str, quantization: Mapping[str, Any], weights_bytes: int
) -> Architecture | None:
    """Return the shape where the config tells it and it agrees with the weights to a tenth."""
    try:
        shape = architecture(config, source, quantization)
    except InputError:
        return None
    return shape if abs(stored_bytes(shape) / weights_bytes - 1) < _AGREE else None


def facts_from_directory(
    directory: Path, kv_dtype: str = "auto", engine: str = "vllm"
) -> ModelFacts:
    """Read the facts of a checkpoint in a directory, without any network.

    The config is ``config.json``, else ``params.json``, else the header of a GGUF file.

    Raises
    ------
    InputError
        A file is missing or damaged, or a figure cannot be known.
    """
    adapter = directory / ADAPTER
    if adapter.is_file() and not any(directory.glob("model*.safetensors*")):
        raise InputError(_adapter(read_object(adapter)), str(directory))
    path = directory / CONFIG
    if path.is_file():
        config = read_object(path)
    elif (path := directory / PARAMS).is_file():
        config = config_of_params(read_object(path))
    else:
        parts = gguf_parts(directory)
        if not parts:
            raise InputError(f"there is no {CONFIG}, no {PARAMS} and no GGUF file", str(directory))
        return facts_from_gguf(parts, directory.resolve().name, kv_dtype, engine)
    quantization = directory / QUANTIZATION
    return facts_from_config(
        directory.resolve().name,
        config,
        local_weights(directory),
        quantization=(read_object(quantization) if quantization.is_file() else None),
        kv_dtype=kv_dtype,
        source=str(path),
        engine=engine,
    )


def facts_from_gguf(
    parts: list[Path], name: str, kv_dtype: str = "auto", engine: str = "vllm"
) -> ModelFacts:
    """Read the facts of a model in one or several GGUF files; the first holds the header.

    Raises
    ------
    InputError
        The header is damaged, or does not say what the model caches.
    """
    path = parts[0]
    try:
        return facts_from_config(
            name,
            config_of_gguf(path),
            file_sizes(parts, "GGUF"),
            kv_dtype=kv_dtype,
            source=str(path),
            engine=engine,
        )
    except InputError as error:
        way = "put the config.json of the model that it was made from beside it, in one directory"
        raise InputError([*error.faults, Fault(way)], error.source) from error


def _adapter(config: Mapping[str, Any]) -> str:
    """Say what an adapter's directory is, and which model to read in its place."""
    base = config.get("base_model_name_or_path")
    named = f" of {base}" if isinstance(base, str) and base else ""
    return f"it is a LoRA adapter{named}, not a model; read the base model"


def facts_from_hub(
    repo: str, kv_dtype: str = "auto", revision: str | None = None, engine: str = "vllm"
) -> ModelFacts:
    """Read the facts of a model on the Hugging Face hub, through its own client.

    The client's rules hold: its cache, ``HF_TOKEN`` and the stored login for gated models,
    ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``. Only the config and the headers of the weights are
    fetched.

    Raises
    ------
    MissingExtraError
        ``huggingface_hub`` is not installed.
    InputError
        The model cannot be reached, or a figure cannot be known.
    """
    from kvplace.facts.checkpoint.hub import HubFiles  # noqa: PLC0415 - the optional client loads on use

    files = HubFiles(repo, revision)
    name = CONFIG
    text = files.read(name)
    if text is not None:
        config = parse_object(text, f"{repo}/{name}")
    elif (adapter := files.read(ADAPTER)) is not None:
        raise InputError(_adapter(parse_object(adapter, f"{repo}/{ADAPTER}")), repo)
    elif (text := files.read(name := PARAMS)) is not None:
        config = config_of_params(parse_object(text, f"{repo}/{name}"))
    else:
        raise InputError(
            f"the repository has no {CONFIG}; of a repository of GGUF files, download one and "
            "name the file",
            repo,
        )
    quantization = files.read(QUANTIZATION)
    return facts_from_config(
        repo,
        config,
        files.weights(),
        quantization=(
            parse_object(quantization, f"{repo}/{QUANTIZATION}") if quantization else None
        ),
        kv_dtype=kv_dtype,
        source=f"{repo}/{name}",
        engine=engine,
    )
