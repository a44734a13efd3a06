"""The CSV form of a plan: one row per shard."""

import csv
import io
from collections.abc import Sequence

from kvplace.formats.diagnostics import Report
from kvplace.formats.plan.of_columns import HEADER, table_of_columns
from kvplace.formats.plan.table import COLUMNS, PlanTable
from kvplace.formats.tables.csv_columns import CSVColumns
from kvplace.formats.text.cells import safe_cells

__all__ = ["parse_plan_table", "table_text"]


def table_text(table: PlanTable) -> str:
    """Return the CSV of a plan's rows, sorted by model, copy and rank."""
    ids, at = table.gpus
    gpus = safe_cells(ids)
    nodes = safe_cells([gpu.rpartition("/")[0] for gpu in ids])
    order: Sequence[int] = range(len(table.models))
    keys = (table.models,) if table.undivided else (table.shards, table.replicas, table.models)
    for key in keys:  # the last decides, then the one before
        order = sorted(order, key=key.__getitem__)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    held = [at[row] for row in order]
    texts = safe_cells(list(map(table.models.__getitem__, order)))
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
    return table_of_columns(CSVColumns(text, HEADER, report), report)
