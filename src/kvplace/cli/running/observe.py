"""``kvplace observe``: what runs now, read from runtimes."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, output_options
from kvplace.cli.plans import fleet_option, load

if TYPE_CHECKING:
    from kvplace.observe.sighting import Known

__all__ = ["RUNTIMES", "command"]

# The names in kvplace.observe.sources.SOURCES; a test keeps the two equal.
RUNTIMES = (
    "vllm", "sglang", "kvcached", "aibrix", "ray-serve", "llama-swap", "prometheus", "kubernetes",
    "compose",
)  # fmt: skip

_EXAMPLES = """\b
Examples:
  kvplace observe vllm=http://h100-0:20001 vllm=http://h100-1:20001 --plan running.json -o now.json
  kvplace observe aibrix=http://pool-0:8080 --plan running.json
  kvplace observe kubernetes=objects.json
  kvplace observe vllm=http://h100-0:8000 --at http://h100-0:8000=h100-0/0,h100-0/1
"""


@click.command("observe", epilog=_EXAMPLES)
@click.argument("sources", nargs=-1, required=True, metavar="RUNTIME=PLACE...")
@click.option(
    "--plan",
    type=IN_FILE,
    metavar="PLAN",
    help="The plan that is thought to run: its exports say which engine is on which GPUs.",
)
@click.option(
    "--at",
    "placed",
    multiple=True,
    metavar="ADDRESS=GPU,GPU",
    help="GPUs of the engine at an address, in rank order.",
)
@click.option(
    "--bearer-token-file",
    "token_file",
    type=IN_FILE,
    metavar="FILE",
    help="Token that is shown to whoever is asked, as Ray wants it.",
)
@fleet_option
@output_options
def command(
    sources: tuple[str, ...],
    plan: str | None,
    placed: tuple[str, ...],
    token_file: str | None,
    fleet: str | None,
    gpus: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Read what runs from runtimes: each RUNTIME=PLACE is an address that is asked, or a file.

    Nothing is changed. vllm, sglang, kvcached (its controller), aibrix (a pool's runtime),
    ray-serve (the dashboard), llama-swap and prometheus are asked over HTTP; kubernetes (what
    kubectl get -o json prints) and compose (a compose file, with what docker compose ps prints
    beside it) are files. JSON is an observation (kvplace.observation/v1), for replan --current and
    verify --observed. What does not answer or is not understood is named; if nothing answers, the
    exit code is 4.
    """
    from datetime import UTC, datetime

    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, emit_rows
    from kvplace.formats.files import read_text
    from kvplace.formats.observation import (
        OBSERVATION_SCHEMA,
        EnginePart,
        Observation,
        write_observation,
    )
    from kvplace.observe.answers import Asker
    from kvplace.observe.sighting import Sighting, identify
    from kvplace.observe.sources import read_source
    from kvplace.report.tables.scores import rows_csv
    from kvplace.report.text import clean

    stated = [_source(text) for text in sources]
    places = dict(map(_placed, placed))
    asker = Asker(read_text(token_file).strip() if token_file else "")
    known = _known(plan, fleet, gpus) if plan else []
    seen: list[Sighting] = []
    notes: list[str] = []
    for runtime, place in stated:
        found = read_source(runtime, place, asker)
        seen += found.engines
        notes += found.notes
    engines = identify(seen, known, places)
    rows = [
        {
            "model": model,
            "gpus": " ".join(one.gpus),
            "state": one.state,
            "runtime": one.runtime,
            "address": one.address,
        }
        for one, model in engines
    ]
    if form == "json":
        observation = Observation(
            schema=OBSERVATION_SCHEMA,
            observed=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            engines=tuple(
                EnginePart(
                    model=model, gpus=one.gpus, state=one.state, runtime=one.runtime,
                    address=one.address, since=one.since,
                )
                for one, model in engines
            ),
            notes=tuple(notes),
        )  # fmt: skip
        emit(write_observation(observation), output, data=True)
    elif form == "csv":
        text = rows_csv(rows) if rows else "model,gpus,state,runtime,address\n"
        emit(text, output, data=True)
    elif rows:
        shown = [{key: clean(value) or "?" for key, value in row.items()} for row in rows]
        emit_rows(shown, output)
    if not quiet:
        for note in notes:
            say(f"note: {note}")
    return 0 if engines or not notes else 4


def _source(text: str) -> tuple[str, str]:
    """Return runtime and place."""
    runtime, mark, place = text.partition("=")
    if not mark or runtime not in RUNTIMES or not place:
        raise click.BadParameter(
            f"{text!r} is no RUNTIME=PLACE; runtimes are {', '.join(RUNTIMES)}",
            param_hint="RUNTIME=PLACE",
        )
    return runtime, place


def _placed(text: str) -> tuple[str, tuple[str, ...]]:
    """Return an address and the GPUs there."""
    address, mark, names = text.rpartition("=")
    found = tuple(name for name in names.split(",") if name)
    if not mark or not address or not found:
        raise click.BadParameter(f"{text!r} is no ADDRESS=GPU,GPU", param_hint="--at")
    return address.rstrip("/"), found


def _known(plan: str, fleet: str | None, gpus: str | None) -> "list[Known]":
    """Return the engines of a plan as its exports name them."""
    from kvplace.core.result import placed
    from kvplace.export.layout import lay_out
    from kvplace.observe.sighting import Known

    result = load(plan, fleet, gpus)
    return [
        Known(e.model.name, (e.served_name, e.label), e.port, e.gpus)
        for e in lay_out(
            result.problem, placed(result), kept=result.kv_parts, names=result.engine_names
        ).engines
    ]
