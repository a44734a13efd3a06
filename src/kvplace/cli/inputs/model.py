"""``kvplace model``: what a model takes, from its own files."""

from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import nearest_choice, output_options
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.facts.memory.overhead import EngineLimits, Overhead
    from kvplace.facts.model_facts import ModelFacts

_EXAMPLES = """\b
Examples:
  kvplace model ./Llama-3.1-8B-Instruct
  kvplace model deepseek-ai/DeepSeek-V3 --tensor-parallel 8
  kvplace model Qwen/Qwen3-8B --facts hub --kv-dtype fp8 --format json
"""

FACTS = click.option(
    "--facts",
    type=nearest_choice(("auto", "catalogue", "hub")),
    default="auto",
    show_default=True,
    help="Where to look. auto: a directory, then the catalogue, then the hub.",
)
KV_DTYPE = click.option(
    "--kv-dtype",
    default="auto",
    show_default=True,
    metavar="TYPE",
    help="Type of the KV cache, such as fp8. auto: what the files say.",
)


ENGINE = click.option(
    "--engine",
    type=nearest_choice(("vllm", "sglang", "trtllm")),
    default="vllm",
    show_default=True,
    help="Whose layout of the cache: they differ for FP8 caches of sparse attention.",
)


@verb("model", epilog=_EXAMPLES)
@click.argument("models", nargs=-1, required=True, metavar="DIR-OR-ID...")
@click.option(
    "--tensor-parallel",
    "degree",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Say what each of so many ranks caches.",
)
@KV_DTYPE
@ENGINE
@click.option(
    "--gpu",
    metavar="TYPE",
    help="Estimate memory at the limits that the engine takes by default on this GPU. Without it: "
    "2,048 tokens and 256 sequences a step, as where engines share a GPU.",
)
@FACTS
@output_options
def command(
    models: tuple[str, ...],
    degree: int,
    kv_dtype: str,
    engine: str,
    gpu: str | None,
    facts: str,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Say what models take: bytes of weights, of KV cache per token, of state per sequence.

    Besides, where the model's shape is known: the weights as an engine holds them on each GPU, and
    what it takes of the GPU beside them and the KV cache, in parts.

    Each is a checkpoint's directory or a GGUF file, which are read without any network, or a hub
    id. Weights come from the headers or the index of the weight files, the cache from config.json,
    params.json or the GGUF header. What cannot be known is an error. With --format json every
    figure carries its origin.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, emit_rows
    from kvplace.errors import Fault, InputError
    from kvplace.facts.catalogue.gpus import gpu_type
    from kvplace.facts.find import find_facts
    from kvplace.facts.memory.overhead import engine_limits
    from kvplace.report.tables.scores import rows_csv, rows_json
    from kvplace.units import format_bytes

    limits = engine_limits([] if gpu is None else [gpu_type(gpu)], engine)
    found: list[ModelFacts] = []
    faults: list[Fault] = []
    for name in models:
        try:
            found.append(find_facts(name, facts, kv_dtype, engine))
            found[-1].layout.bytes_per_token(degree)
        except InputError as error:
            faults += [
                Fault(line) for line in (error if error.source else _named(error, name)).lines()
            ]
    if faults:
        raise InputError(faults)
    if form == "table":
        rows = [_row(model, degree, _memory(model, degree, engine, limits)) for model in found]
        emit_rows(rows, output)
    elif form == "csv":
        emit(
            rows_csv(
                [_figures(model, degree, _memory(model, degree, engine, limits)) for model in found]
            ),
            output,
            data=True,
        )
    else:
        document = {
            "models": [
                _document(model, degree, _memory(model, degree, engine, limits)) for model in found
            ]
        }
        emit(rows_json(document), output, data=True)
    if not quiet and form == "table":
        for model in found:
            say(f"{model.name}: weights: {model.weights_bytes.origin}")
            say(f"{model.name}: cache: {model.kv_origin}")
            _loaded, beside = _memory(model, degree, engine, limits)
            if beside is not None:
                parts = ", ".join(
                    f"{n} {format_bytes(s, 2)}" for n, s in beside.parts().items() if s
                )
                say(f"{model.name}: besides: {parts}; {beside.origin}")
    return 0


def _named(error: Any, name: str) -> Any:
    """Return the error with the model's name as its source."""
    from kvplace.errors import InputError

    return InputError(error.faults, name)


def _memory(
    model: "ModelFacts", degree: int, engine: str, limits: "EngineLimits"
) -> "tuple[int | None, Overhead | None]":
    """Return the weights on each rank, and what is taken beside them; None where not known."""
    from kvplace.facts.catalogue.models import known_model
    from kvplace.facts.memory.loaded import loaded_weights
    from kvplace.facts.memory.overhead import overhead

    if model.shape is None:
        return None, None
    weights = model.weights_bytes.value
    known = known_model(model.name) if degree == 1 else None
    loaded = loaded_weights(weights, model.shape, degree).total_bytes
    if known is not None and known.loaded_bytes and known.weights_bytes == weights:
        loaded = known.loaded_bytes
    return loaded, overhead(model.shape, degree, limits, engine=engine)


def _row(
    model: "ModelFacts", degree: int, memory: "tuple[int | None, Overhead | None]"
) -> dict[str, str]:
    """Return one line of the table."""
    from kvplace.units import format_bytes

    layout = model.layout
    loaded, beside = memory
    row = {
        "model": model.name,
        "weights": format_bytes(model.weights_bytes.value, 2),
        "loaded" if degree == 1 else "loaded/rank": format_bytes(loaded, 2) if loaded else "?",
        "besides": format_bytes(beside.total, 2) if beside else "?",
        "KV B/token" if degree == 1 else "KV B/token/rank": f"{layout.bytes_per_token(degree):,}",
    }
    beyond = layout.bytes_per_token_beyond_window(degree)
    windows = ", ".join(f"{window:,}" for window in layout.windows)
    row["beyond window"] = f"{beyond:,} (> {windows})" if windows else "-"
    state = layout.bytes_per_sequence(degree)
    row["state B/sequence"] = f"{state:,}" if state else "-"
    row["context"] = f"{model.context_tokens:,}" if model.context_tokens else "?"
    return row


def _figures(
    model: "ModelFacts", degree: int, memory: "tuple[int | None, Overhead | None]"
) -> dict[str, Any]:
    """Return the figures in base units."""
    layout = model.layout
    return {
        "name": model.name,
        "weights_bytes": model.weights_bytes.value,
        "tensor_parallel": degree,
        "kv_bytes_per_token_per_rank": layout.bytes_per_token(degree),
        "kv_bytes_per_token_beyond_window_per_rank": layout.bytes_per_token_beyond_window(degree),
        "windows_tokens": " ".join(str(window) for window in layout.windows),
        "kv_bytes_per_sequence_per_rank": layout.bytes_per_sequence(degree),
        "context_tokens": model.context_tokens,
        "loaded_weights_bytes_per_rank": memory[0],
        "overhead_bytes_per_rank": memory[1].total if memory[1] else None,
    }


def _document(
    model: "ModelFacts", degree: int, memory: "tuple[int | None, Overhead | None]"
) -> dict[str, Any]:
    """Return the figures with their origins."""
    beside = memory[1]
    origins = {"weights_bytes": model.weights_bytes.origin, "kv": model.kv_origin}
    if beside is not None:
        origins["overhead"] = beside.origin
    return _figures(model, degree, memory) | {
        "windows_tokens": list(model.layout.windows),
        "overhead_parts_bytes": beside.parts() if beside else None,
        "origins": origins,
    }
