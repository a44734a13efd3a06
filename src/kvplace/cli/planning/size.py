"""``kvplace size``: how many GPUs are enough."""

from typing import Any

import click

from kvplace.cli.options import FLEET, IN_FILE, input_options, limit_options, output_options
from kvplace.cli.verb import verb
from kvplace.units import parse_number

_IMPOSSIBLE, _NOT_FOUND = 3, 4
_SECONDS = 60.0

_EXAMPLES = """\b
Examples:
  kvplace size fleet.yaml --target 'occupancy<=0.8'
  kvplace size fleet.yaml --target 80% --growth 1,1.5,2
  kvplace size models.csv --target 'requests<=0.05' --gpu-types 80GiB,H200-SXM-141GB
  kvplace size fleet.yaml --target 0.8 --gpu-types 8xH100-SXM-80GB,4x48GiB --prices prices.yaml
"""


class _Growths(click.ParamType[tuple[float, ...]]):
    """Factors apart by commas."""

    name = "growths"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        parts = str(value).split(",")
        factors = [number for number in map(parse_number, parts) if number is not None]
        if len(factors) < len(parts) or not all(0 < factor <= 1e6 for factor in factors):
            self.fail(f"{value!r} is no list of factors; write it like 1,1.5,2", param, ctx)
        return tuple(dict.fromkeys(factors))


@verb("size", epilog=_EXAMPLES)
@FLEET
@click.option(
    "--target",
    required=True,
    metavar="TARGET",
    help="Highest pressure of any GPU: 0.8 or 80% for the fleet's objective, or that of another "
    "one, as 'occupancy<=0.8' (in quotes).",
)
@click.option(
    "--gpu-types",
    metavar="SPEC",
    help="Nodes to choose from, such as 8xH100-SXM-80GB,4x48GiB: GPUs per node and type. "
    "Default: the kinds of node in the fleet file.",
)
@click.option(
    "--prices",
    type=IN_FILE,
    metavar="FILE",
    help="YAML of GPU types and what one costs per hour. The cheapest fleet is found then, "
    "else the one with the fewest GPUs.",
)
@click.option(
    "--growth",
    "growths",
    type=_Growths(),
    default="1",
    show_default=True,
    metavar="FACTORS",
    help="Factors on every rate, apart by commas, each with its size.",
)
@input_options
@limit_options
@output_options
def command(
    fleet: str,
    target: str,
    gpu_types: str | None,
    prices: str | None,
    growths: tuple[float, ...],
    objective: str | None,
    gpus: str | None,
    time_limit: float | None,
    seed: int,
    form: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Find the fewest or the cheapest GPUs that serve a FLEET's models within a target.

    The answer comes with a proof of how much less is too little. Nodes are added whole, and of
    several kinds any mix may be the answer. Rules hold as in a plan; those that name single GPUs
    or nodes are left out, which is said. A table shows what fleets around the answer are worth.
    Without --time-limit it takes 60 seconds at most. Exits with 3 where no number is enough at
    any growth.
    """
    from kvplace.cli.output import emit, look, say_notes
    from kvplace.cli.run import watched
    from kvplace.errors import InputError
    from kvplace.formats.fleet.gpu_groups import parse_gpus
    from kvplace.formats.fleet.prices import read_prices
    from kvplace.formats.read import read
    from kvplace.report.answers.sized import sized_csv, sized_json, sized_table
    from kvplace.size.size import size_fleet
    from kvplace.size.stock import stock_of
    from kvplace.size.target import parse_target, refuse_share

    try:
        aim = parse_target(target)
        kinds = parse_gpus(gpu_types) if gpu_types else ()
    except InputError as error:
        name = "--gpu-types" if any(f.path.startswith("gpus") for f in error.faults) else "--target"
        raise InputError(error.faults, error.source or name) from error
    with watched(time_limit or _SECONDS, quiet=quiet, reads=True) as watch:
        wanted = aim.objective.value if aim.objective else objective
        if fleet.lower().endswith(".csv") and gpus is None:
            gpus = gpu_types
        problem = read(fleet, objective=wanted, gpus=gpus)
        try:
            refuse_share(aim, problem.goal, target)
        except InputError as error:
            raise InputError(error.faults, "--target") from error
        costs = None if prices is None else read_prices(prices)
        try:
            stock = stock_of(problem, kinds, costs)
        except InputError as error:
            raise InputError(error.faults, prices or "--gpu-types") from error
        watch.restart()
        found = size_fleet(stock, aim.value, growths=growths, seed=seed, watch=watch)
    if form == "table":
        emit(sized_table(found, look(output)), output, data=False)
    else:
        emit(sized_json(found) if form == "json" else sized_csv(found), output, data=True)
    if not quiet:
        best = next((size.result for size in found.sizes if size.result is not None), None)
        say_notes(problem if best is None else best.problem, best.evaluation if best else None)
    if any(size.mix is not None for size in found.sizes):
        return 0
    return _IMPOSSIBLE if all(size.reasons for size in found.sizes) else _NOT_FOUND
