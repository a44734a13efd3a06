"""``kvplace verify``: a proposal held against what runs."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, NAMED_FILE, output_options
from kvplace.cli.running.observe import AT, TOKEN, asked
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.formats.proposal import Proposal
    from kvplace.replan.proposal import Verification

_DIFFERS = 1

_EXAMPLES = """\b
Examples:
  kvplace verify proposal.json --observed now.json
  kvplace verify proposal.json --observe compose=h100-0/compose.yaml
  kvplace verify proposal.json --observed now.json --fleet fleet.yaml --format json
  kvplace verify proposal.json --observed now.json --fleet today.yaml --record proposal.json
"""


@verb("verify", epilog=_EXAMPLES, replaces={"record": ("proposal",)})
@click.argument("proposal", type=IN_FILE, metavar="PROPOSAL")
@click.option(
    "--observed",
    type=IN_FILE,
    metavar="FILE",
    help="What runs now: an observation, or a plan that is in effect.",
)
@click.option(
    "--observe",
    "sources",
    multiple=True,
    metavar="RUNTIME=PLACE",
    help="Instead: ask a runtime, or read its file, as kvplace observe does. The proposal says "
    "which engine is on which GPUs, before and after.",
)
@AT
@TOKEN
@click.option(
    "--fleet",
    type=IN_FILE,
    metavar="FLEET",
    help="Today's fleet file: also say what the fleet is worth now, under its demand.",
)
@click.option(
    "--record",
    type=NAMED_FILE,
    metavar="FILE",
    help="Once all steps are done, write the proposal with what it is worth measured, beside "
    "before and predicted; FILE may be the proposal itself. Needs --fleet.",
)
@output_options
def command(
    proposal: str,
    observed: str | None,
    sources: tuple[str, ...],
    placed: tuple[str, ...],
    token_file: str | None,
    fleet: str | None,
    record: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Say which steps of a PROPOSAL are done, and whether the fleet is otherwise as it was.

    Ready: nothing is done and the fleet is as it was when the proposal was made. Under way: some
    steps are done. Done: all are. Drifted: something runs, or does not, that no step explains. A
    proposal that has drifted, or whose time is over, must not be carried out: make a new one. Exits
    with 1 in these two cases.
    """
    from datetime import UTC, datetime

    from kvplace.cli.faults import say, say_as_notes
    from kvplace.cli.output import emit
    from kvplace.cli.running.current import current_of, read_current
    from kvplace.core.evaluation.evaluate import evaluate
    from kvplace.files import write_atomic
    from kvplace.formats.proposal import read_proposal, write_proposal
    from kvplace.formats.read import read
    from kvplace.replan.proposal import Verdict, verify, with_measured

    if record is not None and fleet is None:
        raise click.UsageError("--record needs --fleet: the worth depends on the demand")
    if (observed is None) == (not sources):
        raise click.UsageError("give what runs now by --observed FILE or --observe RUNTIME=PLACE")
    stated, now = read_proposal(proposal), datetime.now(UTC)
    if observed is not None:
        running = read_current(observed, None)
    else:
        running = current_of(asked(sources, stated, placed, token_file), "--observe", None)
    found = verify(stated, running.placement, now, running.asleep)
    measured = None
    if fleet is not None:
        problem = read(fleet, objective=stated.worth.objective)
        measured = evaluate(problem, running.placement).value
    if record is not None and measured is not None:
        if found.verdict is Verdict.DONE:
            stated = with_measured(stated, measured, now)
            write_atomic(record, write_proposal(stated))
        elif not quiet:
            say(f"kvplace: not all steps are done: {record} is not written")
    if not quiet:
        say_as_notes(running.notes)
    if form == "table":
        emit(_table(stated, found, measured), output, data=False)
    else:
        emit(_data(stated, found, measured, form), output, data=True)
    stale = found.expired and found.verdict is not Verdict.DONE
    return _DIFFERS if stale or found.verdict is Verdict.DRIFTED else 0


def _table(stated: "Proposal", found: "Verification", measured: float | None) -> str:
    from kvplace.core.models.objective import Objective
    from kvplace.report.summary import worth_text
    from kvplace.report.text import clean

    words = {
        "ready": "ready: nothing is done yet, and the fleet is as it was",
        "under_way": "under way: the fleet is as the steps that are done leave it",
        "done": "done: all steps",
        "drifted": "refused: the fleet is not as the proposal says",
    }
    lines = [
        f"proposal {clean(stated.id)} of {clean(stated.created)}: {words[found.verdict.value]}"
    ]
    if found.expired and found.verdict.value != "done":
        lines.append(f"refused: its time was over at {clean(stated.expires)}; make a new one")
    lines += [f"  {clean(text)}" for text in found.differences]
    done = set() if found.differences else set(found.done)  # nothing is known of a drifted fleet
    for step in stated.steps:
        names = ", ".join(f"{r.model} on {' '.join(r.gpus)}" for r in step.replicas)
        mark = "x" if step.number in done else " "
        lines.append(f"  [{mark}] {step.number:>3} {step.kind} {clean(names)}")
    quantity = Objective(stated.worth.objective).quantity
    lines.append(
        f"max {quantity} before {worth_text(stated.worth.before)}, predicted "
        f"{worth_text(stated.worth.after)}"
        + ("" if measured is None else f", now {worth_text(measured)}")
    )
    if stated.worth.measured is not None:
        lines.append(
            f"measured {worth_text(stated.worth.measured)} at {clean(stated.worth.measured_at)}"
        )
    return "\n".join(lines)


def _data(stated: "Proposal", found: "Verification", measured: float | None, form: str) -> str:
    from kvplace.report.tables.scores import Cell, rows_csv, rows_json

    done = set(found.done)
    rows: list[dict[str, Cell]] = [
        {"step": s.number, "kind": s.kind, "done": str(s.number in done).lower()}
        for s in stated.steps
    ]
    if form == "csv":
        return rows_csv(rows) if rows else "step,kind,done\n"
    return rows_json(
        {
            "proposal": stated.id,
            "verdict": found.verdict.value,
            "expired": found.expired,
            "differences": list(found.differences),
            "done": list(found.done),
            "steps": len(stated.steps),
            "value_before": stated.worth.before,
            "value_predicted": stated.worth.after,
            "value_now": measured,
            "value_measured": stated.worth.measured,
            "measured_at": stated.worth.measured_at or None,
        }
    )
