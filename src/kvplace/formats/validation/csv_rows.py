"""CSV text to rows with their lines; what is wrong with the table itself is told."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kvplace.formats.diagnostics import Report, closest, nearest, shown
from kvplace.formats.text.cells import plain_cell


class Header(NamedTuple):
    """The columns that a table may have.

    Parameters
    ----------
    required, optional
        Names of the columns; a required one must be in the header and filled in each row.
    texts
        Those that hold text, the one first of which most entries differ.
    whole
        Those that hold whole numbers.
    by_window
        Those of which there may be one for each window, ``column@window``.
    """

    required: Sequence[str]
    optional: Sequence[str]
    texts: Sequence[str] = ()
    whole: Sequence[str] = ()
    by_window: Sequence[str] = ()


def filled(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return the cells of a row by their columns, without the empty ones."""
    plain = (plain_cell(cell.strip()) for cell in cells)
    return {column: cell for column, cell in zip(header, plain, strict=False) if cell}


def uneven_row(cells: int, columns: int) -> str:
    """Say that a row is not as wide as the header."""
    return f"the row has {cells} cells; the header names {columns} columns"


def raw_rows(text: str, columns: Header, report: Report) -> Iterator[tuple[list[str], int]]:
    """Yield the header, trimmed and checked, and then each row, with the lines of their ends.

    Blank lines are passed over. What is no CSV, or has another header, is raised at once.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    with csv_faults(reader, report):
        for cells in reader:
            if is_blank(cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                check_header(header, columns, report, reader.line_num)
                yield header, reader.line_num
            else:
                yield cells, reader.line_num
    if header is None:
        report.stop((), "the table has no header", 1)


def is_blank(cells: list[str]) -> bool:
    """Whether a row says nothing."""
    return not "".join(cells).strip()


@contextmanager
def csv_faults(reader: Any, report: Report) -> Iterator[None]:
    """Raise what is no CSV with the line where the reader is."""
    try:
        yield
    except csv.Error as error:
        report.stop((), f"not valid CSV: {error}", reader.line_num)


_TABLES = {
    ("model", "replica", "gpu"): "a plan, a row per shard; kvplace check and explain take it",
    ("name", "weights_gib"): "a table of models; kvplace plan takes it, with --gpus",
}
"""Columns that say which table one is."""


def _other_kind(header: set[str], known: set[str]) -> str:
    """Say that a table is another than the one wanted; empty where that is not plain to see."""
    for columns, what in _TABLES.items():
        if header.issuperset(columns) and not known.issuperset(columns):
            return f"this is {what}"
    return ""


def check_header(
    header: Sequence[str], columns: Header, report: Report, line: int | None = None
) -> None:
    """Refuse a header with unknown, doubled or missing columns.

    A required column of which there is one for each window is left out itself.
    """
    known = (*columns.required, *columns.optional)
    separators = [mark for mark in ";\t|" if len(header) == 1 and mark in header[0]]
    if separators:
        report.stop((), f"separate cells with commas, not with {separators[0]!r}", line)
    other = _other_kind(set(header), set(known))
    if other:
        report.stop((), other, line)
    sound, meant = True, set[str | None]()
    before: set[str] = set()
    for column in header:
        if report.full:
            break
        base, mark, window = column.partition("@")
        named = bool(mark and window) and window == window.strip() and window.isprintable()
        there = column in known or (named and base in columns.by_window)
        sound = sound and there and column not in before
        if not there:
            unit = " (1 GB is 0.931 GiB)" if re.search(r"gb\W*$", column.casefold()) else ""
            message = f"unknown column {shown(column)}{nearest(column, known)}{unit}"
            report.add((), message if column else "a column has no name; remove it", line)
            meant.add(closest(column, known))
        elif column in before:
            report.add((), f"the column {column} is there twice", line)
        before.add(column)
    for column in columns.required:
        windowed = (
            any(name.startswith(f"{column}@") for name in header) and column in columns.by_window
        )
        if windowed and column in header:
            sound = False
            message = f"{column} stands beside {column}@...; the mean follows, so leave it out"
            report.add((), message, line)
        if column not in header and not windowed:
            sound = False
            if column not in meant:
                report.add((), f"the column {column} is missing", line)
    if not sound:
        report.refuse()
