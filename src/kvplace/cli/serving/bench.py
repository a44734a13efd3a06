"""``kvplace bench``: solvers side by side on public cases and on fleets of one's own."""

import sys
from typing import TYPE_CHECKING

import click

from kvplace.cli.options import NAMED_FILE, SECONDS, SOLVERS, nearest_choice, output_options
from kvplace.cli.verb import verb
from kvplace.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvplace.bench.measure import Run

# The names in kvplace.bench.families.FAMILIES and RIVALS and POLICIES of kvplace.bench.solvers; a
# test keeps them equal.
FAMILIES = (
    "adrs",
    "adrs-like",
    "stress",
    "20x40",
    "20x50",
    "20x60",
    "50x100",
    "50x150",
    "100x200",
    *(
        f"{shape}-{size}"
        for shape in ("scale-10", "scale-mixed", "scale-3", "scale-hot")
        for size in ("1k", "10k", "100k", "300k", "1m")
    ),
    "scale-real-3k",
    "scale-real-200k",
)
RIVALS = ("cp-sat", "highs", "rebalancer")
POLICIES = ("first-fit", "best-fit", "proportional", "one-copy")
ALL_SOLVERS = (*SOLVERS, *POLICIES, *RIVALS)
# The names in kvplace.solver.strategies.stages that can be left out, which a test keeps equal, too.
STAGES = (
    "balance",
    "configuration-bound",
    "configurations",
    "domain-cases",
    "domain-filling",
    "domain-program",
    "drop-copies",
    "ejection",
    "enumeration",
    "exact-decisions",
    "exact-packing",
    "gpu-filling",
    "group-cover",
    "iterated-local-search",
    "leximax",
    "pair-exchanges",
    "parallel-exchanges",
    "set-program",
)
_EVERY = "all"
_MOST_SEEDS = 10_000

_EXAMPLES = """\b
Examples:
  kvplace bench adrs
  kvplace bench stress --seeds 1-10 --solver auto --time-limit 1 --format json
  kvplace bench 20x60 --solver all --time-limit 10 --plot gaps.svg
  kvplace bench stress --solver auto --without group-cover --time-limit 2
  kvplace bench fleet.yaml --objective tokens --objective occupancy
  kvplace bench 20x40 --own mine.py:place
"""


