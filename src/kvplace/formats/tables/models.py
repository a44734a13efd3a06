"""The models table to a `Problem`: CSV or Parquet, of any size, as strict on all of them.

Whole columns are looked at first; rows in which anything is out of the ordinary are then read as
models of a fleet file, so that what is refused, and in which words, is the same.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from kvplace.core.hardware import Fleet, Node
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.model_table import DemandColumns, ModelTable
from kvplace.core.models.objective import Objective
from kvplace.core.names import wrong_in_name
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError
from kvplace.facts.memory.estimated_table import models_with_estimates, with_estimates
from kvplace.files import is_csv, is_parquet
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.diagnostics import MAX_FAULTS, Path, Report, shown
from kvplace.formats.fleet.checks import (
    ALREADY,
    core_faults,
    cross_check,
    doubled,
    faults_at,
    with_degrees,
)
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.tables.arrow import Columns, read_table
from kvplace.formats.tables.csv_columns import CSVColumns
from kvplace.formats.tables.model_rows import (
    BY_WINDOW,
    HEADER,
    MOST,
    REQUIRED,
    SHAPE,
    column_text,
    row_model,
    shape_value,
    window_means,
    windows_of,
)
from kvplace.formats.tables.split_models import UNDIVIDED, Ways, split_columns, ways_of
from kvplace.formats.validation.csv_rows import uneven_row
from kvplace.units import LEAST

_NONE, _UNSOUND = -1, -2
"""In place of the number of a shape: a row that states none, and one whose shape is not sound."""
AT_ONCE = 1000
"""Rows that are looked at one by one together."""
FEW = 3000
"""Rows up to which models are objects of their own, with all that facts tell of each."""


def parse_table(
    text: str, gpus: str | Sequence[Node], source: str = "", *, objective: str | None = None
) -> Problem:
    """Read a problem from a table of models.

    Parameters
    ----------
    text
        CSV with a header of `COLUMNS`; ``name``, ``weights_gib`` and ``requests_per_second`` are
        required, and an empty cell is a value not given.
    gpus
        As in `kvplace.formats.fleet.gpu_groups.parse_gpus`; or the nodes themselves.
    source
        Name of the file, for messages.
    objective
        As in `kvplace.formats.read.read`.

    Raises
    ------
    InputError
        With every fault of the table, each with its column and line, and of `gpus`.
    """
    report = Report(source)
    nodes = _nodes(gpus, report)
    return _problem(CSVColumns(text, HEADER, report), nodes, report, objective)


def read_models(source: str, gpus: str, objective: str | None) -> Problem:
    """Read a problem from a file of models, CSV or Parquet, as `parse_table` does.

    Faults of Parquet name the row, counted from 0, in place of the line. The GPUs may be a file
    as well.
    """
    report = Report(source)
    nodes = _nodes(gpus, report)
    return _problem(read_table(source, HEADER, report), nodes, report, objective)


def _nodes(gpus: str | Sequence[Node], report: Report) -> Sequence[Node]:
    """Return the nodes that are stated as text, by a file, or as they are."""
    if not isinstance(gpus, str):
        return gpus
    if is_parquet(gpus) or is_csv(gpus):
        from kvplace.formats.tables.gpus_columns import read_gpus  # noqa: PLC0415 - not often

        return read_gpus(gpus)
    with faults_at((f"--gpus {shown(gpus)}",), report):
        return parse_gpus(gpus)
    return ()


def _problem(columns: Columns, nodes: Sequence[Node], report: Report, named: str | None) -> Problem:
    """Return the problem of some columns, under the objective of a name."""
    objective, source = None if named is None else Objective(named), report.source
    reader = _Reader(columns, nodes, source)
    if report and columns.rows <= FEW:
        reader.assemble(range(columns.rows), objective, report)
    report.refuse()
    table, ways = reader.table(), reader.ways()
    if len(table) <= FEW:
        if reader.odd:
            return reader.assemble(range(len(table)), objective)
        return reader.divided(table, ways or [UNDIVIDED] * len(table), objective)
    chosen = objective or (
        Objective.REQUESTS if any(table.missing(Objective.OCCUPANCY)) else Objective.OCCUPANCY
    )
    try:
        missing: dict[int, None] = {}
        with suppress(InputError):  # numbers out of bounds, whose rows are odd
            missing = dict.fromkeys(row for row, _ in table.missing(chosen))
        reader.look_at(reader.odd | missing, chosen)
    except InputError as error:
        # Of the rows looked at, a name given twice is told with positions among them.
        others = [fault for fault in error.faults if ALREADY not in fault.message]
        raise InputError([*others, *reader.doubled(table.names)], source) from None
    if ways is not None:
        return reader.divided(table, ways, objective)
    table = with_estimates(table, nodes, **reader.unstated)
    timing = None
    if chosen is Objective.PRESSURE or table.shapes:
        timing = ShareTiming(guess=chosen is Objective.PRESSURE)
    try:
        # With shapes the facts decide, as they do of a fleet file.
        goal = objective if table.shapes else chosen
        return Problem(table, Fleet(tuple(nodes)), goal, timing=timing)
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
        self.odd: dict[int, None] = dict.fromkeys(columns.uneven)
        self._empty: dict[str, Sequence[int]] = {}
        self._windows = windows_of(columns.names)

    def table(self) -> ModelTable:
        """Return all rows as a table of models."""
        kv_bytes: array[int] = array("q")
        if "kv_bytes_per_token" in self._columns.names:
            kv_bytes, bad = self._columns.whole("kv_bytes_per_token")
            most = MOST["kv_bytes_per_token"]
            self.odd |= dict.fromkeys(bad)
            self.odd |= dict.fromkeys(row for row, size in enumerate(kv_bytes) if size > most)
        windows = tuple(map(self._window, self._windows))
        means = window_means(windows) if windows else None
        return ModelTable(
            names=self._names(),
            weights_bytes=self._sizes("weights_gib"),
            overhead_bytes=self._sizes("overhead_gib"),
            min_kv_bytes=self._sizes("min_kv_gib"),
            requests_per_second=means[0] if means else self._numbers("requests_per_second"),
            latency_seconds=self._numbers("slo_seconds"),
            prompt_tokens=means[1] if means else self._numbers("prompt_tokens"),
            output_tokens=means[2] if means else self._numbers("output_tokens"),
            ttft_seconds=self._numbers("ttft_seconds"),
            tpot_seconds=self._numbers("tpot_seconds"),
            kv_bytes_per_token=kv_bytes,
            windows_of_demand=windows,
            **self._shapes(),
        )

    def ways(self) -> list[Ways | None] | None:
        """Return what `ways_of` does; rows that state nothing sound are odd."""
        ways = ways_of(self._columns)
        self.odd |= dict.fromkeys(row for row, way in enumerate(ways or ()) if way is None)
        return ways

    def divided(
        self, table: ModelTable, ways: list[Ways | None], objective: Objective | None
    ) -> Problem:
        """Return the problem of models some of which may be split or copied.

        Raises
        ------
        InputError
            With every fault.
        """
        rows, sound = range(len(ways)), [way for way in ways if way is not None]
        if len(sound) < len(ways):  # a cell that only a closer look could read
            return self.assemble(rows, objective)
        report, assumed = self._report(rows), list[str]()
        stated = split_columns(table, sound)
        models = [
            with_degrees(row, model, report, assumed)
            for row, model in enumerate(models_with_estimates(stated, self._nodes, **self.unstated))
        ]
        cross_check(table.names, models, objective, report)
        report.refuse()
        timing = ShareTiming(guess=objective is Objective.PRESSURE)
        with core_faults(report):
            return Problem(
                tuple(models), Fleet(tuple(self._nodes)), objective, timing=timing,
                assumed=tuple(assumed),
            )  # fmt: skip

    def _shapes(self) -> dict[str, Any]:
        """Return the shapes that rows state, each once, and which of them each row has.

        Rows whose shape is not sound are odd.
        """
        named = [name for name in SHAPE if name in self._columns.names]
        if not named:
            return {}
        found: dict[tuple[str | None, ...], int] = {}
        shapes: list[Architecture] = []
        which: array[int] = array("i")
        for row, cells in enumerate(zip(*map(self._columns.texts, named), strict=True)):
            if cells not in found:
                pairs = zip(named, cells, strict=True)
                given = {n: shape_value(c) for n, c in pairs if c and c != "nan"}
                from kvplace.formats.fleet.shape import shape_of  # noqa: PLC0415 - only for these

                try:
                    shape = shape_of(given) if given else None
                except ValueError:
                    found[cells] = _UNSOUND
                else:
                    found[cells] = len(shapes) if shape else _NONE
                    shapes += [shape] if shape else []
            which.append(found[cells])
            if found[cells] == _UNSOUND:
                self.odd[row] = None
        return {"shapes": tuple(shapes), "shape_of": which}

    def _window(self, window: str) -> DemandColumns:
        """Return the demand of a window; tokens that it does not state are those of all windows."""

        def column(base: str) -> array[float]:
            own, shared = f"{base}@{window}", self._numbers(base)
            if own not in self._columns.names:
                if base in REQUIRED:  # a closer look tells of each row what is missing
                    self.odd |= dict.fromkeys(range(self._columns.rows))
                    return array("d", [0.0]) * self._columns.rows
                return shared
            values = self._numbers(own)
            for row, value in enumerate(shared):
                if math.isnan(values[row]):
                    values[row] = value
            return values

        return DemandColumns(window, *map(column, BY_WINDOW))

    def look_at(self, rows: Iterable[int], objective: Objective) -> None:
        """Read rows as those of a short table.

        Raises
        ------
        InputError
            With every fault of theirs.
        """
        ordered = sorted(rows)
        for first in range(0, len(ordered), AT_ONCE):
            self.assemble(ordered[first : first + AT_ONCE], objective)

    def assemble(
        self, rows: Sequence[int], objective: Objective | None, report: Report | None = None
    ) -> Problem:
        """Return the problem of some rows, model by model.

        Parameters
        ----------
        rows, objective
            Which rows, and what is asked for.
        report
            What is wrong besides; None for nothing.

        Raises
        ------
        InputError
            With every fault of theirs.
        """
        from kvplace.formats.fleet.build import Assembly  # noqa: PLC0415 - only for a closer look
        from kvplace.formats.fleet.schema import FLEET_SCHEMA  # noqa: PLC0415 - only for a closer look

        report, models = self._report(rows, report), []
        for index, cells in enumerate(self._columns.cells(rows)):
            if rows[index] in self._columns.uneven:
                width = self._columns.uneven[rows[index]]
                report.add(("models", index), uneven_row(width, len(self._columns.names)))
            models.append(row_model(cells, index, report, self._windows))
            if report.full:
                break
        data = {"schema": FLEET_SCHEMA, "nodes": [], "models": models}
        return Assembly(data, report, objective, tuple(self._nodes)).problem()

    def _report(self, rows: Sequence[int], report: Report | None = None) -> Report:
        """Return a report that names some rows by their lines and columns; one that is given."""
        report = report or Report(self._source)

        def row_of(path: Path) -> int | None:
            at = path[1] if len(path) > 1 and path[0] == "models" else None
            return rows[at] if isinstance(at, int) else None

        def text_of(path: Path) -> str:
            row = row_of(path)
            return column_text(path if row is None else ("models", row, *path[2:]))

        def line_of(path: Path) -> int | None:
            row = row_of(path)
            return None if row is None else self._columns.line_of(row)

        report.line_of, report.text_of = line_of, text_of
        return report

    def doubled(self, names: Sequence[str]) -> list[Fault]:
        """Return what is to be said of names that are there twice."""
        told = islice(((row, text) for row, text in doubled(names) if names[row]), MAX_FAULTS)
        line_of = self._columns.line_of
        return [Fault(text, f"models[{row}].name", line_of(row)) for row, text in told]

    def _names(self) -> list[str]:
        """Return the names; those that a file may not hold are odd."""
        names = self._columns.texts("name")
        self.odd |= dict.fromkeys(
            row for row, text in enumerate(names) if wrong_in_name(text or "")
        )
        return names  # type: ignore[return-value]  # a row without one is refused

    def _numbers(self, column: str) -> array[float]:
        """Return a column, empty where there is none; what is out of bounds is odd."""
        if column not in self._columns.names:
            return array("d")
        values, bad = self._columns.numbers(column)
        self.odd |= dict.fromkeys(bad)
        base = column.partition("@")[0]
        most, required = MOST[base], base in REQUIRED
        listed = values.tolist()  # NaN, if there is one, shows in the sum
        if min(listed) >= LEAST and max(listed) <= most and not math.isnan(sum(listed)):
            return values
        for row, value in enumerate(values):
            if not (value == 0 or LEAST <= value <= most) and (required or not math.isnan(value)):
                self.odd[row] = None
            elif value == 0 and column.endswith("_seconds"):
                self.odd[row] = None  # a load may divide by it
        return values

    def _sizes(self, column: str) -> array[int]:
        """Return a column of GiB in bytes; a row without one gets 0 and is kept in mind."""
        if column not in self._columns.names:
            none: array[int] = array("q", [0]) * self._columns.rows
            self._empty[column] = range(self._columns.rows)
            return none
        sizes, bad = self._columns.sizes(column)
        self.odd |= dict.fromkeys(bad)
        empty = [row for row, size in enumerate(sizes) if size < 0] if min(sizes) < 0 else []
        self._empty[column] = empty
        if column in REQUIRED:
            self.odd |= dict.fromkeys(empty)
        for row in empty:
            sizes[row] = 0
        return sizes

    @property
    def unstated(self) -> dict[str, Any]:
        """Rows of the table that state no overhead, and no least KV memory."""
        return {"overhead": self._empty["overhead_gib"], "least": self._empty["min_kv_gib"]}
