"""``kvplace backtest``: ways of re-planning over a recorded demand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.inputs.demand_source import aliases_of, log_options, read_trace_options
from kvplace.cli.options import (
    FLEET,
    IN_FILE,
    NAMED_FILE,
    RAY,
    SHARE,
    input_options,
    nearest_choice,
    output_options,
)
from kvplace.cli.running.replan import TIME
from kvplace.cli.verb import verb
from kvplace.cores import usable_cores

if TYPE_CHECKING:
    from kvplace.core.problem import Problem
    from kvplace.demand.series import DemandSeries
    from kvplace.replan.history.backtest import Track
    from kvplace.replan.history.demands import Demands

WAYS = ("never", "peak", "scratch", "budget", "threshold")

_EXAMPLES = """\b
Examples:
  kvplace backtest fleet.yaml --trace requests.csv --step 10min --max-moves 3
  kvplace backtest fleet.yaml --trace counts.csv --policy never --policy threshold --plot churn.svg
"""


@verb("backtest", epilog=_EXAMPLES)
@FLEET
@click.option("--trace", required=True, metavar="FILE", help="The log, as kvplace demand reads it.")
@click.option(
    "--policy",
    "ways",
    multiple=True,
    type=nearest_choice(WAYS),
    help="Ways to compare, all by default. never: the first plan stays. peak: one plan for every "
    "model's highest rate. scratch: a fresh plan before every window. budget: the best within "
    "--max-moves before every window. threshold: the same where the limits below say so.",
)
@click.option(
    "--current", type=IN_FILE, metavar="FILE", help="What runs first. Default: a fresh plan."
)
@click.option(
    "--max-moves",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="Changes allowed before each window.",
)
@click.option(
    "--min-gain",
    type=SHARE,
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="As in kvplace replan.",
)
@click.option(
    "--gain",
    type=SHARE,
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="threshold: least share that must come off the highest pressure.",
)
@click.option(
    "--cooldown",
    type=TIME,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="threshold: time between two re-plans.",
)
@click.option(
    "--above", type=SHARE, default=0.0, metavar="PRESSURE", help="threshold: act from there on."
)
@click.option(
    "--target",
    type=SHARE,
    default=1.0,
    show_default=True,
    metavar="PRESSURE",
    help="Pressure above which time is counted.",
)
@click.option(
    "--simulate",
    "simulated",
    type=TIME,
    default="0s",
    metavar="TIME",
    help="Also simulate this much of each window, request by request, and report the part of the "
    "requests that keep their objectives.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes to share the work. Default: one per core; the outcome is the same.",
)
@RAY
@click.option(
    "--plot", type=NAMED_FILE, metavar="FILE", help="Draw pressure over time: .svg, .png or .pdf."
)
@log_options
@input_options
@output_options
def command(
    fleet: str,
    trace: str,
    alias: tuple[str, ...],
    ways: tuple[str, ...],
    current: str | None,
    max_moves: int,
    min_gain: float,
    gain: float,
    cooldown: float,
    above: float,
    target: float,
    simulated: float,
    processes: int | None,
    ray: str,
    plot: str | None,
    objective: str | None,
    gpus: str | None,
    form: str,
    output: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Replay a trace on a FLEET, window by window, under several ways of re-planning.

    Before each window the demand of the window before it is known; what the placement is worth is
    computed from the demand of the window itself. Models of the trace are those of the fleet file
    by name, or by --alias.
    """
    from kvplace.cli.faults import say_as_notes
    from kvplace.cli.output import emit, emit_rows
    from kvplace.cli.running.current import read_current
    from kvplace.formats.read import read
    from kvplace.replan.history.backtest import Strategy, Way, backtest
    from kvplace.replan.history.trigger import Policy
    from kvplace.report.tables.scores import rows_csv, rows_json
    from kvplace.workers import Workers

    problem = read(fleet, objective=objective, gpus=gpus)
    series = read_trace_options(trace, options)
    demands, notes = demands_of(series, problem, alias)
    policy = Policy(gain=gain, cooldown_seconds=cooldown, above=above, below=above)
    chosen = list(dict.fromkeys(ways)) or list(WAYS)
    plans = [Strategy(Way(way), max_moves, min_gain, policy) for way in chosen]
    start = read_current(current, problem).placement if current else None
    workers = Workers(processes or usable_cores(), ray)
    tracks = backtest(
        problem, demands, plans, start=start, simulated_seconds=simulated, workers=workers
    )
    if not quiet:
        say_as_notes(notes)
    if plot is not None:
        from kvplace.report.plots.churn import draw_churn

        draw_churn(tracks, target, plot)
    if form == "table":
        emit_rows([_row(track, target) for track in tracks], output)
    elif form == "csv":
        emit(rows_csv([_figures(track, target) for track in tracks]), output, data=True)
    else:
        document = {
            "step_seconds": demands.step_seconds,
            "target": target,
            "policies": [
                _figures(track, target)
                | {
                    "values": list(track.values),
                    "moves_by_window": list(track.moves),
                    "requests_by_window": list(track.requests),
                    "kept_by_window": list(track.kept),
                }
                for track in tracks
            ],
        }
        emit(rows_json(document), output, data=True)
    return 0


