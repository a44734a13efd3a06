"""``kvplace refine``: improve a placement that is there."""

import math

import click

from kvplace.cli.options import (
    ALL_GPUS,
    ALLOW_OVERLOAD,
    COUNT_OR_NONE,
    FLEET,
    IN_FILE,
    SHARE,
    TIME_LIMIT,
    Command,
    input_options,
    output_options,
)

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  kvplace refine fleet.yaml --start plan.json --iterations none
  kvplace refine fleet.yaml --start plan.json --objective forecast --time-limit 60
"""


def _input_options(command: Command) -> Command:
    """Add the input options, with the one objective that only this verb has."""
    return input_options(command, "forecast")


@click.command("refine", epilog=_EXAMPLES)
@FLEET
@click.option(
    "--start", "start", required=True, type=IN_FILE, metavar="PLAN", help="Plan to improve."
)
@_input_options
@click.option(
    "--iterations",
    type=COUNT_OR_NONE,
    default=50,
    show_default=True,
    metavar="N|none",
    help="Make at most N steps that lower the maximum: exchanges made. none goes on to the end, "
    "and then balances the rest.",
)
@click.option(
    "--tolerance",
    type=SHARE,
    default=1e-9,
    show_default=True,
    metavar="SHARE",
    help="Relative gain that a step must exceed.",
)
@click.option(
    "--memory-margin",
    type=SHARE,
    default=0.0,
    metavar="SHARE",
    help="Share of each GPU's memory that a step which takes memory there must leave free "
    "(0.05 or 5%).",
)
@TIME_LIMIT
@output_options
@ALL_GPUS
@ALLOW_OVERLOAD
def command(
    fleet: str,
    start: str,
    objective: str | None,
    gpus: str | None,
    iterations: float,
    tolerance: float,
    memory_margin: float,
    time_limit: float | None,
    form: str,
    output: str | None,
    quiet: bool,
    every_gpu: bool,
    allow_overload: bool,
) -> int:
    """Improve a PLAN for a FLEET file by moving and swapping models.

    Takes the GPU with the highest KVPR, moves one of its models or swaps it with another GPU's
    where that lowers the larger of the two, and repeats. The plan returned is never worse than
    the one given; any plan of these models and GPUs will do, wherever it comes from. What breaks
    a rule or exceeds a GPU is repaired first, by as few changes as are found to be enough, and
    refused only where no way is found or none exists; the message says which.

    With --objective forecast the search moves and swaps models so that more of the demand is
    forecast to be served within its objectives. The forecast has no bound, so nothing is proved
    about it; the plan's KVPR and bound are those of the fleet's own objective.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import print_result, writing_seconds
    from kvplace.cli.run import watched
    from kvplace.errors import InputError
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.problem import under_scenarios
    from kvplace.formats.read import read
    from kvplace.report.answers.forecasted import forecast_gain
    from kvplace.solver.solve import refine

    with watched(time_limit, quiet=quiet) as watch:
        by_forecast = objective == "forecast"
        problem = read(fleet, objective=None if by_forecast else objective, gpus=gpus)
        stated = read_plan(start)
        problem, placement = under_scenarios(problem, stated), stated.placement
        watch.restart()
        watch.set_aside(writing_seconds(len(problem.models), form, output))
        try:
            if by_forecast:
                from kvplace.forecast.search import refine_forecast

                found = refine_forecast(problem, placement, watch=watch)
                if not quiet:
                    say(f"kvplace: {forecast_gain(found)}")
                placement, iterations = found.placement, 0
            result = refine(
                problem,
                placement,
                iterations=None if math.isinf(iterations) else int(iterations),
                tolerance=tolerance,
                memory_margin=memory_margin,
                watch=watch,
            )
        except InputError as error:
            if error.source != "placement":
                raise
            raise InputError(error.faults, start) from error  # the user knows it by its file
    return print_result(
        result, form, output, every_gpu=every_gpu, quiet=quiet, allow_overload=allow_overload
    )
