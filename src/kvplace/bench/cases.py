"""From what a person names, families and fleet files, to cases."""

import os
from collections.abc import Sequence
from pathlib import PurePath

from kvplace.bench.families import FAMILIES, Case, family
from kvplace.errors import InputError
from kvplace.formats.read import read

__all__ = ["SUFFIXES", "cases_of"]

SUFFIXES = (".yaml", ".yml", ".json", ".csv")
"""What the name of a fleet file ends in; anything else is the name of a family."""


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
            raise InputError(
                f"{name!r} is neither a family ({', '.join(FAMILIES)}) nor a fleet file "
                f"({', '.join(SUFFIXES)})"
            )
        else:
            found.extend(_file(name, objectives, gpus))
    return found


def _file(name: str, objectives: Sequence[str], gpus: str | None) -> list[tuple[str, Case]]:
    """Return a fleet file under each objective."""
    stem = PurePath(os.fspath(name)).stem
    table = gpus if name.lower().endswith(".csv") else None
    problems = [read(name, objective=wanted, gpus=table) for wanted in objectives or (None,)]
    return [(stem, Case(f"{stem}-{problem.goal.value}", problem)) for problem in problems]
