"""``kvplace measure``: what engines took when they started, against the estimates."""

from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import IN_FILE, output_options
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.facts.memory.start_log import StartLog
    from kvplace.scaffold.measured import Compared

_EXAMPLES = """\b
Examples:
  kvplace measure vllm.log
  docker logs qwen 2>&1 | kvplace measure - --model Qwen/Qwen3-8B --gpu H100-SXM-80GB
  kvplace measure logs/*.log --fleet fleet.yaml --output fleet.yaml
"""


@verb("measure", epilog=_EXAMPLES, replaces={"output": ("fleet",)})
@click.argument("logs", nargs=-1, required=True, type=IN_FILE, metavar="LOG...")
@click.option("--model", metavar="NAME", help="Name of the model. Default: what the log says.")
@click.option("--gpu", metavar="TYPE", help="GPU that it ran on, as in kvplace catalogue gpus.")
@click.option(
    "--fleet",
    type=IN_FILE,
    metavar="FLEET",
    help="Write this fleet file with the figures in it, instead of showing them.",
)
@output_options
def command(
    logs: tuple[str, ...],
    model: str | None,
    gpu: str | None,
    fleet: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Read what engines print when they start, and hold it against the estimates.

    Knows the lines of vLLM (0.6 and later) and SGLang (0.4 and later): weights as loaded, what is
    left for KV cache, activations, CUDA graphs. Of the ranks of a copy the one with least left
    counts. With --fleet the fleet file is written with what a shard took besides KV cache as
    resident of its model, which then takes the place of the estimate; its comments stay.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, emit_rows
    from kvplace.errors import Fault, InputError
    from kvplace.facts.catalogue.gpus import gpu_type
    from kvplace.report.tables.scores import rows_csv, rows_json
    from kvplace.scaffold.measured import compare, written

    kind = None if gpu is None else gpu_type(gpu)
    found: list[Compared] = []
    faults: list[Fault] = []
    for name in logs:
        log = _read(name)
        if log is None:
            faults.append(Fault(f"{name}: no line of vLLM's or SGLang's start is in it"))
        elif not (model or log.model):
            faults.append(Fault(f"{name}: does not name its model; pass --model"))
        else:
            found.append(compare(log, model or log.model, kind))
    if faults:
        raise InputError(faults)
    if fleet is not None:
        _write_fleet(fleet, written, found, output)
    elif form == "table":
        emit_rows([_row(c) for c in found], output)
    elif form == "csv":
        emit(rows_csv([_figures(c) for c in found]), output, data=True)
    else:
        emit(rows_json({"logs": [_figures(c) for c in found]}), output, data=True)
    if not quiet:
        for line in _notes(found, fleet):
            say(line)
    return 0


def _read(name: str) -> "StartLog | None":
    """Return what one log tells."""
    from kvplace.facts.memory.start_log import read_start_log
    from kvplace.files import read_text

    shown = "stdin" if name == "/dev/stdin" else name
    return read_start_log(read_text(name).splitlines(), shown)


def _write_fleet(fleet: str, written: Any, found: "list[Compared]", output: str | None) -> None:
    """Write the fleet file, once it reads as one before and after."""
    from kvplace.cli.output import emit
    from kvplace.files import read_text
    from kvplace.formats.read import parse_fleet

    text = read_text(fleet)
    parse_fleet(text, fleet)
    new = written(text, fleet, found)
    parse_fleet(new, fleet)
    emit(new, output, data=True)


def _row(item: "Compared") -> dict[str, str]:
    """Return one line of the table."""
    log = item.log
    tokens = "?" if log.kv_tokens is None else f"{log.kv_tokens:,}"
    return {
        "model": item.model,
        "log": log.source,
        "engine": f"{log.engine} {log.release}".strip(),
        "TP": str(log.degree),
        "weights": _size(log.weights_bytes),
        "estimate": _size(item.expected_weights_bytes),
        "besides KV": _size(item.resident_bytes),
        "estimate ": _size(item.expected_resident_bytes),
        "KV left": _size(log.kv_bytes),
        "KV tokens": tokens,
    }


def _size(count: int | None) -> str:
    from kvplace.units import format_bytes

    return "?" if count is None else format_bytes(count, 2)


def _figures(item: "Compared") -> dict[str, Any]:
    """Return the figures in base units."""
    log = item.log
    return {
        "model": item.model,
        "log": log.source,
        "engine": log.engine,
        "release": log.release,
        "tensor_parallel": log.degree,
        "weights_bytes": log.weights_bytes,
        "expected_weights_bytes": item.expected_weights_bytes,
        "resident_bytes": item.resident_bytes,
        "expected_resident_bytes": item.expected_resident_bytes,
        "kv_bytes": log.kv_bytes,
        "kv_tokens": log.kv_tokens,
    }


def _notes(found: "list[Compared]", fleet: str | None) -> list[str]:
    """Return what a person should know of the figures."""
    lines = []
    for item in found:
        if item.log.on_cpu:
            lines.append(
                f"{item.log.source}: the engine runs on a CPU; its memory is not that of a GPU"
            )
        elif item.resident_bytes is None:
            lines.append(
                f"{item.log.source}: the log does not tell the GPU's memory; name it with --gpu"
            )
        elif item.expected_resident_bytes is None and fleet is None:
            lines.append(f"{item.model}: its shape is not known, so nothing was expected of it")
    return lines
