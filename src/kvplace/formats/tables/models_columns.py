"""A table of models in columns, Parquet or big CSV, to a `Problem`: as strict as for small ones.

Whole columns are looked at first. Rows in which anything is out of the ordinary are then read as
a small table would be, so that what is refused, and in which words, is the same.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from kvplace.core.hardware import Fleet, Node
from kvplace.core.model import DEFAULT_OVERHEAD_BYTES
from kvplace.core.model_table import ModelTable
from kvplace.core.objective import Objective
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.formats.diagnostics import MAX_FAULTS, Path, Report, shown
from kvplace.formats.fleet.build import Assembly
from kvplace.formats.fleet.schema import FLEET_SCHEMA
from kvplace.formats.tables.arrow import Columns, numbers, texts, whole
from kvplace.formats.tables.models_csv import COLUMNS, REQUIRED, column_text, row_model
from kvplace.formats.validation.csv_rows import check_header
from kvplace.formats.validation.fields import name as check_name
from kvplace.units import GIB, MAX_BYTES

__all__ = ["problem_of_columns"]

AT_ONCE = 1000
"""Rows that are looked at one by one together."""
MOST = {
    "requests_per_second": 1e12,
    "prompt_tokens": 1e9,
    "output_tokens": 1e9,
    "slo_seconds": 365 * 86400.0,
    "ttft_seconds": 365 * 86400.0,
    "tpot_seconds": 365 * 86400.0,
    "kv_bytes_per_token": 2.0**40,
}
"""Largest number of each column that is accepted without a closer look."""


def problem_of_columns(
    columns: Columns, nodes: Sequence[Node], source: str, objective: Objective | None
) -> Problem:
    """Return the problem of a table of models.

    Parameters
    ----------
    columns
        With the columns of a models table, all or some.
    nodes
        Where the models go.
    source
        Name of the file, for messages.
    objective
        The load; None for the default.

    Raises
    ------
    InputError
        With every fault, each with its row, counted from 0, and its column.
    """
    header = list(columns.column_names)
    report = Report(source)
    check_header(header, REQUIRED, [c for c in COLUMNS if c not in REQUIRED], report, None)
    if not columns.num_rows:
        report.stop((), "the table has no rows")
    reader = _Reader(columns, nodes, source)
    table = reader.table()
    chosen = objective or (
        Objective.REQUESTS if any(table.missing(Objective.OCCUPANCY)) else Objective.OCCUPANCY
    )
    try:
        missing = dict.fromkeys(row for row, _ in table.missing(chosen))
        reader.look_at(reader.odd | missing, chosen)
        if any(c in header and reader.divided(c) for c in ("tensor_parallel", "replicas")):
            return reader.assemble(range(columns.num_rows), chosen)
    except InputError as error:
        raise InputError([*error.faults, *reader.doubled(table.names)], source) from None
    try:
        return Problem(table, Fleet(tuple(nodes)), chosen)
    except InputError as error:
        raise InputError(reader.doubled(table.names) or error.faults, source) from None


class _Reader:
    """Reads columns, and notes the rows that need a closer look.

    Attributes
    ----------
    odd
        Those rows, in a dictionary for its order.
    """

    def __init__(self, columns: Columns, nodes: Sequence[Node], source: str) -> None:
        self._columns = columns
        self._nodes = nodes
        self._source = source
        self.odd: dict[int, None] = {}

    def table(self) -> ModelTable:
        """Return all rows as a table of models."""
        overhead = self._bytes("overhead_gib", DEFAULT_OVERHEAD_BYTES)
        kv_bytes = array("q")
        if "kv_bytes_per_token" in self._columns.column_names:
            self._numbers("kv_bytes_per_token")
            kv_bytes, bad = whole(self._columns["kv_bytes_per_token"])
            self.odd |= dict.fromkeys(bad)
        return ModelTable(
            names=self._names(),
            weights_bytes=self._bytes("weights_gib", None),
            overhead_bytes=overhead,
            min_kv_bytes=self._bytes("min_kv_gib", 0),
            requests_per_second=self._numbers("requests_per_second"),
            latency_seconds=self._numbers("slo_seconds"),
            prompt_tokens=self._numbers("prompt_tokens"),
            output_tokens=self._numbers("output_tokens"),
            ttft_seconds=self._numbers("ttft_seconds"),
            tpot_seconds=self._numbers("tpot_seconds"),
            kv_bytes_per_token=kv_bytes,
        )

    def divided(self, column: str) -> bool:
        """Whether a column says anything else than 1."""
        values, at = texts(self._columns[column])
        return any(values[i] != "1" for i in set(at) if i >= 0)

    def look_at(self, rows: Iterable[int], objective: Objective) -> None:
        """Read rows as those of a small table.

        Raises
        ------
        InputError
            With every fault of theirs.
        """
        ordered = sorted(rows)
        for first in range(0, len(ordered), AT_ONCE):
            self.assemble(ordered[first : first + AT_ONCE], objective)

    def assemble(self, rows: Sequence[int], objective: Objective) -> Problem:
        """Return the problem of some rows, model by model.

        Raises
        ------
        InputError
            With every fault of theirs.
        """

        def text_of(path: Path) -> str:
            if len(path) > 1 and path[0] == "models" and isinstance(path[1], int):
                path = ("models", rows[path[1]], *path[2:])
            return column_text(path)

        report = Report(self._source, text_of=text_of)
        taken = self._columns.take(list(rows)).to_pylist()
        models = [row_model(_cells(row), index, report) for index, row in enumerate(taken)]
        data: dict[str, Any] = {"schema": FLEET_SCHEMA, "nodes": [], "models": models}
        return Assembly(data, report, objective, tuple(self._nodes)).problem()

    def doubled(self, names: Sequence[str]) -> list[Fault]:
        """Return what is to be said of names that are there twice."""
        seen: dict[str, int] = {}
        faults: list[Fault] = []
        for row, text in enumerate(names):
            first = seen.setdefault(text, row)
            if first != row and len(faults) < MAX_FAULTS:
                message = f"{shown(text)} is already the name of models[{first}]"
                faults.append(Fault(message, f"models[{row}].name"))
        return faults

    def _names(self) -> list[str]:
        """Return the names; those that a file may not hold are odd."""
        names: list[str] = self._columns["name"].to_pylist()
        self.odd |= dict.fromkeys(row for row, text in enumerate(names) if not _sound(text))
        return names

    def _numbers(self, column: str) -> array[float]:
        """Return a column, empty where there is none; what is out of bounds is odd."""
        if column not in self._columns.column_names:
            return array("d")
        values, bad = numbers(self._columns[column])
        self.odd |= dict.fromkeys(bad)
        most, required = MOST[column], column in REQUIRED
        for row, value in enumerate(values):
            if not 0 <= value <= most and (required or not math.isnan(value)):
                self.odd[row] = None
            elif value == 0 and column.endswith("_seconds"):
                self.odd[row] = None  # a load may divide by it
        return values

    def _bytes(self, column: str, default: int | None) -> array[int]:
        """Return a column of GiB in bytes; what is out of bounds is odd."""
        count = self._columns.num_rows
        if column not in self._columns.column_names:
            same: array[int] = array("q", [default or 0]) * count
            return same
        values, bad = numbers(self._columns[column], GIB)
        self.odd |= dict.fromkeys(bad)
        sizes: array[int] = array("q", bytes(8 * count))
        for row, value in enumerate(values):
            if 0 <= value <= MAX_BYTES:
                sizes[row] = round(value)
            elif math.isnan(value) and default is not None:
                sizes[row] = default
            else:
                self.odd[row] = None
        return sizes


def _sound(text: Any) -> bool:
    """Whether a file may hold that name."""
    if not isinstance(text, str):
        return False
    try:
        check_name(text)
    except ValueError:
        return False
    return True


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """Return a row as the cells that a table in text would have."""
    cells = {}
    for column, value in row.items():
        if value is None or value == "":
            continue
        whole_float = isinstance(value, float) and value.is_integer() and column in _WHOLE
        cells[column] = str(int(value) if whole_float else value)
    return cells


_WHOLE = ("kv_bytes_per_token", "tensor_parallel", "replicas")
