"""Plan files in and out: JSON, CSV and Parquet, by the ending of the name."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import overload

from kvplace.collector import paused_collector
from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.files import MAX_ROWS_BYTES, is_csv, is_parquet, read_text, write_atomic
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import PlanPart
from kvplace.formats.plan.stated import Plan
from kvplace.formats.plan.table import PlanTable, table_of
from kvplace.formats.validation.json_text import json_pieces


@overload
def write_plan(plan: Plan | Result) -> str: ...


@overload
def write_plan(plan: Result, path: str | os.PathLike[str]) -> None: ...


@paused_collector()
def write_plan(plan: Plan | Result, path: str | os.PathLike[str] | None = None) -> str | None:
    """Return the JSON of a plan, or write a result to a file.

    Parameters
    ----------
    plan
        A result, or what a plan states of one.
    path
        Where a result is to be written, all or nothing: ``.csv`` and ``.parquet`` have one row
        per shard, any other name gets the JSON. None returns the JSON.

    Returns
    -------
    str or None
        The JSON, in which infinities are null and floats read back equal; None where it was
        written.

    Raises
    ------
    InputError
        The file cannot be written, or a result without a placement has no rows to write.
    """
    if path is None:
        return "".join(plan_pieces(plan))
    if not isinstance(plan, Result):
        told = "a file is written from a result, as kvplace.load_plan returns one; without a path"
        raise InputError(f"{told} write_plan returns the JSON of a plan", os.fspath(path))
    write_atomic(path, _plan_content(plan, os.fspath(path)))
    return None


def _plan_content(result: Result, name: str) -> str | bytes | Callable[[], Iterable[str]]:
    """Return what a plan file of that name holds.

    Raises
    ------
    InputError
        The form has one row per shard, and there is no placement.
    """
    if not (is_parquet(name) or is_csv(name)):
        return partial(plan_pieces, result)
    if result.placement is None:
        raise InputError("there is no placement, so no rows; write the plan as JSON", name)
    if not is_parquet(name):
        from kvplace.formats.plan.rows import table_text  # noqa: PLC0415 - only for CSV

        return table_text(table_of(result))
    from kvplace.formats.plan.parquet import plan_bytes  # noqa: PLC0415 - only for Parquet

    return plan_bytes(result)


def plan_pieces(plan: Plan | Result) -> Iterator[str]:
    """Yield the JSON of a plan piece by piece, so that no text of all of it is in memory."""
    yield from json_pieces(PlanPart, plan if isinstance(plan, Plan) else plan_of(plan))


@paused_collector()
def read_plan(path: str | os.PathLike[str]) -> Plan | PlanTable:
    """Read what a plan file states: JSON, or a ``.csv`` or ``.parquet`` of its shards.

    Nothing of it is checked; `kvplace.load_plan` returns a result that is.

    Returns
    -------
    Plan or PlanTable
        Both have a `placement` and an `objective`; rows alone state little else.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    name = os.fspath(path)
    if is_parquet(name):
        from kvplace.formats.plan.parquet import read_plan_table  # noqa: PLC0415 - only for Parquet

        return read_plan_table(name)
    text = read_text(name, MAX_ROWS_BYTES)
    if is_csv(name):
        from kvplace.formats.plan.rows import parse_plan_table  # noqa: PLC0415 - only for CSV

        return parse_plan_table(text, name)
    from kvplace.formats.plan.schema import parse_plan  # noqa: PLC0415 - most plans are written

    return parse_plan(text, name)
