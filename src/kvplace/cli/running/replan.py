"""``kvplace replan``: from what runs to what should run, within a budget and in a safe order."""

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import (
    FLEET,
    IN_FILE,
    NAMED_FILE,
    SHARE,
    duration,
    input_options,
    limit_options,
    nearest_choice,
    output_options,
)
from kvplace.cli.verb import verb
from kvplace.errors import UnitError
from kvplace.units import parse_bytes

if TYPE_CHECKING:
    from kvplace.formats.plan.stated import Plan
    from kvplace.replan.outcome import Replan
    from kvplace.replan.proposal import Engines

_INFEASIBLE, _NOT_FOUND = 3, 4
_PROPOSED = 8
"""How many times as long as to write a plan it takes to name all engines, to share out KV memory
and to write a proposal, measured on 20,000 and 200,000 models: 6 and 8."""
RUNTIMES = ("compose", "kubernetes", "kvcached", "aibrix", "ray-serve", "llama-swap", "shell")
"""As in kvplace.replan.schedule.steps, which costs more to import than --help is worth."""

_EXAMPLES = """\b
Examples:
  kvplace replan fleet.yaml --current running.json --max-moves 5
  kvplace replan fleet.yaml --current running.json --frontier --plot frontier.svg
  kvplace replan fleet.yaml --current running.json --format json --output proposal.json
  kvplace replan fleet.yaml --current running.json --without h200-1 --max-bytes 400GiB
"""


class _Quantity(click.ParamType[float]):
    """Bytes or seconds with their unit."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name, self._parse = name, parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return float(self._parse(str(value)))
        except UnitError as error:
            self.fail(error.faults[0].message, param, ctx)


BYTES, TIME = _Quantity("size", parse_bytes), _Quantity("duration", duration)


@verb("replan", epilog=_EXAMPLES)
@FLEET
@click.option(
    "--current",
    type=IN_FILE,
    metavar="FILE",
    help="What runs: a plan (JSON, CSV, Parquet), an observation, or a proposal carried out. "
    "Default: as placed_on in the fleet file says.",
)
@click.option("--max-moves", type=click.IntRange(0), metavar="N", help="Most replicas to change.")
@click.option("--max-bytes", type=BYTES, metavar="SIZE", help="Most weights to load, as 400GiB.")
@click.option(
    "--max-downtime",
    type=TIME,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="Most time without a serving copy, all models together. With more than 0s a model may be "
    "stopped before it starts elsewhere, where nothing else helps.",
)
@click.option(
    "--min-gain",
    type=SHARE,
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Share of the highest pressure by which a change must relieve the worst GPU it "
    "touches, at least; ten times as much, for each model, where the highest stays as it is.",
)
@click.option(
    "--keep", multiple=True, metavar="MODEL", help="Never move this model; * and ? match."
)
@click.option(
    "--cost", "costs", multiple=True, metavar="MODEL=N", help="Count this model's changes N times."
)
@click.option(
    "--min-stay",
    type=TIME,
    default="0s",
    metavar="TIME",
    help="Move no copy that serves for less, where an observation says since when; a model's own "
    "min_stay goes before.",
)
@click.option(
    "--runtime",
    type=nearest_choice(RUNTIMES),
    help="What it runs on: what starts and stops as one there counts, and what shares a GPU with "
    "whoever comes.",
)
@click.option(
    "--kv",
    "pool",
    type=nearest_choice(["static", "kvcached"]),
    default="static",
    show_default=True,
    help="With --runtime: KV memory of engines that share a GPU, in fixed parts or one pool.",
)
@click.option(
    "--sleep",
    type=click.IntRange(1, 2),
    metavar="LEVEL",
    help="With --runtime: copies that leave sleep until all else is done, so that the way back is "
    "quick. 1 keeps their weights in the node's memory, 2 reads them again.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="PLACE",
    help="GPU, node or label=value that is gone: what ran there is restored elsewhere.",
)
@click.option(
    "--drain",
    multiple=True,
    metavar="PLACE",
    help="GPU, node or label=value to be emptied: what runs there moves away.",
)
@click.option(
    "--frontier",
    is_flag=True,
    help="Show what every number of changes buys; of many, those that the time limit allows.",
)
@click.option(
    "--plot", type=NAMED_FILE, metavar="FILE", help="Draw the frontier: .svg, .png or .pdf."
)
@click.option(
    "--plan", "plan_file", type=NAMED_FILE, metavar="FILE", help="Also write the plan (JSON)."
)
@click.option(
    "--load-rate",
    type=BYTES,
    default="2GiB",
    show_default=True,
    metavar="SIZE",
    help="Weights that one GPU loads in a second; an estimate.",
)
@click.option(
    "--read-rate",
    type=BYTES,
    metavar="SIZE",
    help="Weights that a node reads from disk or network in a second, all its loads together. "
    "Default: no limit beside --load-rate.",
)
@click.option(
    "--graph-time",
    type=TIME,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="What the capture of graphs takes, where --start-time leaves it out.",
)
@click.option(
    "--start-time",
    type=TIME,
    default="45s",
    show_default=True,
    metavar="TIME",
    help="What a start takes besides loading; an estimate.",
)
@click.option(
    "--drain-time",
    type=TIME,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Time that requests in flight are given.",
)
@click.option(
    "--loads-per-node",
    type=click.IntRange(1, 1000),
    default=2,
    show_default=True,
    metavar="N",
    help="Most engines of a node that load at a time.",
)
@click.option(
    "--expires",
    type=TIME,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long the proposal holds.",
)
@input_options
@limit_options
@output_options
def command(
    fleet: str,
    current: str | None,
    frontier: bool,
    plot: str | None,
    plan_file: str | None,
    expires: float,
    without: tuple[str, ...],
    drain: tuple[str, ...],
    objective: str | None,
    gpus: str | None,
    time_limit: float | None,
    seed: int,  # noqa: ARG001 - nothing here is random; kept for scripts that pass it everywhere
    form: str,
    output: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Improve what runs on a FLEET by as few changes as pay, in a safe order.

    A change is a replica that moves, starts or stops. Each must lower the pressure of the worst
    GPU that it touches by --min-gain, so a fleet with nothing to gain gets none. No GPU is over its
    memory at any step, both copies of a moving replica counted, and no rule is broken on the way.
    JSON is a proposal (kvplace.proposal/v1), which kvplace verify holds against the fleet later;
    with --frontier it is the frontier. Exits with 3 where no placement within the budget can be
    valid, with 4 where none was found.
    """
    from kvplace.cli.faults import say, say_as_notes
    from kvplace.cli.output import writing_seconds
    from kvplace.cli.run import watched
    from kvplace.cli.running.budget import parse_budget, with_stays
    from kvplace.cli.running.current import read_current
    from kvplace.collector import paused_collector
    from kvplace.formats.read import read
    from kvplace.replan.failures import drained, gpus_of, restored, without_gpus
    from kvplace.replan.replan import replan

    with watched(time_limit, quiet=quiet, reads=True) as watch:
        watch.tell("read")
        problem = read(fleet, objective=objective, gpus=gpus)
        reading = watch.seconds
        lost: dict[str, str] = {}
        if without:
            left = without_gpus(problem, gpus_of(problem.fleet, without, "--without"))
            problem = left.problem
            lost = dict.fromkeys(left.unplaceable, "no GPU is left that it may run on")
        if drain:
            problem = drained(problem, gpus_of(problem.fleet, drain, "--drain"))
        running = read_current(current, problem)
        budget, pricing = parse_budget(problem.names, options)
        budget, stays = with_stays(budget, problem, running, options["min_stay"])
        watch.restart()
        stated = plan_file is not None or (form == "json" and not frontier)
        writing = writing_seconds(problem, "json" if stated else form, output, fleet, reading)
        watch.set_aside(writing * (_PROPOSED if stated else 1))
        found = replan(
            problem,
            running.placement,
            budget=budget,
            former=running.former,
            pricing=pricing,
            frontier=frontier or plot is not None,
            watch=watch,
        )
        if found.placement is None and without:
            found, homeless = restored(
                problem,
                running.placement,
                budget=budget,
                former=running.former,
                pricing=pricing,
                watch=watch,
            )
            lost |= homeless
    if not quiet:
        say_as_notes((*running.notes, *stays))
        for name, why in lost.items():
            say(f"kvplace: {name!r} is not restored: {why}")
    if plot is not None:
        from kvplace.report.plots.frontier import draw_frontier

        draw_frontier(found, plot)
    with paused_collector():
        engines = _engines(running.plan, found) if stated else None
        _write(
            found, form, output, frontier=frontier, expires=expires, plan_file=plan_file,
            engines=engines,
        )  # fmt: skip
    if found.placement is not None:
        from kvplace.report.answers.replanned import worth_lines

        for line in worth_lines(found) if form != "table" and not quiet else ():
            say(line)
        return 0
    if math.isinf(found.bound):
        return _INFEASIBLE
    if watch.stop is not None:
        say("kvplace: the search was stopped before its end; more --time-limit may find one")
    return _NOT_FOUND


