"""Plans as input: their options, and how they are read."""

from typing import TYPE_CHECKING

import click

from kvplace.cli.options import IN_FILE, Command

if TYPE_CHECKING:
    from kvplace.core.result import Result


def fleet_option(command: Command) -> Command:
    """Add the fleet file, for plans that do not carry their models."""
    for option in (
        click.option(
            "--gpus", metavar="SPEC", help="The GPUs, where --fleet names a CSV of models."
        ),
        click.option(
            "--fleet",
            type=IN_FILE,
            metavar="FLEET",
            help="The fleet file: for a plan in CSV, or to launch otherwise than the plan says.",
        ),
    ):
        command = option(command)
    return command


def load(path: str, fleet: str | None, gpus: str | None = None) -> "Result":
    """Read a plan that places something.

    Raises
    ------
    InputError
        As `kvplace.load_plan`; or the plan has no placement.
    """
    from kvplace.checking.load import load_plan
    from kvplace.errors import InputError

    result = load_plan(path, fleet, gpus=gpus)
    if result.placement is None:
        raise InputError("this plan places nothing", path)
    return result


def load_other(path: str, fleet: str | None, gpus: str | None) -> "Result":
    """Read a plan to compare with: the fleet file is for it only where it is a table."""
    table = path.lower().endswith((".csv", ".parquet"))
    return load(path, fleet if table else None, gpus if table else None)


def schema_of(path: str) -> str:
    """Return the schema that a JSON file names in its first bytes; empty where it is none."""
    import re

    from kvplace.files import MAX_ROWS_BYTES
    from kvplace.waiting import begin_of

    found = re.search(rb'"schema"\s*:\s*"([^"]*)"', begin_of(path, MAX_ROWS_BYTES))
    return found[1].decode("utf-8", "replace") if found else ""
