"""``kvplace report``: a plan as a page for people."""

import click

from kvplace.cli.options import IN_FILE, NAMED_FILE, OUT_FILE, PLAN_FILE
from kvplace.cli.plans import fleet_option, load, load_other
from kvplace.cli.verb import verb

_OTHER = (".csv", ".json", ".md", ".pdf", ".png", ".svg", ".txt", ".yaml")
"""Endings of files that are no page."""

_EXAMPLES = """\b
Examples:
  kvplace report plan.json --output report.html
  kvplace report plan.json --baseline running.json --output report.html --figure plan.svg
  kvplace report plan.json --baseline running.json --markdown comment.md
"""


@verb("report", epilog=_EXAMPLES)
@PLAN_FILE
@click.option(
    "--baseline", type=IN_FILE, metavar="PLAN", help="Plan to compare with, such as what runs."
)
@fleet_option
@click.option(
    "--output", "-o", type=OUT_FILE, metavar="FILE", help="Write the page, one HTML file."
)
@click.option(
    "--figure", type=NAMED_FILE, metavar="FILE", help="Write the main figure: .svg, .png or .pdf."
)
@click.option(
    "--markdown",
    type=NAMED_FILE,
    metavar="FILE",
    help="Write a summary for a pull request; - for stdout.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print no notes.")
def command(
    plan: str,
    baseline: str | None,
    fleet: str | None,
    gpus: str | None,
    output: str | None,
    figure: str | None,
    markdown: str | None,
    quiet: bool,
) -> int:
    """Show a PLAN as one self-contained HTML page, a figure, or Markdown.

    The page needs no network: headline, every GPU by pressure, the models with a search, before
    and after, how the search went. Every figure is computed again; a plan that does not hold gets
    no report.
    """
    from pathlib import PurePath

    from kvplace.cli.faults import say
    from kvplace.cli.output import emit
    from kvplace.report.report import report

    if output is None and figure is None and markdown is None:
        raise click.UsageError("name what to write: --output, --figure or --markdown")
    suffix = PurePath(output or "").suffix.lower()
    if suffix in _OTHER:
        raise click.UsageError(
            f"--output is a page of HTML, and {suffix} is none; --figure writes pictures, and "
            "--markdown a summary"
        )
    shown = report(
        load(plan, fleet, gpus),
        None if baseline is None else load_other(baseline, fleet, gpus),
        name=PurePath(plan).name,
        baseline_name=PurePath(baseline or "").name,
    )
    if output is not None:
        text = shown.html()
        emit(text, output, data=True)
        if not quiet:
            say(f"{len(text.encode()) / 1000:,.0f} kB written to {output}")
    if figure is not None:
        shown.draw(figure)
        if not quiet:
            say(f"figure written to {figure}")
    if markdown is not None:
        emit(shown.markdown(), None if markdown == "-" else markdown, data=True)
    return 0
