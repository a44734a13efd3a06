"""``kvplace export``: a plan as the files of a runtime, or a proposal as a runbook."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, NAMED_FILE, PLAN_FILE, nearest_choice
from kvplace.cli.plans import fleet_option, load, load_other, schema_of
from kvplace.cli.verb import refuse_same, verb

if TYPE_CHECKING:
    from kvplace.export.export import Export

# The names in kvplace.export.files.EXPORTS, which costs more to import than --help is worth; a
# test keeps the two equal.
RUNTIMES = (
    "kvcached", "aibrix", "compose", "shell", "kubernetes", "ray-serve", "llama-swap", "prism",
    "prometheus",
)  # fmt: skip

_NEXT = {
    "compose": "on the host of each file, docker compose -f {0}/FILE up -d",
    "kubernetes": "kubectl apply -f {0}",
    "aibrix": "kubectl apply -f {0}",
    "shell": "on the host of each script, bash {0}/FILE",
    "ray-serve": "serve deploy {0}/FILE",
    "kvcached": "on the host of each node file, python launch.py --config {0}/FILE; then, once, "
    "python frontend.py --config {0}/frontend.yaml --port 8080",
    "prism": "on the host of each file, Prism's launcher with {0}/FILE as its list of models",
    "prometheus": "name {0}/kvplace-rules.yaml under rule_files of Prometheus",
    "llama-swap": "on the host of each file, llama-swap --config {0}/FILE --listen :8080",
}
"""What starts what was written; the other runtimes' files say it in their first lines."""

_MOST_NAMED = 20
"""Other files of a directory that are named."""

_EXAMPLES = """\b
Examples:
  kvplace export plan.json --to compose --output deploy
  kvplace export plan.json --to kubernetes --diff running.json --output changes
  kvplace export proposal.json --to compose --output change
  kvplace export plan.json --to kvcached --address h100-0=10.0.0.5 --output deploy
"""


@verb("export", epilog=_EXAMPLES)
@PLAN_FILE
@click.option(
    "--to", "runtime", required=True, type=nearest_choice(RUNTIMES), help="Runtime to write for."
)
@click.option(
    "--output",
    "-o",
    required=True,
    type=NAMED_FILE,
    metavar="DIR",
    help="Directory to write to; each file is written whole or not at all.",
)
@click.option(
    "--diff",
    "before",
    type=IN_FILE,
    metavar="PLAN",
    help="Plan that runs now: write only files that differ from its export.",
)
@fleet_option
@click.option(
    "--kv",
    "pool",
    type=nearest_choice(["static", "kvcached"]),
    default="static",
    show_default=True,
    help="KV memory of engines that share a GPU, for compose, shell and kubernetes: fixed parts "
    "in proportion to load, or one pool by kvcached.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1024, 65535),
    default=20000,
    show_default=True,
    metavar="PORT",
    help="First port of the engines of a node.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="NODE=HOST",
    help="Where a node is dialled, for kvcached and runbooks. Default: its name.",
)
@click.option(
    "--venv",
    default="~/kvcached/venv",
    show_default=True,
    metavar="DIR",
    help="kvcached: virtual environment of models that name none.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print no notes.")
def command(
    plan: str,
    runtime: str,
    output: str,
    before: str | None,
    fleet: str | None,
    gpus: str | None,
    pool: str,
    base_port: int,
    addresses: tuple[str, ...],
    venv: str,
    quiet: bool,
) -> int:
    """Write the files that put a PLAN into effect, or the runbook of a proposal.

    The plan is evaluated again first, and one that does not hold is not exported. How engines are
    launched stands in the fleet file (launch). Secrets are referenced, never written.

    Of a proposal (kvplace replan) it also writes runbook.sh: the commands of each step in the safe
    order. It has a dry run, stops at the first failure and goes on where it stopped; kvplace itself
    changes nothing.
    """
    from kvplace.cli.faults import say, say_as_notes
    from kvplace.export.export import export

    dialled = _addresses(addresses)
    proposed = schema_of(plan) == "kvplace.proposal/v1"
    if proposed:
        if before is not None:
            raise click.UsageError("a proposal knows what runs: leave --diff out")
        found = _runbook(plan, fleet, gpus, runtime, (base_port, pool, dialled, venv))
    else:
        found = export(
            load(plan, fleet, gpus),
            runtime,
            before=None if before is None else load_other(before, fleet, gpus),
            base_port=base_port,
            pool=pool,
            addresses=dialled,
            venv=venv,
        )
    for name in found.files:
        refuse_same(f"{output}/{name}", [plan, before, fleet, gpus], "--output")
    others = found.write(output)
    if not quiet:
        of = f" of {found.total}" if before is not None else ""
        noun = "file" if len(found.files) == 1 and not of else "files"
        say(f"{len(found.files)}{of} {noun} written to {output}")
        if found.files and not proposed and runtime in _NEXT:
            say(f"next: {_NEXT[runtime].format(output)}")
        for name in found.removed:
            say(f"no longer needed: {name}")
        strange = [f"{output}/{name}" for name in others if name not in found.removed]
        for path in strange[:_MOST_NAMED]:
            say(f"not of this export: {path}")
        if strange[_MOST_NAMED:]:
            say(f"and {len(strange) - _MOST_NAMED:,} more that are not of this export")
        say_as_notes(found.notes)
    return 0


def _runbook(
    path: str,
    fleet: str | None,
    gpus: str | None,
    runtime: str,
    options: "tuple[int, str, dict[str, str], str]",
) -> "Export":
    """Return the files of a proposal, with the script that carries it out."""
    from kvplace.checking.load import load_stated
    from kvplace.export.files import Options
    from kvplace.export.runbook.runbook import runbook
    from kvplace.formats.proposal import read_proposal, target_of

    proposal = read_proposal(path)
    result = load_stated(target_of(proposal, path), path, fleet, gpus=gpus)
    return runbook(proposal, result, runtime, Options(*options))


def _addresses(given: tuple[str, ...]) -> dict[str, str]:
    """Return addresses by node."""
    pairs = {}
    for text in given:
        node, mark, host = text.rpartition("=")
        if not mark or not node or not host:
            raise click.BadParameter(f"{text!r} is no NODE=HOST", param_hint="--address")
        pairs[node] = host
    return pairs
