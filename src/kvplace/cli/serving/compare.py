"""``kvplace compare``: which of several plans serves most."""

import click

from kvplace.cli.options import IN_FILE, QUANTILE, SECONDS, output_options
from kvplace.cli.plans import fleet_option
from kvplace.cli.serving.engines import BURST, SEEDS, engine_options

__all__ = ["command"]

_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  kvplace compare running.json plan.json
  kvplace compare a.json b.json c.json --seeds 0,1,2,3 --prices prices.yaml --plot served.svg
"""


@click.command("compare", epilog=_EXAMPLES)
@click.argument("plans", type=IN_FILE, metavar="PLAN...", nargs=-1, required=True)
@fleet_option
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
@BURST
@click.option(
    "--seeds",
    type=SEEDS,
    default="0,1,2",
    show_default=True,
    metavar="SEEDS",
    help="Seeds of the requests, apart by commas; every plan gets the same ones.",
)
@engine_options
@click.option(
    "--prices",
    type=click.Path(),
    metavar="FILE",
    help="YAML of GPU types and what one costs per hour.",
)
@click.option("--plot", type=click.Path(), metavar="FILE", help="Draw what each plan serves.")
@output_options
def command(
    plans: tuple[str, ...],
    fleet: str | None,
    gpus: str | None,
    level: float,
    seconds: float,
    burst: float,
    seeds: tuple[int, ...],
    sharing: str,
    router: str,
    pool: str,
    prices: str | None,
    plot: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Compare PLANs side by side: proved pressure, forecast, simulated served load, cost.

    Every plan gets the same requests, so differences are those of the plans. The served load is the
    largest factor on the stated demand at which the level is kept, as in `kvplace simulate`.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import as_markdown, emit, look
    from kvplace.cli.plans import load_other
    from kvplace.cli.run import watched
    from kvplace.cli.serving.engines import engine_rules
    from kvplace.formats.fleet.prices import read_prices
    from kvplace.report.answers.compared import (
        compared_csv,
        compared_json,
        compared_markdown,
        compared_table,
        draw_compared,
    )
    from kvplace.simulate.compare import compare

    costs = None if prices is None else read_prices(prices)
    with watched(None, quiet=quiet) as watch:
        loaded = {path: load_other(path, fleet, gpus) for path in plans}
        found = compare(
            loaded, level=level, seeds=seeds, seconds=seconds, burst=burst,
            rules=engine_rules(sharing, router, pool), prices=costs, watch=watch,
        )  # fmt: skip
    if not any(one.loads for one in found):
        say("kvplace: interrupted before a plan was simulated")
        return _INTERRUPTED
    if plot is not None:
        draw_compared(found, level, plot)
    if as_markdown():
        emit(compared_markdown(found, level), output, data=True)
    elif form == "table":
        emit(compared_table(found, level, look(output)), output, data=False)
    else:
        emit(
            compared_json(found, level) if form == "json" else compared_csv(found),
            output,
            data=True,
        )
    return 0
