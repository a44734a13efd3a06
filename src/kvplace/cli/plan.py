"""``kvplace plan``: from a fleet file to a plan."""

import click

from kvplace.cli.options import (
    ALL_GPUS,
    ALLOW_OVERLOAD,
    COUNT_OR_NONE,
    FLEET,
    SHARE,
    input_options,
    limit_options,
    output_options,
    solver_option,
)

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  kvplace plan fleet.yaml
  kvplace plan fleet.yaml --format json --output plan.json
  kvplace plan models.csv --gpus 8x80GiB
  kvplace plan models.parquet --gpus 100000x80GiB --output plan.parquet
"""


@click.command("plan", epilog=_EXAMPLES)
@FLEET
@input_options
@solver_option
@limit_options
@click.option(
    "--gap",
    type=SHARE,
    default=0.0,
    metavar="SHARE",
    help="Stop once the plan is proved to be this near to the optimum (0.01 or 1%).",
)
@click.option(
    "--iterations",
    type=COUNT_OR_NONE,
    metavar="N|none",
    help="Make at most N steps of the search that lowers the maximum: exchanges made, and kicks "
    "or regrouped GPUs tried. Default: the solver's own end.",
)
@output_options
@ALL_GPUS
@ALLOW_OVERLOAD
def command(
    fleet: str,
    objective: str | None,
    gpus: str | None,
    solver: str,
    time_limit: float | None,
    seed: int,
    gap: float,
    iterations: float | None,
    form: str,
    output: str | None,
    quiet: bool,
    every_gpu: bool,
    allow_overload: bool,
) -> int:
    """Place the models of a FLEET file on its GPUs.

    FLEET is a kvplace.fleet/v1 file in YAML or JSON, or a table of models, CSV or Parquet, together
    with --gpus. An --output that ends in .parquet is written in columns, one row per shard.
    The GPU with the highest KV-cache pressure (KVPR) is made as good as it can be, then the next.
    """
    from kvplace.cli.output import print_result, writing_seconds
    from kvplace.cli.run import watched
    from kvplace.formats.read import read
    from kvplace.solver.solve import solve

    with watched(time_limit, quiet=quiet) as watch:
        watch.tell("read")
        problem = read(fleet, objective=objective, gpus=gpus)
        watch.restart()
        watch.set_aside(writing_seconds(len(problem.models), form, output))
        result = solve(
            problem,
            gap=gap,
            seed=seed,
            solver=solver,
            iterations=None if iterations is None else int(min(iterations, 2**62)),
            watch=watch,
        )
        if output is not None:
            watch.tell("write")
            return print_result(
                result,
                form,
                output,
                every_gpu=every_gpu,
                quiet=quiet,
                allow_overload=allow_overload,
            )
    return print_result(
        result, form, output, every_gpu=every_gpu, quiet=quiet, allow_overload=allow_overload
    )
