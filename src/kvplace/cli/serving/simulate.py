"""``kvplace simulate``: a plan, request by request."""

from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import IN_FILE, NAMED_FILE, PLAN_FILE, output_options
from kvplace.cli.plans import fleet_option
from kvplace.cli.serving.engines import LOADS, Play, play_options
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvplace.core.models.model import Model
    from kvplace.simulate.traffic import Traffic

_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  kvplace simulate plan.json
  kvplace simulate plan.json --load 0.5..2 --burst 3 --seeds 0,1,2 --plot served.svg
  kvplace simulate plan.json --trace requests.csv --load 1
"""


@verb("simulate", epilog=_EXAMPLES)
@PLAN_FILE
@fleet_option
@click.option(
    "--load",
    "loads",
    type=LOADS,
    metavar="LOADS",
    help="Factors on the stated demand: a range such as 0.5..2, or a list. Default: as many as it "
    "takes to find the load up to which the level is kept.",
)
@click.option(
    "--trace",
    type=IN_FILE,
    metavar="FILE",
    help="Replay this log of requests instead of drawing them: CSV, JSON lines or Parquet with "
    "model, time and token counts.",
)
@click.option(
    "--prefix",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Part of each prompt that is one of 16 beginnings that requests of its model share.",
)
@play_options("0", "each is simulated at every load")
@click.option("--plot", type=NAMED_FILE, metavar="FILE", help="Draw attainment over load.")
@click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Cores to use. Default: all. The result does not depend on it.",
)
@output_options
@click.option("--all", "every", is_flag=True, help="List every model in the table.")
def command(
    plan: str,
    fleet: str | None,
    gpus: str | None,
    loads: tuple[float, ...] | None,
    trace: str | None,
    prefix: float,
    play: Play,
    plot: str | None,
    threads: int | None,
    form: str,
    output: str | None,
    quiet: bool,
    every: bool,
) -> int:
    """Simulate a PLAN event by event, and find how much of its demand it serves.

    Engines follow the scheduling rules of vLLM: continuous batching, prompts in chunks, one KV
    pool per GPU with preemption and recomputation. Requests are drawn from the demand in the plan,
    or replayed. Ctrl-C gives what was simulated until then.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, look
    from kvplace.cli.plans import load as load_plan
    from kvplace.cli.run import watched
    from kvplace.report.answers.simulated import (
        draw_simulation,
        served_sentence,
        simulation_csv,
        simulation_json,
        simulation_table,
    )
    from kvplace.simulate.run import simulate
    from kvplace.simulate.served import served

    with watched(None, quiet=quiet) as watch:
        result = load_plan(plan, fleet, gpus)
        traffic = _traffic(result.problem.models, play, trace, prefix)
        watch.tell("simulating")
        settings: dict[str, Any] = {
            "seeds": play.seeds, "seconds": play.seconds, "rules": play.rules(),
            "traffic": traffic, "threads": threads, "workers": play.workers(), "watch": watch,
        }  # fmt: skip
        if loads is None:
            found = served(result, level=play.level, **settings).simulation
        else:
            found = simulate(result, loads=loads, **settings)
    if not found.outcomes:
        say("kvplace: interrupted before a load was simulated")
        return _INTERRUPTED
    if plot is not None:
        draw_simulation(found, result.problem, play.level, plot)
    if form == "table":
        emit(simulation_table(found, play.level, look(output), every=every), output, data=False)
    else:
        text = simulation_json(found, play.level) if form == "json" else simulation_csv(found)
        emit(text, output, data=True)
    if not quiet and (form != "table" or output is not None):
        say(served_sentence(found, play.level))
    return 0


def _traffic(
    models: "Sequence[Model]", play: Play, trace: str | None, prefix: float
) -> "Callable[[float, int], Traffic]":
    """Return the requests by load and seed: drawn, or those of a log."""
    from kvplace.simulate.traffic import Drawn, Replayed

    if trace is None:
        return Drawn(models, play.seconds, play.burst, prefix)
    from kvplace.demand.logs.requests import read_requests
    from kvplace.errors import InputError

    requests = read_requests(trace)
    names = [model.name for model in models]
    if not set(names) & set(requests):
        shown = ", ".join(sorted(requests)[:5])
        raise InputError(f"it has requests of none of the plan's models, but of {shown}", trace)
    return Replayed(names, requests)
