"""``kvplace catalogue``: GPU types and common models that are known, each with its source."""

from typing import Any

import click

from kvplace.cli.options import nearest_choice, output_options
from kvplace.cli.verb import verb

_EXAMPLES = """\b
Examples:
  kvplace catalogue gpus
  kvplace catalogue models --search qwen3
"""


@verb("catalogue", epilog=_EXAMPLES)
@click.argument("kind", type=nearest_choice(("gpus", "models")), metavar="gpus|models")
@click.option("--search", metavar="TEXT", default="", help="Only names that contain the text.")
@output_options
def command(kind: str, search: str, form: str, output: str | None, quiet: bool) -> int:
    """List the GPU types or the models that are known, with the source of each row.

    Rows of your own go into gpus.csv and models.csv in the directory that the environment
    variable KVPLACE_CATALOGUE names, by default ~/.config/kvplace; one with the name of a
    shipped row takes its place.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, emit_rows
    from kvplace.errors import InputError
    from kvplace.facts.catalogue.tables import user_directory
    from kvplace.report.tables.scores import rows_csv, rows_json

    rows = _gpus() if kind == "gpus" else _models()
    rows = [row for row in rows if search.casefold() in str(row["name"]).casefold()]
    if not rows:
        raise InputError(f"no name contains {search!r}", f"catalogue {kind}")
    if form == "json":
        emit(rows_json({kind: rows}), output, data=True)
    elif form == "csv":
        emit(rows_csv(rows), output, data=True)
    else:
        emit_rows([_shown(row) for row in rows], output)
    own = user_directory() / f"{kind}.csv"
    if not quiet and own.is_file():
        say(f"with the rows of {own}")
    return 0


def _gpus() -> list[dict[str, Any]]:
    from kvplace.facts.catalogue.gpus import gpu_types
    from kvplace.units import GIB

    return [
        {
            "name": gpu.name,
            "box_gb": gpu.box_gb,
            "usable_gib": round(gpu.memory_bytes / GIB, 3),
            "bandwidth_gb_s": gpu.bandwidth_gb_per_second,
            "bf16_tflops": gpu.bf16_tflops,
            "fp8_tflops": gpu.fp8_tflops,
            "fp4_tflops": gpu.fp4_tflops,
            "link_gb_s": gpu.link_gb_per_second,
            "pcie_gb_s": gpu.pcie_gb_per_second,
            "source": gpu.source,
            "source_specs": gpu.source_specs,
        }
        for gpu in gpu_types().values()
    ]


def _models() -> list[dict[str, Any]]:
    from kvplace.facts.catalogue.models import known_models
    from kvplace.units import GIB

    return [
        {
            "name": model.name,
            "dtype": model.weight_dtype,
            "weights_gib": round(model.weights_bytes / GIB, 3),
            "loaded_gib": round(model.loaded_bytes / GIB, 3) if model.loaded_bytes else None,
            "kv_bytes_per_token": model.kv_bytes_per_token,
            "window_tokens": model.window_tokens,
            "beyond_window": model.kv_bytes_per_token_beyond_window,
            "kv_bytes_per_sequence": model.kv_bytes_per_sequence,
            "attention": model.attention,
            "context_tokens": model.context_tokens,
            "source": model.source,
            "note": model.note,
            "loaded_source": model.loaded_source,
        }
        for model in known_models().values()
    ]


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a row for people; sources are in the other forms."""
    left = {
        "source", "source_specs", "source_tdp", "note", "loaded_source", "loaded_gib",
        "window_tokens", "kv_bytes_per_token_beyond_window",
    }  # fmt: skip
    return {
        name: "?" if value is None and name == "kv_bytes_per_sequence" else _cell(value)
        for name, value in row.items()
        if name not in left
    }


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
