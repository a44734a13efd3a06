"""``kvplace replan``: from what runs to what should run, within a budget and in a safe order."""

import math
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import FLEET, IN_FILE, SHARE, input_options, limit_options, output_options
from kvplace.cli.plans import schema_of
from kvplace.errors import UnitError
from kvplace.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from kvplace.replan.outcome import Replan
    from kvplace.replan.proposal import Engines

__all__ = ["command", "parse_budget"]

_INFEASIBLE, _NOT_FOUND = 3, 4

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


BYTES, TIME = _Quantity("size", parse_bytes), _Quantity("duration", parse_duration)


@click.command("replan", epilog=_EXAMPLES)
@FLEET
@click.option(
    "--current",
    required=True,
    type=IN_FILE,
    metavar="FILE",
    help="What runs: a plan (JSON, CSV, Parquet), an observation, or a proposal carried out.",
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
    "touches, at least.",
)
@click.option(
    "--keep", multiple=True, metavar="MODEL", help="Never move this model; * and ? match."
)
@click.option(
    "--cost", "costs", multiple=True, metavar="MODEL=N", help="Count this model's changes N times."
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
@click.option("--frontier", is_flag=True, help="Show what every number of changes buys.")
@click.option(
    "--plot", type=click.Path(), metavar="FILE", help="Draw the frontier: .svg, .png or .pdf."
)
@click.option(
    "--plan", "plan_file", type=click.Path(), metavar="FILE", help="Also write the plan (JSON)."
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
    current: str,
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
    from kvplace.cli.faults import say
    from kvplace.cli.run import watched
    from kvplace.cli.running.current import read_current
    from kvplace.formats.read import read
    from kvplace.replan.failures import drained, gpus_of, restored, without_gpus
    from kvplace.replan.replan import replan

    with watched(time_limit, quiet=quiet) as watch:
        watch.tell("read")
        problem = read(fleet, objective=objective, gpus=gpus)
        lost: tuple[str, ...] = ()
        if without:
            left = without_gpus(problem, gpus_of(problem.fleet, without, "--without"))
            problem, lost = left.problem, left.unplaceable
        if drain:
            problem = drained(problem, gpus_of(problem.fleet, drain, "--drain"))
        running = read_current(current, problem)
        budget, pricing = parse_budget(problem.names, options)
        watch.restart()
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
                problem, running.placement, budget=budget, former=running.former, pricing=pricing
            )
            lost += homeless
    if not quiet:
        for note in running.notes:
            say(f"kvplace: {note}")
        for name in lost:
            say(f"kvplace: {name!r} is not restored: no room was found for it")
    if plot is not None:
        from kvplace.report.plots.frontier import draw_frontier

        draw_frontier(found, plot)
    stated = plan_file is not None or (form == "json" and not frontier)
    engines = _engines(current, found) if stated else None
    _write(
        found, form, output, frontier=frontier, expires=expires, plan_file=plan_file,
        engines=engines,
    )  # fmt: skip
    if found.placement is not None:
        return 0
    return _INFEASIBLE if math.isinf(found.bound) else _NOT_FOUND


def _engines(current: str, found: "Replan") -> "Engines":
    """Return what is known of the engines that run, by the plan that runs where it is one.

    What runs by another file, or by a plan that does not hold, is taken to be as exported.
    """
    from kvplace.errors import InputError
    from kvplace.export.runbook.engines import engines_of
    from kvplace.formats.load import load_plan, load_stated
    from kvplace.formats.proposal import PROPOSAL_SCHEMA, read_proposal, target_of
    from kvplace.replan.proposal import Engines

    if found.placement is None:
        return Engines()
    before = None
    if current.lower().endswith(".json"):
        try:
            if schema_of(current) == PROPOSAL_SCHEMA:
                before = load_stated(target_of(read_proposal(current), current), current)
            else:
                before = load_plan(current)
        except InputError:
            before = None
    return engines_of(found, None if before is None or before.placement is None else before)


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


def parse_budget(names: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return budget and pricing from the options that state them.

    Raises
    ------
    BadParameter
        A model is named that there is not, or a cost is no number.
    """
    from kvplace.core.rules.rule import chosen
    from kvplace.replan.outcome import Budget
    from kvplace.replan.schedule.steps import Pricing

    prices: dict[str, float] = {}
    for text in options["costs"]:
        pattern, _, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not pattern or not 0 < factor < math.inf:
            raise click.BadParameter(f"{text!r} is no MODEL=N with N above 0", param_hint="--cost")
        prices |= dict.fromkeys(_matching(pattern, names, "--cost", chosen), factor)
    for pattern in options["keep"]:
        prices |= dict.fromkeys(_matching(pattern, names, "--keep", chosen), math.inf)
    most_moves, most_bytes = options["max_moves"], options["max_bytes"]
    budget = Budget(
        moves=math.inf if most_moves is None else most_moves,
        loaded_bytes=math.inf if most_bytes is None else most_bytes,
        downtime_seconds=options["max_downtime"],
        prices=prices,
        gain=options["min_gain"],
    )
    if not options["load_rate"] > 0:
        raise click.BadParameter("must be above 0", param_hint="--load-rate")
    pricing = Pricing(
        load_bytes_per_second=options["load_rate"],
        start_seconds=options["start_time"],
        drain_seconds=options["drain_time"],
        loads_per_node=options["loads_per_node"],
    )
    return budget, pricing


def _matching(pattern: str, names: Any, option: str, chosen: Any) -> list[str]:
    found: list[str] = chosen((pattern,), names)
    if not found:
        raise click.BadParameter(f"no model is named {pattern!r}", param_hint=option)
    return found
