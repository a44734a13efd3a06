"""``kvplace init``: a commented fleet file from models, hosts and demand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.inputs.demand_source import (
    aliases_of,
    chosen_windows,
    demand_options,
    read_prometheus_options,
    read_trace_options,
)
from kvplace.cli.inputs.model import FACTS, KV_DTYPE
from kvplace.cli.options import IN_FILE, NAMED_FILE, OUT_FILE, SECONDS
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.demand.summary import DemandSummary
    from kvplace.demand.windows import DemandWindows
    from kvplace.scaffold.deployments.deployment import Unread

_EXAMPLES = """\b
Examples:
  kvplace init --models Qwen/Qwen3-8B,Qwen/Qwen3-32B --nodes 1x8xH100 --trace log.csv > fleet.yaml
  kvplace init --nodes 4x8xH100 --prometheus http://prometheus:9090 --output fleet.yaml
  kvplace init --nodes 4x8xH100 --trace log.parquet --windows 4 --output fleet.yaml
  kvplace init --from compose.yaml --nodes 1x8xH100 --current current.csv --output fleet.yaml
"""


class _Copies(click.ParamType["tuple[int, int]"]):
    """A number of copies, or the least and the most of them."""

    name = "copies"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        low, mark, high = str(value).partition("-")
        ends = (low, high if mark else low)
        if not all(end.isascii() and end.isdecimal() and len(end) < 7 for end in ends):
            self.fail(f"{value!r} is no number of copies; write it like 2 or 1-8", param, ctx)
        if not 1 <= int(ends[0]) <= int(ends[1]):
            self.fail(f"{value!r} must have 1 <= least <= most", param, ctx)
        return int(ends[0]), int(ends[1])


@verb("init", epilog=_EXAMPLES)
@click.option(
    "--models",
    multiple=True,
    metavar="NAME,...",
    help="Checkpoint directories or hub ids. Default: the models of the demand or of --from.",
)
@click.option(
    "--nodes",
    metavar="SPEC",
    help="Hosts x GPUs x type, such as 4x8xH100,2x4x80GiB; 8xH100 is one host.",
)
@click.option("--trace", type=NAMED_FILE, metavar="FILE", help="Demand: a request log.")
@click.option("--prometheus", metavar="URL", help="Demand: a Prometheus server.")
@click.option(
    "--from",
    "existing",
    type=IN_FILE,
    metavar="FILE",
    help="What runs now: a compose file, Kubernetes objects, or a config of Ray Serve, llama-swap, "
    "KServe, AIBrix, production-stack, kvcached or Prism.",
)
@click.option(
    "--current",
    type=NAMED_FILE,
    metavar="FILE",
    help="With --from: write the placement that runs now to this file, as the CSV of a plan.",
)
@click.option(
    "--keep-unknown",
    is_flag=True,
    help="With --from: keep the whole GPUs of what cannot be read, as a reservation.",
)
@click.option("--ttft", type=SECONDS, help="Objective: time to first token of every model (1s).")
@click.option("--tpot", type=SECONDS, help="Objective: time per output token (50ms).")
@click.option("--latency", type=SECONDS, help="Objective: time of a whole request.")
@click.option(
    "--tensor-parallel",
    "degree",
    type=click.IntRange(1, 1024),
    help="Degree of every model. Default: the smallest that leaves room for KV cache.",
)
@click.option(
    "--replicas",
    type=_Copies(),
    default="1",
    show_default=True,
    help="Copies of each model that the planner may choose (1-8).",
)
@click.option(
    "--windows",
    metavar="N|hour|weekday",
    help="Write the demand of N windows that stand for all, of each hour of the day, or of each "
    "weekday, as `kvplace demand --windows` chooses them.",
)
@KV_DTYPE
@FACTS
@demand_options
@click.option(
    "--output",
    "-o",
    type=OUT_FILE,
    metavar="FILE",
    help="Write to this file, if it is new.",
)
@click.option("--force", is_flag=True, help="Write over an --output file that is there.")
@click.option("--quiet", "-q", is_flag=True, help="Print no notes.")
def command(
    models: tuple[str, ...],
    nodes: str | None,
    trace: str | None,
    prometheus: str | None,
    existing: str | None,
    current: str | None,
    keep_unknown: bool,
    alias: tuple[str, ...],
    windows: str | None,
    output: str | None,
    force: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Write a commented fleet file, ready to edit: every number with its origin.

    Models come from --models, from the demand, or from a deployment (--from); their weights and
    caches from their files or the catalogue; their rates and tokens from a log or Prometheus.
    What cannot be known is an error that says which option gives it.
    """
    from kvplace.cli.faults import say, say_as_notes
    from kvplace.cli.output import emit
    from kvplace.scaffold.init import init
    from kvplace.scaffold.models import Wishes

    listed = (name.strip() for group in models for name in group.split(","))
    names = list(dict.fromkeys(name for name in listed if name))
    _check_usage(names, nodes, trace, prometheus, existing, current)
    if keep_unknown and not existing:
        raise click.UsageError("--keep-unknown needs --from")
    if output is not None and not force and Path(output).is_file():
        raise click.UsageError(f"{output} is there already; --force writes over it")
    if windows is not None and not (trace or prometheus):
        raise click.UsageError("--windows needs --trace or --prometheus")
    assert nodes is not None
    wishes = Wishes(
        ttft_seconds=options["ttft"],
        tpot_seconds=options["tpot"],
        latency_seconds=options["latency"],
        degree=options["degree"],
        replicas=options["replicas"],
        aliases=aliases_of(alias),
        facts=options["facts"],
        kv_dtype=options["kv_dtype"],
    )
    asked, by_window = _demand(trace, prometheus, windows, wishes.aliases, options)
    draft = init(
        nodes,
        names,
        demand=asked,
        windows=by_window,
        deployment=existing,
        wishes=wishes,
        keep_unknown=keep_unknown,
        running=current is not None,
    )
    if current is not None:
        emit(draft.running, current, data=True)
    emit(draft.text, output, data=True)
    # What holds GPUs is said even where notes are not wanted.
    for line in _unread(draft.unread, draft.reserved):
        say(line)
    if not quiet:
        say_as_notes(draft.notes)
        if output is not None:
            say(f"{output} is written; next: kvplace plan {output}")
        if output is not None and current is not None:
            say(f"from what runs: kvplace replan {output} --current {current}")
    return 0