def _engines(plan: "Plan | None", found: "Replan") -> "Engines":
    """Return what is known of the engines that run, by the plan that runs where it is one.

    What runs by another file, or by a plan that is not valid, is taken to be as exported.
    """
    from kvplace.checking.load import unchecked
    from kvplace.errors import InputError
    from kvplace.export.runbook.engines import engines_of
    from kvplace.formats.plan.problem import problem_of
    from kvplace.replan.proposal import Engines

    if found.placement is None:
        return Engines()
    before = None
    if plan is not None and plan.placement.replicas:
        same = plan.problem_digest == found.problem.digest
        with suppress(InputError):
            before = unchecked(plan, found.problem if same else problem_of(plan))
    return engines_of(found, before)


def _write(
    found: "Replan",
    form: str,
    output: str | None,
    *,
    frontier: bool,
    expires: float,
    plan_file: str | None,
    engines: "Engines | None",
) -> None:
    """Write the answer in the form asked for, and the plan."""
    from dataclasses import replace
    from datetime import UTC, datetime, timedelta

    from kvplace.cli.output import emit, look
    from kvplace.formats.plan.io import write_plan
    from kvplace.formats.proposal import write_proposal
    from kvplace.replan.proposal import propose, result_of
    from kvplace.report.answers import replanned

    if plan_file is not None and found.placement is not None and engines is not None:
        plan = replace(result_of(found), kv_parts=engines.kv_parts, engine_names=engines.names)
        write_plan(plan, plan_file)
    if form == "table":
        sight = look(output)
        parts = ["\n".join(replanned.replan_lines(found, sight))]
        parts += [replanned.steps_table(found.schedule.steps)] if found.schedule.steps else []
        parts += [replanned.frontier_table(found, sight)] if frontier else []
        emit("\n\n".join(parts), output, data=False)
    elif frontier:
        text = replanned.frontier_json(found) if form == "json" else replanned.frontier_csv(found)
        emit(text, output, data=True)
    elif form == "csv":
        emit(replanned.moves_csv(found), output, data=True)
    elif found.placement is not None:
        proposal = propose(found, datetime.now(UTC), timedelta(seconds=expires), engines)
        emit(write_proposal(proposal), output, data=True)
    else:
        from kvplace.cli.faults import say

        for line in replanned.replan_lines(found):
            say(f"kvplace: {line}")
