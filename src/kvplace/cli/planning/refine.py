"""``kvplace refine``: improve a placement that is there."""

import math
from typing import TYPE_CHECKING

import click

from kvplace.cli.options import (
    ALL_GPUS,
    ALLOW_OVERLOAD,
    COUNT_OR_NONE,
    IN_FILE,
    SHARE,
    TIME_LIMIT,
    Command,
    input_options,
    output_options,
)
from kvplace.cli.verb import refuse_same, verb

if TYPE_CHECKING:
    from kvplace.core.placement import Placement
    from kvplace.core.problem import Problem

_EXAMPLES = """\b
Examples:
  kvplace refine plan.json --objective forecast --time-limit 60
  kvplace refine fleet.yaml --start plan.json --iterations none
"""


def _input_options(command: Command) -> Command:
    """Add the input options, with the one objective that only this verb has."""
    return input_options(command, "forecast", default="that of the plan; with --start, as in plan")


@verb("refine", epilog=_EXAMPLES, replaces={"output": ("file", "start")})
@click.argument("file", type=IN_FILE, metavar="PLAN|FLEET")
@click.option(
    "--start",
    type=IN_FILE,
    metavar="PLAN",
    help="Plan to improve, where the argument is a fleet file: for a table of a plan, or a fleet "
    "that has changed since.",
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
    file: str,
    start: str | None,
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
    """Improve a PLAN by moving and swapping models: for its own fleet, or for a FLEET file.

    Takes the GPU with the highest pressure, moves one of its models or swaps it with another GPU's
    where that lowers the larger of the two, and repeats. The plan returned is never worse than
    the one given; any plan of these models and GPUs will do, wherever it comes from. What breaks
    a rule or exceeds a GPU is repaired first, by as few changes as are found to be enough, and
    refused only where no way is found or none exists; the message says which.

    With --objective forecast the search moves and swaps models so that more of the demand is
    forecast to be served within its objectives. The forecast has no bound, so nothing is proved
    about it; the plan's pressure and bound are those of the fleet's own objective.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import print_result, writing_seconds
    from kvplace.cli.run import watched
    from kvplace.errors import InputError
    from kvplace.report.answers.forecasted import forecast_gain
    from kvplace.solver.solve import refine

    if start is not None:
        refuse_same(output, [file], "--output")
    with watched(time_limit, quiet=quiet, reads=True) as watch:
        by_forecast = objective == "forecast"
        problem, placement = _given(file, start, None if by_forecast else objective, gpus)
        reading = watch.seconds
        watch.restart()
        watch.set_aside(writing_seconds(problem, form, output, file, reading))
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
            # The user knows it by its file.
            raise InputError(error.faults, start or file) from error
    return print_result(
        result, form, output, every_gpu=every_gpu, quiet=quiet, allow_overload=allow_overload
    )


def _given(
    file: str, start: str | None, objective: str | None, gpus: str | None
) -> "tuple[Problem, Placement]":
    """Read what is to be improved: a plan with the models it carries, or for a fleet file."""
    from kvplace.errors import InputError
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.problem import problem_of, under_scenarios
    from kvplace.formats.plan.table import PlanTable
    from kvplace.formats.read import read

    if start is None and gpus is not None:
        message = "a plan names its GPUs itself; --gpus is for a table of models, with --start PLAN"
        raise InputError(message, file)
    problem = read(file, objective=objective, gpus=gpus) if start is not None else None
    stated = read_plan(start or file)
    if not isinstance(stated, PlanTable) and not stated.gpus:
        message = "this plan places nothing that could be improved; kvplace plan makes one"
        raise InputError(message, start or file)
    if problem is not None:
        return under_scenarios(problem, stated), stated.placement
    if isinstance(stated, PlanTable) or not stated.models:
        message = "this plan does not carry its models and where they are; name its fleet file: "
        raise InputError(f"{message}kvplace refine FLEET --start {file}", file)
    return problem_of(stated, file).with_objective(objective), stated.placement
