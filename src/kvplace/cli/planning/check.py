"""``kvplace check``: whether a plan is what it says, computed from scratch."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kvplace.cli.options import (
    FLEET,
    PLAN_FILE,
    TIME_LIMIT,
    Command,
    input_options,
    output_options,
)
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.checking.check import Check
    from kvplace.core.problem import Problem
    from kvplace.formats.plan.stated import Plan
    from kvplace.formats.plan.table import PlanTable

_DISAGREES = 1
_LOOKED_AT = 5000  # models up to which a plan is evaluated once more, for what else is to be told

_EXAMPLES = """\b
Example:
  kvplace check fleet.yaml plan.json
"""


def _input_options(command: Command) -> Command:
    """Add the input options; a plan names its objective."""
    return input_options(command, default="that of the plan")


@verb("check", epilog=_EXAMPLES)
@FLEET
@PLAN_FILE
@_input_options
@click.option(
    "--strict", is_flag=True, help="Exit with 1 also where something is claimed and not verified."
)
@click.option(
    "--repeat",
    "again",
    is_flag=True,
    help="Decide what is only claimed anew, by a search from scratch.",
)
@TIME_LIMIT
@output_options
def command(
    fleet: str,
    plan: str,
    objective: str | None,
    gpus: str | None,
    strict: bool,
    again: bool,
    time_limit: float | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Check a PLAN against a FLEET file, believing nothing it states.

    Everything is computed again: the placement, every number of every GPU, the bound by its
    certificate, the status. Each finding is wrong, verified, or claimed: stated, and not verified
    here, such as a bound by an exhaustive search. PLAN is JSON or Parquet or, with less to check,
    CSV. The objective is the plan's own unless another is asked for. Exits with 1 if anything is
    wrong.
    """
    from kvplace.checking.check import check
    from kvplace.cli.output import emit, say_notes
    from kvplace.core.evaluation.evaluate import evaluate
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.problem import under_scenarios
    from kvplace.formats.read import read
    from kvplace.report.answers.checked import checked_csv, checked_json, checked_table

    stated = read_plan(plan)
    problem = read(fleet, objective=objective or getattr(stated, "objective", None), gpus=gpus)
    problem = under_scenarios(problem, stated)
    found = check(problem, stated)
    if again and found.claimed and found.agrees:
        found = _repeated(problem, stated, found, time_limit, quiet=quiet)
    if form == "table":
        verified = () if quiet else found.verified
        emit(checked_table(plan, found.disagreements, verified, found.claimed), output, data=False)
    else:
        render = checked_json if form == "json" else checked_csv
        emit(render(found.disagreements, found.verified, found.claimed), output, data=True)
    if not quiet and found.agrees and len(problem.models) <= _LOOKED_AT:
        say_notes(problem, evaluate(problem, stated.placement), every=True)
    return 0 if (found.holds if strict else found.agrees) else _DISAGREES


def _repeated(
    problem: "Problem",
    stated: "Plan | PlanTable",
    found: "Check",
    time_limit: float | None,
    *,
    quiet: bool,
) -> "Check":
    """Return the check with what a search from scratch says of the claims."""
    from kvplace.checking.check import Disagreement, check
    from kvplace.cli.run import watched
    from kvplace.explain.repeat import repeat

    with watched(time_limit, quiet=quiet) as watch:
        outcome = repeat(problem, found.open, watch)
    if outcome.refuted:
        wrong = Disagreement("objective.bound", outcome.sentence)
        return replace(found, disagreements=(wrong,), claimed=())
    if (evidence := outcome.result.proof.certificate) is not None:
        found = check(problem, stated, evidence)
    return replace(found, claimed=(*found.claimed, outcome.sentence)) if found.claimed else found
