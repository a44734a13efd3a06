"""The CSV form of a plan: one row per shard."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from kvplace.core.placement import Placement, Replica
from kvplace.formats.diagnostics import Path, Report, shown

__all__ = ["COLUMNS", "PlanRow", "PlanTable", "parse_plan_table", "table_text"]

COLUMNS = ("model", "replica", "shard", "node", "gpu", "weights_bytes", "load")
_NEEDED = ("model", "replica", "shard", "gpu")


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One shard as a row states it.

    Parameters
    ----------
    model, replica, shard, gpu
        Name of the model, number of the copy, rank within the copy, id of the GPU.
    weights_bytes, load
        What it takes; None where the cell is empty.
    """

    model: str
    replica: int
    shard: int
    gpu: str
    weights_bytes: int | None
    load: float | None


@dataclass(frozen=True, slots=True)
class PlanTable:
    """What the CSV form of a plan states: a placement, and what each shard takes.

    Parameters
    ----------
    rows
        In the order of the file.
    placement
        The decision.
    """

    rows: tuple[PlanRow, ...]
    placement: Placement


def table_text(shards: Iterable[tuple[str, int, int, str, int, float]]) -> str:
    """Return the CSV of shards given as model, replica, shard, GPU, weights and load."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for model, replica, shard, gpu, weights_bytes, load in sorted(shards):
        node = gpu.rpartition("/")[0]
        writer.writerow((model, replica, shard, node, gpu, weights_bytes, repr(load)))
    return buffer.getvalue()


def parse_plan_table(text: str, source: str = "") -> PlanTable:
    """Read the CSV form of a plan.

    Raises
    ------
    InputError
        With every fault, each with its row, column and line.
    """
    from kvplace.formats.validation.csv_rows import read_rows  # noqa: PLC0415 - writing needs none of it

    report = Report(source)
    optional = [column for column in COLUMNS if column not in _NEEDED]
    rows = []
    groups: dict[tuple[str, int], dict[int, str]] = {}
    lines: dict[tuple[str, int], int] = {}
    table = read_rows(text, _NEEDED, optional, report, lambda row: ("rows", row))
    for number, (cells, line) in enumerate(table):
        row = _row(cells, ("rows", number), line, report)
        if row is None:
            continue
        rows.append(row)
        copy = (row.model, row.replica)
        shards = groups.setdefault(copy, {})
        lines.setdefault(copy, line)
        if row.shard in shards:
            message = f"shard {row.shard} of replica {row.replica} of {shown(row.model)} is twice"
            report.add(("rows", number), message, line)
        shards[row.shard] = row.gpu
    for (model, replica), shards in groups.items():
        if sorted(shards) != list(range(len(shards))):
            named = ", ".join(map(str, sorted(shards)[:8]))
            message = (
                f"replica {replica} of {shown(model)} has the shards {named}; they count from 0"
            )
            report.add((), message, lines[model, replica])
    report.refuse()
    replicas = (
        Replica(model, index, tuple(shards[rank] for rank in range(len(shards))))
        for (model, index), shards in groups.items()
    )
    return PlanTable(tuple(rows), Placement(tuple(replicas)))


def _row(cells: dict[str, str], path: Path, line: int, report: Report) -> PlanRow | None:
    """Return one row; None, and its faults, where it is wrong."""
    if report.covers(path):
        return None
    missing = [column for column in _NEEDED if column not in cells]
    for column in missing:
        report.add((*path, column), "is empty", line)
    numbers: dict[str, int | None] = {}
    for column in ("replica", "shard", "weights_bytes"):
        numbers[column] = None
        if column in cells:
            cell = cells[column]
            if cell.isascii() and cell.isdigit() and len(cell) <= 18:
                numbers[column] = int(cell)
            else:
                missing.append(column)
                report.add((*path, column), f"{shown(cell)} is not a whole number", line)
    load = None
    if "load" in cells:
        try:
            load = float(cells["load"])
        except ValueError:
            load = -1.0
        if not 0 <= load < float("inf"):
            missing.append("load")
            report.add((*path, "load"), f"{shown(cells['load'])} is not a load", line)
    replica, shard = numbers["replica"], numbers["shard"]
    if missing or replica is None or shard is None:
        return None
    model, gpu = cells["model"], cells["gpu"]
    return PlanRow(model, replica, shard, gpu, numbers["weights_bytes"], load)
