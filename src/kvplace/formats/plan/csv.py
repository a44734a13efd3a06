"""The CSV form of a plan: one row per shard."""

import csv
import io
from array import array
from collections.abc import Iterable

from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.plan.table import COLUMNS, NEEDED, UNSTATED, PlanTable, note_numbering
from kvplace.formats.text.cells import safe_cell
from kvplace.formats.validation.csv_rows import read_rows

__all__ = ["parse_plan_table", "table_text"]

_Row = tuple[str, int, int, str, int, float]


def table_text(shards: Iterable[tuple[str, int, int, str, int, float]]) -> str:
    """Return the CSV of shards given as model, replica, shard, GPU, weights and load."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for model, replica, shard, gpu, weights_bytes, load in sorted(shards):
        node = gpu.rpartition("/")[0]
        names = (safe_cell(text) for text in (node, gpu))
        writer.writerow((safe_cell(model), replica, shard, *names, weights_bytes, repr(load)))
    return buffer.getvalue()


def parse_plan_table(text: str, source: str = "") -> PlanTable:
    """Read the CSV form of a plan.

    Raises
    ------
    InputError
        With every fault, each with its row, column and line.
    """
    report = Report(source)
    optional = [column for column in COLUMNS if column not in NEEDED]
    rows: list[_Row] = []
    lines: list[int] = []
    table = read_rows(text, NEEDED, optional, report, lambda row: ("rows", row))
    for number, (cells, line) in enumerate(table):
        row = _row(cells, ("rows", number), line, report)
        if row is not None:
            rows.append(row)
            lines.append(line)
    note_numbering(((row[0], row[1], row[2]) for row in rows), lines, report)
    report.refuse()
    ids = {gpu: at for at, gpu in enumerate(dict.fromkeys(row[3] for row in rows))}
    return PlanTable(
        models=[row[0] for row in rows],
        gpus=(list(ids), array("q", [ids[row[3]] for row in rows])),
        replicas=array("q", [row[1] for row in rows]),
        shards=array("q", [row[2] for row in rows]),
        weights_bytes=array("q", [row[4] for row in rows]),
        loads=array("d", [row[5] for row in rows]),
    )


def _row(cells: dict[str, str], path: Path, line: int, report: Report) -> _Row | None:
    """Return one row; None, and its faults, where it is wrong."""
    if report.covers(path):
        return None
    missing = [column for column in NEEDED if column not in cells]
    for column in missing:
        report.add((*path, column), "is empty", line)
    numbers: dict[str, int] = {}
    for column in ("replica", "shard", "weights_bytes"):
        numbers[column] = UNSTATED
        if column in cells:
            cell = cells[column]
            if cell.isascii() and cell.isdigit() and len(cell) <= 18:
                numbers[column] = int(cell)
            else:
                missing.append(column)
                report.add((*path, column), f"{shown(cell)} is not a whole number", line)
    load = float(UNSTATED)
    if "load" in cells:
        cell = cells["load"]
        try:
            load = float(cell) if cell.isascii() and "_" not in cell else -1.0
        except ValueError:
            load = -1.0
        if not 0 <= load < float("inf"):
            missing.append("load")
            report.add((*path, "load"), f"{shown(cells['load'])} is not a load", line)
    if missing:
        return None
    replica, shard, weights = (numbers[key] for key in ("replica", "shard", "weights_bytes"))
    return cells["model"], replica, shard, cells["gpu"], weights, load
