"""``kvplace compare``: which of several plans serves most."""

import click

from kvplace.cli.options import IN_FILE, NAMED_FILE, output_options
from kvplace.cli.plans import fleet_option
from kvplace.cli.serving.engines import Play, play_options
from kvplace.cli.verb import verb

_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  kvplace compare running.json plan.json
  kvplace compare a.json b.json c.json --seeds 0,1,2,3 --prices prices.yaml --plot served.svg
"""


@verb("compare", epilog=_EXAMPLES)
@click.argument("plans", type=IN_FILE, metavar="PLAN...", nargs=-1, required=True)
@fleet_option
@play_options("0,1,2", "every plan gets the same ones")
@click.option(
    "--prices",
    type=IN_FILE,
    metavar="FILE",
    help="YAML of GPU types and what one costs per hour.",
)
@click.option("--plot", type=NAMED_FILE, metavar="FILE", help="Draw what each plan serves.")
@output_options
def command(
    plans: tuple[str, ...],
    fleet: str | None,
    gpus: str | None,
    play: Play,
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
            loaded, level=play.level, seeds=play.seeds, seconds=play.seconds, burst=play.burst,
            rules=play.rules(), prices=costs, workers=play.workers(), watch=watch,
        )  # fmt: skip
    if not any(one.loads for one in found):
        say("kvplace: interrupted before a plan was simulated")
        return _INTERRUPTED
    if plot is not None:
        draw_compared(found, play.level, plot)
    if as_markdown():
        emit(compared_markdown(found, play.level), output, data=True)
    elif form == "table":
        emit(compared_table(found, play.level, look(output)), output, data=False)
    else:
        emit(
            compared_json(found, play.level) if form == "json" else compared_csv(found),
            output,
            data=True,
        )
    return 0
