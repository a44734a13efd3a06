"""The rows of a plan, one per shard: columns of CSV or Parquet to a `PlanTable`, and CSV back."""

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from kvplace.formats.diagnostics import MOST_NOTED, Path, Report, shown
from kvplace.formats.plan.table import COLUMNS, UNSTATED, PlanTable
from kvplace.formats.tables.arrow import Columns
from kvplace.formats.tables.csv_columns import CSVColumns
from kvplace.formats.text.cells import safe_cell
from kvplace.formats.validation.csv_rows import Header, uneven_row

if TYPE_CHECKING:
    from kvplace.formats.plan.stated import Plan

_NEEDED = ("model", "replica", "shard", "gpu")
_WHOLE = ("replica", "shard", "weights_bytes")
HEADER = Header(
    _NEEDED,
    tuple(column for column in COLUMNS if column not in _NEEDED),
    texts=("model", "node", "gpu"),
    whole=_WHOLE,
)
"""Columns of a plan."""

_QUOTED = re.compile(r'[,"\r\n]')
"""What puts a cell of a CSV in quotes."""
_Fault = tuple[int, Path, str]
"""Row, path of what is wrong, and what."""


def table_of_columns(columns: Columns, report: Report, head: "Plan | None" = None) -> PlanTable:
    """Return the rows of a plan.

    Parameters
    ----------
    columns
        Of `HEADER`.
    report
        Where faults go.
    head
        What is stated beside the rows.

    Raises
    ------
    InputError
        With every fault, each with its row, column and line.
    """
    width = len(columns.names)
    faults: list[_Fault] = [
        (row, ("rows", row), uneven_row(cells, width)) for row, cells in columns.uneven.items()
    ]
    (models, model_at), (gpus, gpu_at) = map(columns.coded, ("model", "gpu"))
    for column, at in (("model", model_at), ("gpu", gpu_at)):
        faults += _where(column, "is empty", [row for row, i in enumerate(at) if i < 0])
    counts: dict[str, array[int]] = {"weights_bytes": array("q")}
    for column in filter(columns.names.__contains__, _WHOLE):
        counts[column], bad = columns.whole(column)
        faults += _where(column, "is not a whole number", bad)
        if column in _NEEDED and min(counts[column]) < 0:
            empty = {row for row, number in enumerate(counts[column]) if number < 0}
            faults += _where(column, "is empty", sorted(empty.difference(bad)))
    loads: array[float] = array("d")
    if "load" in columns.names:
        loads, bad = columns.numbers("load")
        wrong = [row for row, load in enumerate(loads) if load < 0 or math.isinf(load)]
        faults += _where("load", "is not a load", sorted({*bad, *wrong}))
        loads = array("d", [UNSTATED if math.isnan(load) else load for load in loads])
    table = PlanTable(
        models=[models[i] if i >= 0 else "" for i in model_at],
        gpus=(gpus, gpu_at),
        replicas=counts["replica"],
        shards=counts["shard"],
        weights_bytes=counts["weights_bytes"],
        loads=loads,
        head=head,
    )
    if faults or not table.undivided or len(set(model_at)) < columns.rows:
        faults += _numbering(table, {row for row, _, _ in faults})
    if faults:
        _note(faults, columns, report)
        report.refuse()
    return table


def _where(column: str, message: str, rows: Sequence[int]) -> list[_Fault]:
    """Return what is wrong with a column in some rows."""
    return [(row, ("rows", row, column), message) for row in rows[:MOST_NOTED]]


def _note(faults: list[_Fault], columns: Columns, report: Report) -> None:
    """Note faults, each with its line and with what the row says in its place."""
    rows = sorted({row for row, _, _ in faults})
    cells = dict(zip(rows, columns.cells(rows), strict=True))
    for row, path, message in sorted(faults, key=itemgetter(0)):
        column = str(path[-1]) if len(path) > 2 else ""
        if not column or row not in columns.uneven:
            said = cells[row].get(column)
            told = message if said is None else f"{shown(said)} {message}"
            report.add(path, told, columns.line_of(row))


def _numbering(table: PlanTable, without: set[int]) -> Iterator[_Fault]:
    """Yield shards that are there twice, and copies whose shards do not count from 0.

    Of models that some rows are wrong of, nothing more is said.
    """
    odd = {table.models[row] for row in without}
    copies: dict[tuple[str, int], dict[int, int]] = {}  # row of each shard
    rows = enumerate(zip(table.models, table.replicas, table.shards, strict=True))
    for row, (model, replica, shard) in rows:
        if model in odd:
            continue
        held = copies.setdefault((model, replica), {})
        if shard in held:
            yield (
                row,
                ("rows", row),
                f"shard {shard} of replica {replica} of {shown(model)} is twice",
            )
        held.setdefault(shard, row)
    for (model, replica), held in copies.items():
        if max(held) != len(held) - 1:
            named = ", ".join(map(str, islice(sorted(held), 8)))
            message = f"{shown(model)} has the shards {named}; they count from 0"
            yield next(iter(held.values())), (), f"replica {replica} of {message}"


def _cells(texts: Sequence[str]) -> list[str]:
    """Return texts as cells."""
    cells = list(map(safe_cell, texts))
    if _QUOTED.search("".join(cells)):
        cells = ['"{}"'.format(c.replace('"', '""')) if _QUOTED.search(c) else c for c in cells]
    return cells


def table_text(table: PlanTable) -> str:
    """Return the CSV of a plan's rows, sorted by model, copy and rank."""
    ids, at = table.gpus
    order: Sequence[int] = range(len(table.models))
    keys = (table.models,) if table.undivided else (table.shards, table.replicas, table.models)
    for key in keys:  # the last decides, then the one before
        order = sorted(order, key=key.__getitem__)
    nodes = _cells([gpu.rpartition("/")[0] for gpu in ids])
    places = list(map(",".join, zip(nodes, _cells(ids), strict=True)))
    cells = zip(
        _cells(table.models), table.replicas, table.shards, map(places.__getitem__, at),
        table.weights_bytes, table.loads, strict=True,
    )  # fmt: skip
    lines = list(map("%s,%d,%d,%s,%d,%r\n".__mod__, cells))  # in half the time of a csv.writer
    return "".join([",".join(COLUMNS) + "\n", *map(lines.__getitem__, order)])


def parse_plan_table(text: str, source: str = "") -> PlanTable:
    """Read the CSV form of a plan.

    Raises
    ------
    InputError
        With every fault, each with its row, column and line.
    """
    report = Report(source)
    return table_of_columns(CSVColumns(text, HEADER, report), report)
