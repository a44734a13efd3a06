"""``kvplace report``: a plan as a page for people."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, PLAN_FILE
from kvplace.cli.plans import fleet_option, load, load_other

if TYPE_CHECKING:
    from kvplace.cli.plans import Loaded
    from kvplace.report.page_data import Subject

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  kvplace report plan.json --output report.html
  kvplace report plan.json --baseline running.json --output report.html --figure plan.svg
  kvplace report plan.json --baseline running.json --markdown comment.md
"""


@click.command("report", epilog=_EXAMPLES)
@PLAN_FILE
@click.option(
    "--baseline", type=IN_FILE, metavar="PLAN", help="Plan to compare with, such as what runs."
)
@fleet_option
@click.option(
    "--output", "-o", type=click.Path(), metavar="FILE", help="Write the page, one HTML file."
)
@click.option(
    "--figure", type=click.Path(), metavar="FILE", help="Write the main figure: .svg, .png or .pdf."
)
@click.option(
    "--markdown",
    type=click.Path(),
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
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit
    from kvplace.report.differences import differences

    if output is None and figure is None and markdown is None:
        raise click.UsageError("name what to write: --output, --figure or --markdown")
    loaded = load(plan, fleet, gpus)
    subject = _subject(loaded)
    before = _subject(load_other(baseline, fleet, gpus)) if baseline is not None else None
    found = None
    if before is not None:
        found = differences(before.problem, before.placement, subject.problem, subject.placement)
    if output is not None:
        from kvplace.report.page import page

        text = page(subject, before, found)
        emit(text, output, data=True)
        if not quiet:
            say(f"{len(text.encode()) / 1000:,.0f} kB written to {output}")
    if figure is not None:
        from kvplace.report.figure import draw_plan

        draw_plan(subject, before, figure)
        if not quiet:
            say(f"figure written to {figure}")
    if markdown is not None:
        from kvplace.report.page_markdown import markdown_summary

        text = markdown_summary(subject, before, found)
        emit(text, None if markdown == "-" else markdown, data=True)
    return 0


def _subject(loaded: "Loaded") -> "Subject":
    """Return what to report on."""
    from pathlib import PurePath

    from kvplace.report.page_data import Claim, Step, Subject

    plan = loaded.plan
    claim = None
    if plan is not None:
        claim = Claim(
            status=plan.status,
            bound=plan.bound,
            gap=plan.gap,
            method=plan.bound_method,
            proof=plan.proof,
            solver=plan.solver,
            seconds=plan.seconds,
            steps=tuple(Step(s.seconds, s.value, s.bound) for s in plan.progress),
        )
    name = PurePath(loaded.name).name
    return Subject(name, loaded.problem, loaded.placement, loaded.evaluation, claim)
