"""``kvplace check``: whether a plan is what it says, computed from scratch."""

import click

from kvplace.cli.options import FLEET, PLAN_FILE, input_options, output_options

__all__ = ["command"]

_DISAGREES = 1

_EXAMPLES = """\b
Example:
  kvplace check fleet.yaml plan.json
"""


@click.command("check", epilog=_EXAMPLES)
@FLEET
@PLAN_FILE
@input_options
@output_options
def command(
    fleet: str,
    plan: str,
    objective: str | None,
    gpus: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Check a PLAN against a FLEET file, believing nothing it states.

    Everything is computed again: the placement, every number of every GPU, the bound by its
    certificate, the status. PLAN is JSON or Parquet or, with less to check, CSV. The objective is
    the plan's own unless another is asked for. Exits with 1 and names every disagreement.
    """
    from kvplace.cli.output import emit
    from kvplace.formats.plan.check import check
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.read import read
    from kvplace.report.checked import checked_csv, checked_json, checked_table

    stated = read_plan(plan)
    problem = read(fleet, objective=objective or getattr(stated, "objective", None), gpus=gpus)
    found = check(problem, stated)
    verified = () if quiet else found.verified
    if form == "table":
        emit(checked_table(plan, found.disagreements, verified), output, data=False)
    else:
        render = checked_json if form == "json" else checked_csv
        emit(render(found.disagreements, found.verified), output, data=True)
    return 0 if found.agrees else _DISAGREES
