"""``kvplace simulate``: a plan, request by request."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, PLAN_FILE, QUANTILE, SECONDS, output_options
from kvplace.cli.plans import fleet_option
from kvplace.cli.serving.engines import BURST, LOADS, SEEDS, engine_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvplace.core.model import Model
    from kvplace.simulate.traffic import Traffic

__all__ = ["command"]

_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  kvplace simulate plan.json
  kvplace simulate plan.json --load 0.5..2 --burst 3 --seeds 0,1,2 --plot served.svg
  kvplace simulate plan.json --trace requests.csv --load 1
"""


@click.command("simulate", epilog=_EXAMPLES)
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
    "--level",
    type=QUANTILE,
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Part of the requests that must keep every objective (0.95 or 95%).",
)
@click.option(
    "--seconds",
    type=SECONDS,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Time in which requests come (600, 10min). The first tenth is not counted.",
)
@click.option(
    "--trace",
    type=IN_FILE,
    metavar="FILE",
    help="Replay this log of requests instead of drawing them: CSV, JSON lines or Parquet with "
    "model, time and token counts.",
)
@BURST
@click.option(
    "--prefix",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Part of each prompt that is one of 16 beginnings that requests of its model share.",
)
@click.option(
    "--seeds",
    type=SEEDS,
    default="0",
    show_default=True,
    metavar="SEEDS",
    help="Seeds of the requests, apart by commas; each is simulated at every load.",
)
@engine_options
@click.option("--plot", type=click.Path(), metavar="FILE", help="Draw attainment over load.")
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
    level: float,
    seconds: float,
    trace: str | None,
    burst: float,
    prefix: float,
    seeds: tuple[int, ...],
    sharing: str,
    router: str,
    pool: str,
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
    from kvplace.cli.serving.engines import engine_rules
    from kvplace.core.result import placed
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
        problem, placement = result.problem, placed(result)
        rules = engine_rules(sharing, router, pool)
        traffic = _traffic(problem.models, seconds, trace, burst, prefix)
        watch.tell("simulating")
        if loads is None:
            found = served(
                problem, placement, level=level, seeds=seeds, seconds=seconds, rules=rules,
                traffic=traffic, threads=threads, watch=watch,
            ).simulation  # fmt: skip
        else:
            found = simulate(
                problem, placement, loads=loads, seeds=seeds, seconds=seconds, rules=rules,
                traffic=traffic, threads=threads, watch=watch,
            )  # fmt: skip
    if not found.outcomes:
        say("kvplace: interrupted before a load was simulated")
        return _INTERRUPTED
    if plot is not None:
        draw_simulation(found, problem, level, plot)
    if form == "table":
        emit(simulation_table(found, level, look(output), every=every), output, data=False)
    else:
        text = simulation_json(found, level) if form == "json" else simulation_csv(found)
        emit(text, output, data=True)
    if not quiet and (form != "table" or output is not None):
        say(served_sentence(found, level))
    return 0


def _traffic(
    models: "Sequence[Model]", seconds: float, trace: str | None, burst: float, prefix: float
) -> "Callable[[float, int], Traffic]":
    """Return the requests by load and seed: drawn, or those of a log."""
    from kvplace.simulate.traffic import drawn, replayed

    if trace is None:
        return lambda load, seed: drawn(
            models, seconds, load=load, seed=seed, burst=burst, prefix_share=prefix
        )
    from kvplace.demand.logs.requests import read_requests
    from kvplace.errors import InputError

    requests = read_requests(trace)
    names = [model.name for model in models]
    if not set(names) & set(requests):
        shown = ", ".join(sorted(requests)[:5])
        raise InputError(f"it has requests of none of the plan's models, but of {shown}", trace)
    return lambda load, _seed: replayed(names, requests, load=load)