def _unread(unread: "Sequence[Unread]", kept: Sequence[str]) -> list[str]:
    """Return what holds GPUs and was not read, a line each, and what became of it."""
    if not unread:
        return []
    count = f"{len(unread)} service{'s' * (len(unread) > 1)} on GPUs could not be read"
    named = ", ".join(kept[:4]) + (f" and {len(kept) - 4} more" if len(kept) > 4 else "")
    what = (
        f"and their GPUs are reserved whole ({named}), however little of one they take"
        if kept
        else "and the file knows nothing of them; --keep-unknown reserves their whole GPUs"
    )
    return [f"warning: {count}, {what}:", *(f"  {entry.describe()}" for entry in unread)]


def _check_usage(
    names: list[str],
    nodes: str | None,
    trace: str | None,
    prometheus: str | None,
    existing: str | None,
    current: str | None,
) -> None:
    """Refuse options that contradict each other or do not suffice."""
    if trace and prometheus:
        raise click.UsageError("--trace and --prometheus are two sources of one demand; pass one")
    if current and not existing:
        raise click.UsageError("--current needs --from")
    if current and Path(current).suffix.casefold() not in ("", ".csv"):
        raise click.UsageError(
            "--current writes CSV, which is read back by its name; end it in .csv"
        )
    if not (names or trace or prometheus or existing):
        raise click.UsageError("which models? pass --models, --trace, --prometheus or --from")
    if nodes is None:
        raise click.UsageError("which GPUs? pass --nodes, such as 4x8xH100")


def _demand(
    trace: str | None,
    prometheus: str | None,
    windows: str | None,
    aliases: Mapping[str, str],
    options: dict[str, Any],
) -> "tuple[DemandSummary | None, DemandWindows | None]":
    """Read the demand, if there is any, and that of its windows, if they are asked for."""
    if not trace and not prometheus:
        return None, None
    from kvplace.demand.summary import summarise

    if trace:
        series = read_trace_options(trace, options)
    else:
        assert prometheus is not None
        series = read_prometheus_options(prometheus, options)
    series = series.named(aliases)
    by_window = None if windows is None else chosen_windows(series, windows, options["quantile"])
    return summarise(series, options["quantile"]), by_window
