"""``kvplace observe``: what runs now, read from runtimes."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, output_options
from kvplace.cli.plans import fleet_option, load, schema_of
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.core.result import Result
    from kvplace.formats.observation import Observation
    from kvplace.formats.proposal import Proposal

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

AT = click.option(
    "--at",
    "placed",
    multiple=True,
    metavar="ADDRESS=GPU,GPU",
    help="GPUs of the engine at an address, in rank order.",
)
TOKEN = click.option(
    "--bearer-token-file",
    "token_file",
    type=IN_FILE,
    metavar="FILE",
    help="Token that is shown to whoever is asked, as Ray wants it.",
)


@verb("observe", epilog=_EXAMPLES)
@click.argument("sources", nargs=-1, required=True, metavar="RUNTIME=PLACE...")
@click.option(
    "--plan",
    type=IN_FILE,
    metavar="PLAN",
    help="The plan that is thought to run: its exports say which engine is on which GPUs. Or a "
    "proposal, for engines on both sides of it.",
)
@AT
@TOKEN
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
    from kvplace.cli.faults import say_as_notes
    from kvplace.cli.output import emit, emit_rows
    from kvplace.formats.observation import write_observation
    from kvplace.formats.proposal import PROPOSAL_SCHEMA, read_proposal
    from kvplace.report.tables.scores import rows_csv
    from kvplace.report.text import clean

    known: Result | Proposal | None = None
    if plan is not None:
        on_the_way = schema_of(plan) == PROPOSAL_SCHEMA
        known = read_proposal(plan) if on_the_way else load(plan, fleet, gpus)
    observation = asked(sources, known, placed, token_file)
    notes = observation.notes
    rows = [
        {
            "model": one.model,
            "gpus": " ".join(one.gpus),
            "state": one.state,
            "runtime": one.runtime,
            "address": one.address,
        }
        for one in observation.engines
    ]
    if form == "json":
        emit(write_observation(observation), output, data=True)
    elif form == "csv":
        text = rows_csv(rows) if rows else "model,gpus,state,runtime,address\n"
        emit(text, output, data=True)
    elif rows:
        shown = [{key: clean(value) or "?" for key, value in row.items()} for row in rows]
        emit_rows(shown, output)
    if not quiet:
        say_as_notes(notes)
    return 0 if rows or not notes else 4


def asked(
    sources: tuple[str, ...],
    plan: "Result | Proposal | None",
    placed: tuple[str, ...],
    token_file: str | None,
) -> "Observation":
    """Return what runtimes say, by the options of ``kvplace observe``."""
    from kvplace.files import read_text
    from kvplace.observe.observe import observe

    for text in sources:
        _check(text)
    return observe(
        sources,
        plan=plan,
        placed_at=dict(map(_placed, placed)),
        token=read_text(token_file).strip() if token_file else "",
    )


def _check(text: str) -> None:
    """Refuse what is no runtime and place."""
    runtime, mark, place = text.partition("=")
    if not mark or runtime not in RUNTIMES or not place:
        raise click.BadParameter(
            f"{text!r} is no RUNTIME=PLACE; runtimes are {', '.join(RUNTIMES)}",
            param_hint="RUNTIME=PLACE",
        )


def _placed(text: str) -> tuple[str, tuple[str, ...]]:
    """Return an address and the GPUs there."""
    address, mark, names = text.rpartition("=")
    found = tuple(name for name in names.split(",") if name)
    if not mark or not address or not found:
        raise click.BadParameter(f"{text!r} is no ADDRESS=GPU,GPU", param_hint="--at")
    return address.rstrip("/"), found
