"""``kvplace plan``: from a fleet file to a plan."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kvplace.cli.options import (
    ALL_GPUS,
    ALLOW_OVERLOAD,
    COUNT_OR_NONE,
    FACTOR,
    FLEET,
    IN_FILE,
    QUANTILE,
    SHARE,
    input_options,
    limit_options,
    nearest_choice,
    output_options,
    solver_option,
)
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.core.problem import Problem
    from kvplace.core.result import Result
    from kvplace.solver.clock import Watch

_IMPOSSIBLE, _NOT_FOUND = 3, 4
_SECONDS, _PLANS, _GAP = 60.0, 10, 0.02
"""Time for a plan that survives, without a limit of the user's; into how many plans it is divided;
and when each is good enough."""

_EXAMPLES = """\b
Examples:
  kvplace plan fleet.yaml
  kvplace plan fleet.yaml --format json --output plan.json
  kvplace plan models.csv --gpus 8x80GiB
  kvplace plan fleet.yaml --forecast
  kvplace plan fleet.yaml --quantile 95% --robust 1.5
  kvplace plan fleet.yaml --least gpus --within 10%
  kvplace plan fleet.yaml --survive 1-node --format json --output plan.json
  kvplace plan models.parquet --gpus 100000x80GiB --output plan.parquet
"""


@verb("plan", epilog=_EXAMPLES)
@FLEET
@input_options
@solver_option
@limit_options
@click.option(
    "--gap",
    type=SHARE,
    default=0.0,
    metavar="SHARE",
    help="Stop once the plan is proved to be this near to the optimum (0.01 or 1%).",
)
@click.option(
    "--iterations",
    type=COUNT_OR_NONE,
    metavar="N|none",
    help="Make at most N steps of the search that lowers the maximum: exchanges made, and kicks "
    "or regrouped GPUs tried. Default: the solver's own end.",
)
@click.option(
    "--survive",
    type=nearest_choice(["1-gpu", "1-node"]),
    help="Leave room for the loss of any one GPU or node: what ran there can be restored "
    "elsewhere. Says what that costs.",
)
@click.option(
    "--quantile",
    type=QUANTILE,
    metavar="SHARE",
    help="Plan for what models need in this share of the time (95%), by rate, lengths and "
    "burstiness of demand, and not for means.",
)
@click.option(
    "--robust",
    type=FACTOR,
    metavar="FACTOR",
    help="Plan for the hottest models, all at once, being asked for this many times their demand "
    "(1.5). Says what the plan is worth when any of them is, and what robustness costs.",
)
@click.option(
    "--one-at-a-time",
    is_flag=True,
    help="With --robust: plan for one of the hottest models being hit, and not all at once.",
)
@click.option(
    "--least",
    type=nearest_choice(["gpus", "cost", "power"]),
    help="Among plans --within a part of the best pressure, look for the fewest GPUs, the least "
    "cost per hour (prices in the fleet file or --prices) or the least rated power. Names idle "
    "GPUs.",
)
@click.option(
    "--within",
    type=SHARE,
    metavar="SHARE",
    help="With --least: how much higher the pressure may be than the best found. Default: 5%.",
)
@click.option(
    "--prices",
    type=IN_FILE,
    metavar="FILE",
    help="With --least cost: YAML of GPU types and what one costs per hour.",
)
@click.option(
    "--forecast",
    "expect",
    is_flag=True,
    help="Say what the plan is forecast to serve: the part of the requests in time, TTFT and time "
    "per token of each model, in the table; with other forms in one sentence beside them.",
)
@output_options
@ALL_GPUS
@ALLOW_OVERLOAD
def command(
    fleet: str,
    objective: str | None,
    gpus: str | None,
    solver: str,
    time_limit: float | None,
    seed: int,
    gap: float,
    iterations: float | None,
    survive: str | None,
    quantile: float | None,
    robust: float | None,
    one_at_a_time: bool,
    least: str | None,
    within: float | None,
    prices: str | None,
    expect: bool,
    form: str,
    output: str | None,
    quiet: bool,
    every_gpu: bool,
    allow_overload: bool,
) -> int:
    """Place the models of a FLEET file on its GPUs.

    FLEET is a kvplace.fleet/v1 file in YAML or JSON, or a table of models, CSV or Parquet, together
    with --gpus. An --output that ends in .parquet is written in columns, one row per shard.
    The GPU with the highest pressure, on its KV memory or its time, is made as good as it can be,
    then the next.
    With --survive the exit code is 3 where it is proved that no plan survives, 4 where none was
    shown to: a loss could not be restored, or the search ended before every loss was tried. JSON
    names the outcome of each loss (failures), also then.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import print_result, writing_seconds
    from kvplace.cli.run import watched
    from kvplace.formats.read import read
    from kvplace.solver.solve import solve

    if robust is None and one_at_a_time:
        raise click.UsageError("--one-at-a-time goes with --robust")
    asked = [name for name, value in (
        ("--robust", robust), ("--survive", survive), ("--least", least)
    ) if value is not None]  # fmt: skip
    if len(asked) > 1 or (asked and solver != "auto"):
        raise click.UsageError(
            f"{asked[0]} goes with no {'other --solver' if len(asked) == 1 else asked[1]}"
        )
    if (within is not None or prices is not None) and least is None:
        raise click.UsageError("--within and --prices go with --least")
    told: list[str] = []
    with watched(time_limit, quiet=quiet, reads=True) as watch:
        watch.tell("read")
        problem = read(fleet, objective=objective, gpus=gpus)
        if quantile is not None:
            problem = _for_quantile(problem, quantile)
        reading = watch.seconds
        watch.restart()
        watch.set_aside(writing_seconds(problem, form, output, fleet, reading))
        steps = None if iterations is None else int(min(iterations, 2**62))
        if survive is not None:
            if expect:
                raise click.UsageError("--forecast goes with no --survive")
            return _surviving(problem, survive, watch, time_limit, steps, form, output, quiet=quiet)
        if robust is not None:
            result, told = _robust(problem, robust, watch, gap, seed, steps, alone=one_at_a_time)
        elif least is not None:
            share = 0.05 if within is None else within
            result, told = _fewer(problem, least, share, prices, watch, gap, seed, steps)
        else:
            result = solve(
                problem, gap=gap, seed=seed, solver=solver, iterations=steps, watch=watch
            )
        watch.tell("write")
        if output is not None:
            code = print_result(
                result,
                form,
                output,
                every_gpu=every_gpu,
                quiet=quiet,
                allow_overload=allow_overload,
                expect=expect,
                time_limit=time_limit,
            )
    if output is None:
        code = print_result(
            result,
            form,
            output,
            every_gpu=every_gpu,
            quiet=quiet,
            allow_overload=allow_overload,
            expect=expect,
            time_limit=time_limit,
        )
    for line in told:
        say(f"kvplace: {line}")
    return code


