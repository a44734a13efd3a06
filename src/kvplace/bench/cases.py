"""From what a person names, families and fleet files, to cases."""

import os
import re
from collections.abc import Sequence
from pathlib import PurePath

from kvplace.bench.families import FAMILIES, Case, family
from kvplace.errors import InputError
from kvplace.formats.diagnostics import closest
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.read import read

SUFFIXES = (".yaml", ".yml", ".json", ".csv")
"""What the name of a fleet file ends in; anything else is the name of a family."""
_GRID = re.compile(r"([1-9][0-9]{0,6})x([1-9][0-9]{0,6})", re.ASCII)


def cases_of(
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    objectives: Sequence[str] = (),
    gpus: str | None = None,
) -> list[tuple[str, Case]]:
    """Return the cases of families and files, each with the name of its family.

    Parameters
    ----------
    names
        Names of `kvplace.bench.families.FAMILIES`, or paths of fleet files.
    seeds
        One case, or set of cases, per seed and family.
    objectives
        For files: one case for each; the file's own load where none is given.
    gpus
        For a table of models, as `kvplace.formats.read.read` takes it.

    Raises
    ------
    InputError
        A name is neither, or a file cannot be read.
    """
    found: list[tuple[str, Case]] = []
    for name in names:
        if name in FAMILIES:
            found.extend((name, case) for case in family(name, seeds))
        elif not name.lower().endswith(SUFFIXES):
            raise InputError(_unknown(name))
        else:
            found.extend(_file(name, objectives, gpus))
    return found


def _unknown(name: str) -> str:
    """Say why a name is no family, and what comes nearest to it."""
    neither = f"{name!r} is neither a family nor a fleet file"
    grid = _GRID.fullmatch(name)
    if grid:
        grids = ", ".join(family for family in FAMILIES if _GRID.fullmatch(family))
        return (
            f"{neither}. As GPUs x models there are {grids}. If it is {grid[1]} hosts of "
            f"{grid[2]} GPUs, name their type and write a fleet file: kvplace init --nodes "
            f"{name}xH100 --models NAME,... --output fleet.yaml, then kvplace bench fleet.yaml"
        )
    try:
        parse_gpus(name)
    except InputError:
        near = closest(name, FAMILIES)
        if near:
            return f"{neither}; did you mean {near!r}?"
        files = ", ".join(SUFFIXES)
        return f"{name!r} is neither a family ({', '.join(FAMILIES)}) nor a fleet file ({files})"
    return (
        f"{neither} but GPUs. Write a fleet file of them: kvplace init --nodes {name} --models "
        f"NAME,... --output fleet.yaml, then kvplace bench fleet.yaml; or name a table of models: "
        f"kvplace bench models.csv --gpus {name}"
    )


def _file(name: str, objectives: Sequence[str], gpus: str | None) -> list[tuple[str, Case]]:
    """Return a fleet file under each objective."""
    stem = PurePath(os.fspath(name)).stem
    table = gpus if name.lower().endswith(".csv") else None
    problems = [read(name, objective=wanted, gpus=table) for wanted in objectives or (None,)]
    return [(stem, Case(f"{stem}-{problem.goal.value}", problem)) for problem in problems]