class _Seeds(click.ParamType[tuple[int, ...]]):
    """A seed, or a range of seeds with both ends."""

    name = "n|n-m"

    def convert(
        self,
        value: "str | tuple[int, ...]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        first, _, last = value.partition("-")
        digits = first.isdecimal() and (last or first).isdecimal() and value.isascii()
        if not digits or value.endswith("-"):
            self.fail(f"{value!r} is neither a seed like 7 nor a range like 1-10", param, ctx)
        low, high = int(first), int(last or first)
        if not low <= high < 2**32 or high - low >= _MOST_SEEDS:
            self.fail(
                f"{value!r} must rise, stay below 2**32 and hold at most {_MOST_SEEDS} seeds",
                param,
                ctx,
            )
        return tuple(range(low, high + 1))


@verb("bench", epilog=_EXAMPLES)
@click.argument("families", nargs=-1, required=True, metavar="FAMILY...")
@click.option(
    "--solver",
    "solvers",
    type=nearest_choice((*ALL_SOLVERS, _EVERY)),
    multiple=True,
    help="Solvers to run, kvplace's own by default; all adds what schedulers do and every rival "
    "that is installed. Ratios are to the reference.",
)
@click.option(
    "--own",
    metavar="FILE:FUNCTION",
    multiple=True,
    help="Also run a function of a Python file: it takes a kvplace.Problem and returns a "
    "kvplace.Placement, or None. --time-limit does not stop it.",
)
@click.option(
    "--without",
    "without",
    type=nearest_choice(STAGES),
    multiple=True,
    help="Also run auto without this stage of its search: what the stage is worth.",
)
@click.option(
    "--seed",
    "--seeds",
    "seeds",
    type=_Seeds(),
    multiple=True,
    help="Seeds of the cases, 0 by default; adrs has its own.",
)
@click.option(
    "--time-limit",
    type=SECONDS,
    metavar="SECONDS",
    help="Limit per case and solver; rivals have one of 10 s where none is given.",
)
@click.option(
    "--objective",
    "objectives",
    type=nearest_choice(("requests", "tokens", "occupancy", "pressure")),
    multiple=True,
    help="For fleet files: the load, or several for a case each.",
)
@click.option("--gpus", metavar="SPEC", help="For a CSV of models: its GPUs, such as 8x80GiB.")
@click.option("--cases", "by_case", is_flag=True, help="Also list every case (CSV: only those).")
@click.option(
    "--plot",
    type=NAMED_FILE,
    metavar="FILE",
    help="Draw the gap over time into a .png, .svg or .pdf file (extra 'plots').",
)
@output_options
def command(
    families: tuple[str, ...],
    solvers: tuple[str, ...],
    own: tuple[str, ...],
    without: tuple[str, ...],
    seeds: tuple[tuple[int, ...], ...],
    time_limit: float | None,
    objectives: tuple[str, ...],
    gpus: str | None,
    by_case: bool,
    plot: str | None,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Run solvers on the cases of each FAMILY and compare them.

    FAMILY is adrs (the 50 public cases, whose optima are known), adrs-like (such cases with shares
    of GPU time), stress, GPUSxMODELS such as 20x40, scale-10-1k, scale-mixed, scale-3 and scale-hot
    at 1k, 10k, 100k, 300k and 1m models, scale-real-3k (a cluster with tensor parallel, copies and
    rules), or a fleet file of your own.
    Score is 1 / mean max KVPR + share of cases solved, as ADRS has it.
    first-fit, best-fit and proportional (copies by demand) are what schedulers do; one-copy is
    auto without further copies. Rivals are cp-sat (OR-Tools), highs and rebalancer.
    """
    from dataclasses import asdict

    from kvplace._version import __version__
    from kvplace.bench.cases import cases_of
    from kvplace.bench.document import document, rows
    from kvplace.bench.environment import environment
    from kvplace.bench.measure import measure, scores
    from kvplace.bench.own import own_placement
    from kvplace.cli.faults import say
    from kvplace.cli.output import emit
    from kvplace.report.tables.scores import rows_csv, rows_json

    for name in own:
        own_placement(name)
    names, absent = _available(solvers, quiet=quiet)
    names += dict.fromkeys(own)
    names += [f"auto without {stage}" for stage in dict.fromkeys(without)]
    chosen = list(dict.fromkeys(seed for part in seeds for seed in part)) or [0]
    cases = cases_of(list(dict.fromkeys(families)), chosen, objectives=objectives, gpus=gpus)
    shown = not quiet and sys.stderr.isatty()
    place = environment() if form == "json" else {}

    def tell(solver: str, done: int) -> None:
        sys.stderr.write(f"\r\x1b[2K{done}/{len(cases) * len(names)} runs, now {solver}")
        sys.stderr.flush()

    runs = measure(cases, names, time_limit=time_limit, told=tell if shown else None)
    if shown:
        sys.stderr.write("\r\x1b[2K")
    failed = {
        run.solver: run for run in reversed(runs) if run.outcome.evidence.startswith("failed")
    }
    for name in () if quiet else (name for name in own if name in failed):
        say(f"kvplace: {name} on {failed[name].case}: {failed[name].outcome.evidence}")
    soft = [case.name for _, case in cases if any(r.soft is not None for r in case.problem.rules)]
    if soft and not quiet:
        say(
            f"kvplace: note: {soft[0]} has soft rules, which go before the pressure in plans; the "
            "tables compare pressures alone, of solvers that may break more of them"
        )
    if plot is not None:
        from kvplace.bench.plot import draw_gaps

        draw_gaps(runs, plot)
    if form == "json":
        whole = document(
            runs, seeds=chosen, seed=0, time_limit=time_limit, absent=absent, environment=place
        )
        emit(rows_json({"kvplace_version": __version__, **whole}), output, data=True)
    elif form == "csv":
        table = rows(runs) if by_case else [asdict(score) for score in scores(runs)]
        emit(rows_csv(table), output, data=True)
    else:
        emit(_tables(runs, output, by_case=by_case), output, data=False)
    return 0


def _available(solvers: tuple[str, ...], *, quiet: bool) -> tuple[list[str], dict[str, str]]:
    """Return the solvers to run, and those asked for that cannot, each with the reason."""
    from kvplace.bench.solvers import absent
    from kvplace.cli.faults import say

    asked = list(dict.fromkeys(solvers)) or list(SOLVERS)
    if _EVERY in asked:
        asked = list(dict.fromkeys([*ALL_SOLVERS, *(n for n in asked if n != _EVERY)]))
    missing = {name: reason for name in asked if (reason := absent(name))}
    if not quiet:
        for name, reason in missing.items():
            say(f"kvplace: {name} is left out: {reason}")
    names = [name for name in asked if name not in missing]
    if not names:
        raise MissingExtraError("; ".join(f"{name}: {why}" for name, why in missing.items()))
    return names, missing


def _tables(runs: "Sequence[Run]", output: str | None, *, by_case: bool) -> str:
    """Return the tables for people, family by family."""
    from functools import partial

    from kvplace.bench.measure import scores
    from kvplace.bench.tables import case_rows, gap_rows
    from kvplace.cli.output import look
    from kvplace.cli.serving.scoreboard import scoreboard
    from kvplace.report.tables.scores import rows_table
    from kvplace.report.text import clean

    seen = look(output)
    table = partial(rows_table, colour=seen.colour, width=seen.longest)
    totals = scores(runs)
    families = list(dict.fromkeys(run.family for run in runs))
    parts = []
    for family in families:
        own = [score for score in totals if score.family == family]
        if len(families) > 1:
            parts.append(f"{clean(family)}:")
        parts += [scoreboard(own, seen), table(gap_rows(runs, own))]
    if by_case:
        parts.append(table(case_rows(runs)))
    return "\n\n".join(parts)
