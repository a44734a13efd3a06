"""The fleet file, kvplace.fleet/v1, to a `Problem`."""

import os
from collections.abc import Mapping
from typing import Any, TextIO

from kvplace.collector import paused_collector
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.files import is_csv, is_parquet, read_text
from kvplace.formats.diagnostics import Report
from kvplace.formats.text.document import mapping_of


@paused_collector()
def read(
    path: str | os.PathLike[str] | Mapping[str, Any] | TextIO,
    *,
    objective: str | None = None,
    gpus: str | None = None,
) -> Problem:
    """Read a problem from a file, or from what such a file holds.

    Parameters
    ----------
    path
        A kvplace.fleet/v1 file in YAML or JSON, or a models table: ``.csv`` or ``.parquet``. Or
        the mapping that a fleet file holds, or an open text file.
    objective
        ``requests``, ``tokens``, ``occupancy`` or ``pressure``; by default what the file says, or
        else what the facts suffice for, as in `Problem`.
    gpus
        For a models table, and only for it: the GPUs, such as ``8x80GiB,4xH100-SXM-80GB``, or
        the name of a table, CSV or Parquet, with a row per GPU.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    table = is_parquet(name) or is_csv(name)
    if gpus is not None and not table:
        raise InputError(
            "a fleet file names its GPUs itself; --gpus is for a table of models, whose name "
            "ends in .csv or .parquet",
            name,
        )
    if isinstance(path, Mapping):
        return _assembled(dict(path), Report(""), objective)
    if not isinstance(path, str | os.PathLike):
        name = str(getattr(path, "name", ""))
        try:
            text = path.read()
        except (OSError, ValueError) as error:  # such as one that is closed, or is not UTF-8
            raise InputError(f"it cannot be read: {error}", name) from error
        if not isinstance(text, str):
            raise InputError("open this file as text; it gives bytes", name)
        return parse_fleet(text, name, objective=objective)
    if table:
        if gpus is None:
            raise InputError(
                "a models table needs its GPUs too: --gpus 8x80GiB, or gpus='8x80GiB' in Python",
                name,
            )
        from kvplace.formats.tables.models import read_models  # noqa: PLC0415 - only for a table

        return read_models(name, gpus, objective)
    return parse_fleet(read_text(name), name, objective=objective)


def parse_fleet(text: str, source: str = "", *, objective: str | None = None) -> Problem:
    """Read a problem from the text of a fleet file, as `read` does.

    The text is JSON where the name `source` ends in ``.json``, else YAML.
    """
    return _assembled(*mapping_of(text, source, "fleet"), objective)


def _assembled(data: dict[str, Any], report: Report, objective: str | None) -> Problem:
    """Return the problem that the mapping of a fleet file states."""
    from kvplace.formats.fleet.build import Assembly  # noqa: PLC0415 - a table needs no schemas

    wanted = None if objective is None else Objective(objective)
    return Assembly(data, report, wanted).problem()
