"""The CSV form of a plan: one row per shard."""

import csv
import io
from array import array
from collections.abc import Sequence

from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.plan.table import COLUMNS, NEEDED, UNSTATED, PlanTable, note_numbering
from kvplace.formats.text.cells import safe_cell
from kvplace.formats.validation.csv_rows import read_rows

__all__ = ["parse_plan_table", "table_text"]

_Row = tuple[str, int, int, str, int, float]


def table_text(table: PlanTable) -> str:
    """Return the CSV of a plan's rows, sorted by model, copy and rank."""
    ids, at = table.gpus
    gpus = list(map(safe_cell, ids))
    nodes = [safe_cell(gpu.rpartition("/")[0]) for gpu in ids]
    order: Sequence[int] = range(len(table.models))
    keys = (table.models,) if table.undivided else (table.shards, table.replicas, table.models)
    for key in keys:  # the last decides, then the one before
        order = sorted(order, key=key.__getitem__)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    held = [at[row] for row in order]
    texts = map(safe_cell, map(table.models.__getitem__, order))
    copies, ranks = (map(of.__getitem__, order) for of in (table.replicas, table.shards))
    where = (map(of.__getitem__, held) for of in (nodes, gpus))
    taken = map(table.weights_bytes.__getitem__, order)
    loads = map(table.loads.__getitem__, order)
    writer.writerows(zip(texts, copies, ranks, *where, taken, loads, strict=True))
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
