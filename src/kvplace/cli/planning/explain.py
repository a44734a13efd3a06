"""``kvplace explain``: why not, or what would help."""

import click

from kvplace.cli.options import FLEET, IN_FILE, input_options, limit_options, output_options
from kvplace.cli.verb import verb

_NO_PLACEMENT = {"infeasible": 3, "unknown": 4}
_SECONDS = 30.0

_EXAMPLES = """\b
Examples:
  kvplace explain fleet.yaml
  kvplace explain fleet.yaml plan.json --format json
"""


@verb("explain", epilog=_EXAMPLES)
@FLEET
@click.argument("plan", type=IN_FILE, metavar="[PLAN]", required=False)
@input_options
@limit_options
@output_options
def command(
    fleet: str,
    plan: str | None,
    objective: str | None,
    gpus: str | None,
    time_limit: float | None,
    seed: int,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Explain why a FLEET cannot be placed, or what holds its plan and what would help.

    Where no placement exists: a smallest set of demands that clash, proved and with numbers, and
    ways out, each verified by a placement. Otherwise: what holds the GPU with the highest pressure,
    and what would lower it most, each with the pressure that it would give, found by planning the
    changed fleet. With a PLAN, that one is explained, else the best that is found. Without
    --time-limit it takes 30 seconds at most. Exits with 3 where no placement exists.
    """
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit, look, say_notes
    from kvplace.cli.run import watched
    from kvplace.errors import InputError
    from kvplace.explain.explain import explain
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.problem import under_scenarios
    from kvplace.formats.read import read
    from kvplace.report.answers.explained import explained_csv, explained_json, explained_table
    from kvplace.report.summary import summary

    with watched(time_limit or _SECONDS, quiet=quiet, reads=True) as watch:
        stated = None if plan is None else read_plan(plan)
        wanted = objective or getattr(stated, "objective", None)
        problem = read(fleet, objective=wanted, gpus=gpus)
        problem = problem if stated is None else under_scenarios(problem, stated)
        try:
            placement = None if stated is None else stated.placement
            watch.restart()
            found = explain(problem, placement, seed=seed, watch=watch)
        except InputError as error:
            if error.source != "placement":
                raise
            raise InputError(error.faults, plan or "") from error
    if form == "table":
        emit(explained_table(found, look(output)), output, data=False)
    else:
        emit(explained_json(found) if form == "json" else explained_csv(found), output, data=True)
    if not quiet and (form != "table" or output is not None):
        say(summary(found.result))
    if not quiet:
        say_notes(found.result.problem, found.result.evaluation)
    return _NO_PLACEMENT.get(found.result.status, 0)
