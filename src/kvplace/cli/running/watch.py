"""``kvplace watch``: whether it is time to re-plan."""

import math
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.inputs.demand_source import (
    read_prometheus_options,
    read_trace_options,
    series_options,
)
from kvplace.cli.options import (
    FLEET,
    IN_FILE,
    NAMED_FILE,
    SHARE,
    TIME_LIMIT,
    input_options,
    output_options,
)
from kvplace.cli.running.replan import TIME
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.replan.history.trigger import History

_ACT = 1

_EXAMPLES = """\b
Examples:
  kvplace watch fleet.yaml --once --current running.json --trace last-hour.csv --above 0.8
  kvplace watch fleet.yaml --once --current now.json --prometheus http://prometheus:9090
"""


@verb("watch", epilog=_EXAMPLES)
@FLEET
@click.option(
    "--once", is_flag=True, required=True, help="Look once and end; a scheduler repeats it."
)
@click.option(
    "--current", required=True, type=IN_FILE, metavar="FILE", help="What runs, as for replan."
)
@click.option("--trace", metavar="FILE", help="Demand from a log: its last window counts.")
@click.option("--prometheus", metavar="URL", help="Demand from Prometheus: the last window counts.")
@click.option(
    "--history",
    type=NAMED_FILE,
    metavar="FILE",
    help="Keeps the time of the last re-plan, and whether the fleet is alarmed (JSON). It is "
    "written as if the advice were followed.",
)
@click.option("--max-moves", type=click.IntRange(0), default=3, show_default=True, metavar="N",
              help="Changes allowed.")  # fmt: skip
@click.option("--min-gain", type=SHARE, default=0.01, show_default=True, metavar="SHARE",
              help="As in kvplace replan.")  # fmt: skip
@click.option("--gain", type=SHARE, default=0.05, show_default=True, metavar="SHARE",
              help="Least share that must come off the highest pressure.")  # fmt: skip
@click.option("--gain-per-tib", type=SHARE, default=0.0, metavar="SHARE",
              help="The same for each TiB of weights to load.")  # fmt: skip
@click.option("--cooldown", type=TIME, default="0s", show_default=True, metavar="TIME",
              help="Time between two re-plans.")  # fmt: skip
@click.option("--above", type=SHARE, default=0.0, metavar="PRESSURE",
              help="Act from this highest pressure on.")  # fmt: skip
@click.option("--below", type=SHARE, metavar="PRESSURE",
              help="Be calm again below this one. Default: that of --above.")  # fmt: skip
@series_options
@input_options
@TIME_LIMIT
@output_options
def command(
    fleet: str,
    once: bool,  # noqa: ARG001 - required, so that a watch that goes on can be added
    current: str,
    trace: str | None,
    prometheus: str | None,
    alias: tuple[str, ...],
    history: str | None,
    max_moves: int,
    min_gain: float,
    gain: float,
    gain_per_tib: float,
    cooldown: float,
    above: float,
    below: float | None,
    objective: str | None,
    gpus: str | None,
    time_limit: float | None,
    form: str,
    output: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Say whether a FLEET is to be re-planned now, and why or why not.

    The demand is that of the last window of a trace or of Prometheus, or the fleet file's own.
    Nothing is changed. Exits with 1 where a re-plan is advised, with 0 where not.
    """
    from kvplace.cli.faults import say_as_notes
    from kvplace.cli.output import emit
    from kvplace.cli.run import watched
    from kvplace.cli.running.backtest import demands_of
    from kvplace.cli.running.current import read_current
    from kvplace.formats.read import read
    from kvplace.replan.history.demands import with_rates
    from kvplace.replan.history.trigger import Policy
    from kvplace.replan.outcome import Budget
    from kvplace.replan.watch import watch
    from kvplace.report.answers.replanned import moves_csv, replan_lines
    from kvplace.report.tables.scores import rows_json

    if trace is not None and prometheus is not None:
        raise click.UsageError("--trace and --prometheus are two sources; name one")
    if alias and trace is None and prometheus is None:
        raise click.UsageError("--alias needs --trace or --prometheus")
    calm = min(above, above if below is None else below)
    problem = read(fleet, objective=objective, gpus=gpus)
    notes: list[str] = []
    if trace is not None or prometheus is not None:
        if prometheus is not None:
            series = read_prometheus_options(prometheus, options, ())
        else:
            series = read_trace_options(trace or "", options)
        demands, notes = demands_of(series, problem, alias)
        problem = with_rates(problem, demands.at(demands.windows - 1))
    running = read_current(current, problem)
    with watched(time_limit, quiet=quiet) as clock:
        seen = watch(
            problem,
            running.placement,
            policy=Policy(gain, cooldown, above, calm, gain_per_tib),
            history=_read_history(history),
            budget=Budget(moves=max_moves, gain=min_gain),
            former=running.former,
            clock=clock,
        )
    decision, found = seen.decision, seen.replan
    if history is not None:
        _write_history(history, decision.history)
    if not quiet:
        say_as_notes((*notes, *running.notes))
    if form == "json":
        document = {
            "replan": decision.act,
            "reasons": list(decision.reasons),
            "value_now": found.before.value,
            "value_after": found.after.value if found.after else math.inf,
            "changes": len(found.changes),
            "loaded_bytes": found.schedule.loaded_bytes,
        }
        emit(rows_json(document), output, data=True)
    elif form == "csv":
        emit(moves_csv(found), output, data=True)
    else:
        head = "re-plan now" if decision.act else "leave it"
        emit(
            "\n".join([f"{head}: {'; '.join(decision.reasons)}", "", *replan_lines(found)]),
            output,
            data=False,
        )
    return _ACT if decision.act else 0


def _read_history(path: str | None) -> "History":
    """Return what is remembered; nothing where there is no file yet.

    Raises
    ------
    InputError
        The file is none of a history.
    """
    import json
    from pathlib import Path

    from kvplace.errors import InputError
    from kvplace.files import read_text
    from kvplace.replan.history.trigger import History

    if path is None or not Path(path).exists():
        return History()
    try:
        data = json.loads(read_text(path))
        last = data["last_replan_seconds"]
        return History(-math.inf if last is None else float(last), bool(data["alarmed"]))
    except (ValueError, KeyError, TypeError):
        message = "this is no history: it has last_replan_seconds (or null) and alarmed"
        raise InputError(message, path) from None


def _write_history(path: str, history: "History") -> None:
    from kvplace.files import write_atomic
    from kvplace.report.tables.scores import rows_json

    last = history.last_seconds
    data = {"last_replan_seconds": last, "alarmed": history.alarmed}
    write_atomic(path, rows_json(data))
