"""The CSV form of a plan: one row per shard."""

import csv
import io
import re
from collections.abc import Sequence

from kvplace.formats.diagnostics import Report
from kvplace.formats.plan.table import COLUMNS, PlanTable
from kvplace.formats.tables.csv_columns import CSVColumns
from kvplace.formats.text.cells import safe_cell

__all__ = ["parse_plan_table", "table_text"]

_QUOTED = re.compile(r'[,"\r\n]')
"""What makes the writer of a CSV put a cell in quotes."""


def table_text(table: PlanTable) -> str:
    """Return the CSV of a plan's rows, sorted by model, copy and rank."""
    ids, at = table.gpus
    texts, gpus = (list(map(safe_cell, of)) for of in (table.models, ids))
    nodes = [safe_cell(gpu.rpartition("/")[0]) for gpu in ids]
    order: Sequence[int] = range(len(table.models))
    keys = (table.models,) if table.undivided else (table.shards, table.replicas, table.models)
    for key in keys:  # the last decides, then the one before
        order = sorted(order, key=key.__getitem__)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    numbers = table.weights_bytes, table.loads
    if _QUOTED.search("".join(texts)) or _QUOTED.search("".join(ids)):
        where = (map(of.__getitem__, at) for of in (nodes, gpus))
        rows = list(zip(texts, table.replicas, table.shards, *where, *numbers, strict=True))
        writer.writerows(map(rows.__getitem__, order))
    else:  # what the writer would write, in half the time
        place = map(list(map(",".join, zip(nodes, gpus, strict=True))).__getitem__, at)
        cells = zip(texts, table.replicas, table.shards, place, *numbers, strict=True)
        lines = list(map("%s,%d,%d,%s,%d,%r\n".__mod__, cells))
        buffer.write("".join(map(lines.__getitem__, order)))
    return buffer.getvalue()


def parse_plan_table(text: str, source: str = "") -> PlanTable:
    """Read the CSV form of a plan.

    Raises
    ------
    InputError
        With every fault, each with its row, column and line.
    """
    from kvplace.formats.plan.of_columns import HEADER, table_of_columns  # noqa: PLC0415 - only to read

    report = Report(source)
    return table_of_columns(CSVColumns(text, HEADER, report), report)
