"""``kvplace diff``: what turns one plan into another."""

import click

from kvplace.cli.options import IN_FILE, output_options
from kvplace.cli.plans import fleet_option, load
from kvplace.cli.verb import verb

_DIFFERS = 1

_EXAMPLES = """\b
Example:
  kvplace diff running.json plan.json
"""


@verb("diff", epilog=_EXAMPLES)
@click.argument("before", type=IN_FILE, metavar="PLAN")
@click.argument("after", type=IN_FILE, metavar="PLAN")
@fleet_option
@output_options
def command(
    before: str,
    after: str,
    fleet: str | None,
    gpus: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Show what turns one PLAN into another: what moves, starts and stops, and what it is worth.

    Copies of a model are alike: only the GPUs they run on count. Exits with 1 where the plans
    differ and with 0 where they don't.
    """
    from kvplace.cli.output import as_markdown, emit, look, say_notes
    from kvplace.report.answers.differences import (
        diff,
        differences_csv,
        differences_json,
        differences_table,
    )
    from kvplace.report.page.markdown import differences_markdown

    plans = load(before, fleet, gpus), load(after, fleet, gpus)
    found = diff(*plans)
    if as_markdown():
        emit(differences_markdown(*plans), output, data=True)
    elif form == "table":
        emit(differences_table(found, look(output)), output, data=False)
    else:
        render = differences_json if form == "json" else differences_csv
        emit(render(found), output, data=True)
    if not quiet:
        say_notes(plans[1].problem, plans[1].evaluation)
    return _DIFFERS if found.changes else 0