def _for_quantile(problem: "Problem", quantile: float) -> "Problem":
    """Return the problem of a quantile of what is needed."""
    from kvplace.core.models.objective import Objective
    from kvplace.errors import InputError

    if problem.goal is not Objective.PRESSURE:
        message = f"it needs the objective pressure (--objective), not {problem.goal.value}"
        raise InputError(message, "--quantile")
    try:
        return replace(problem, quantile=quantile)
    except InputError as error:
        raise InputError(error.faults, "--quantile") from error


def _robust(
    problem: "Problem",
    factor: float,
    watch: "Watch",
    gap: float,
    seed: int,
    steps: int | None,
    *,
    alone: bool,
) -> "tuple[Result, list[str]]":
    """Return a plan for scenarios, and what it is worth in each."""
    from kvplace.errors import InputError
    from kvplace.report.answers.robust import robust_lines
    from kvplace.solver.robust import solve_robust

    try:
        found = solve_robust(
            problem, factor, one_at_a_time=alone, gap=gap, seed=seed, iterations=steps, watch=watch
        )
    except InputError as error:
        raise InputError(error.faults, "--robust") from error
    return found.result, robust_lines(found)


def _fewer(
    problem: "Problem",
    what: str,
    within: float,
    prices: str | None,
    watch: "Watch",
    gap: float,
    seed: int,
    steps: int | None,
) -> "tuple[Result, list[str]]":
    """Return a plan that leaves GPUs idle, and what that saves."""
    from kvplace.formats.fleet.prices import read_prices
    from kvplace.report.answers.fewer import fewer_lines
    from kvplace.size.fewer import solve_fewer

    known = None if prices is None else read_prices(prices)
    found = solve_fewer(
        problem,
        what,
        within=within,
        prices=known,
        gap=gap,
        seed=seed,
        iterations=steps,
        watch=watch,
    )
    return found.result, fewer_lines(found)


def _surviving(
    problem: "Problem",
    what: str,
    watch: "Watch",
    time_limit: float | None,
    steps: int | None,
    form: str,
    output: str | None,
    *,
    quiet: bool,
) -> int:
    """Plan for failures, print the plan, and say what it comes to in each of them."""
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit_evidence, print_result
    from kvplace.replan.survive import survive
    from kvplace.report.answers.survived import survived_lines
    from kvplace.solver.clock import Within
    from kvplace.solver.solve import solve

    each = (_SECONDS if time_limit is None else time_limit) / _PLANS

    def plan(part: "Problem") -> "Result":
        return solve(part, gap=_GAP, iterations=steps, watch=Within(watch, each))

    found = survive(problem, what, plan, watch=watch)
    if found.holds or found.result.placement is None:
        code = print_result(found.result, form, output, every_gpu=False, quiet=quiet)
    else:
        code = _IMPOSSIBLE if found.impossible else _NOT_FOUND
        emit_evidence(found.result, form, output)
    for line in survived_lines(found, what):
        say(f"kvplace: {line}")
    return code