def demands_of(
    series: "DemandSeries", problem: "Problem", alias: Sequence[str]
) -> "tuple[Demands, list[str]]":
    """Return the rates of the fleet's models, and what of the trace is not used.

    Raises
    ------
    InputError
        No model of the trace is one of the fleet's, or an alias names what is not there.
    """
    from kvplace.demand.series import near_name
    from kvplace.errors import InputError
    from kvplace.replan.history.demands import Demands
    from kvplace.units import format_count

    aliases = aliases_of(alias)
    series.check_names(aliases)
    absent = [model for model in aliases.values() if model not in problem.index_of]
    if absent:
        near = near_name(absent[0], problem.names)
        meant = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"{absent[0]!r} is no model of the fleet file{meant}", "--alias")
    series = series.named(aliases)
    known = [name for name in series.models if name in problem.index_of]
    if not known:
        raise InputError(
            f"no model of the trace is in the fleet file, {problem.names[0]!r} the first of which; "
            f"pass --alias {series.models[0]}=MODEL, or name one so there",
            series.origin,
        )
    rows = dict(zip(series.models, series.requests, strict=True))
    covered = series.covered_seconds
    seen = covered > 0
    rates = {name: (rows[name][seen] / covered[seen]).tolist() for name in known}
    unused = len(series.models) - len(known)
    notes = list(series.notes)
    if unused:
        notes.append(f"not in the fleet file: {format_count(unused, 'model')} of the trace")
    silent = [name for name in problem.names if name not in rates]
    if silent:
        found = format_count(len(silent), "model")
        notes.append(f"not in the trace: {found}, whose rates stay as they are")
    if not all(seen):
        missing = format_count(int((~seen).sum()), "window")
        notes.append(f"left out: {missing} without observation")
    return Demands(rates, series.step_seconds), notes


def _figures(track: "Track", target: float) -> dict[str, Any]:
    return {
        "policy": track.way,
        "mean_pressure": track.mean,
        "peak_pressure": track.peak,
        "changes": sum(track.moves),
        "loaded_bytes": sum(track.loaded_bytes),
        "seconds_over_target": track.seconds_over(target),
        "served_share": track.served,
        "windows": len(track.values),
    }


def _row(track: "Track", target: float) -> dict[str, str]:
    from kvplace.report.summary import format_kvpr
    from kvplace.units import format_bytes, format_seconds

    row = {
        "policy": track.way,
        "mean": format_kvpr(track.mean),
        "peak": format_kvpr(track.peak),
        "changes": f"{sum(track.moves):,}",
        "weights": format_bytes(sum(track.loaded_bytes)),
        f"above {target:g}": format_seconds(track.seconds_over(target)),
    }
    return row if track.served is None else row | {"served": f"{track.served:.2%}"}
