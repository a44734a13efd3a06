"""Plans as input: read, put together with their problem, and evaluated again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, Command

if TYPE_CHECKING:
    from kvplace.core.evaluation.evaluate import Evaluation
    from kvplace.core.placement import Placement
    from kvplace.core.problem import Problem
    from kvplace.formats.plan.stated import Plan

__all__ = ["Loaded", "fleet_option", "load", "load_other"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan that holds.

    Parameters
    ----------
    name
        Of its file.
    problem, placement, evaluation
        What it is for, what it decides, and what that is worth: computed, not read.
    plan
        What the file states; None for a table, which states little.
    """

    name: str
    problem: "Problem"
    placement: "Placement"
    evaluation: "Evaluation"
    plan: "Plan | None"


def fleet_option(command: Command) -> Command:
    """Add the fleet file, for plans that do not carry their models."""
    for option in (
        click.option(
            "--gpus", metavar="SPEC", help="The GPUs, where --fleet names a CSV of models."
        ),
        click.option(
            "--fleet",
            type=IN_FILE,
            metavar="FLEET",
            help="The fleet file: for a plan in CSV, or to launch otherwise than the plan says.",
        ),
    ):
        command = option(command)
    return command


def load(path: str, fleet: str | None, gpus: str | None = None) -> Loaded:
    """Read a plan and evaluate it again.

    Parameters
    ----------
    path
        JSON or CSV.
    fleet, gpus
        The fleet file, and its GPUs where it is a table; None where the plan carries its problem.

    Raises
    ------
    InputError
        The plan cannot be read, has no placement, or is not what it states.
    """
    from kvplace.core.evaluation.evaluate import evaluate
    from kvplace.errors import Fault, InputError
    from kvplace.formats.plan.check import check
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.problem import problem_of
    from kvplace.formats.plan.stated import Plan
    from kvplace.formats.read import read

    stated = read_plan(path)
    plan = stated if isinstance(stated, Plan) else None
    if not stated.placement.replicas:
        raise InputError("this plan places nothing", path)
    if fleet is not None:
        problem = read(fleet, objective=plan.objective if plan else None, gpus=gpus)
    elif plan is None:
        raise InputError(
            "a table does not carry its models; name its fleet file with --fleet", path
        )
    else:
        problem = problem_of(plan, path)
    found = check(problem, stated)
    if not found.agrees:
        raise InputError([Fault(one.message, one.path) for one in found], path)
    evaluation = found.evaluation or evaluate(problem, stated.placement)
    return Loaded(path, problem, stated.placement, evaluation, plan)


def load_other(path: str, fleet: str | None, gpus: str | None) -> Loaded:
    """Read a plan to compare with: the fleet file is for it only where it is a table."""
    table = path.lower().endswith((".csv", ".parquet"))
    return load(path, fleet if table else None, gpus if table else None)
