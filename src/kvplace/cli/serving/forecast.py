"""``kvplace forecast``: what a plan is expected to serve."""

import click

from kvplace.cli.options import PLAN_FILE, output_options
from kvplace.cli.plans import fleet_option
from kvplace.cli.serving.engines import BURST, sharing_option
from kvplace.cli.verb import verb

_EXAMPLES = """\b
Examples:
  kvplace forecast plan.json
  kvplace forecast plan.json --load 1.5 --burst 3 --sharing mps
"""


@verb("forecast", epilog=_EXAMPLES)
@PLAN_FILE
@fleet_option
@click.option(
    "--load",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Factor on every rate.",
)
@BURST
@sharing_option
@output_options
@click.option("--all", "every", is_flag=True, help="List every model and every GPU in the table.")
def command(
    plan: str,
    fleet: str | None,
    gpus: str | None,
    load: float,
    burst: float,
    sharing: str,
    form: str,
    output: str | None,
    quiet: bool,
    every: bool,
) -> int:
    """Forecast what a PLAN serves: latencies, queues, pools, and who keeps the objectives.

    A mean-field fixed point: each engine runs as fast as the others on its GPU let it on average.
    It is an expectation and proves nothing; `kvplace simulate` plays the same plan request by
    request.
    """
    from kvplace.cli.faults import say, say_as_notes
    from kvplace.cli.output import emit, look, telling
    from kvplace.cli.plans import load as load_plan
    from kvplace.cli.serving.engines import engine_rules
    from kvplace.forecast.forecast import forecast
    from kvplace.report.answers.forecasted import (
        forecast_csv,
        forecast_json,
        forecast_table,
    )
    from kvplace.report.summary import forecast_sentence

    result = load_plan(plan, fleet, gpus)
    found = forecast(
        result, load=load, burst=burst, rules=engine_rules(sharing), watch=telling(quiet=quiet)
    )
    if form == "table":
        emit(forecast_table(found, look(output), every=every), output, data=False)
    else:
        emit(forecast_json(found) if form == "json" else forecast_csv(found), output, data=True)
    if not quiet and (form != "table" or output is not None):
        say(forecast_sentence(found))
        say_as_notes(found.notes)
    return 0
