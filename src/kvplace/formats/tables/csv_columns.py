"""A CSV as columns: numbers in arrays, each cell looked at once.

Cells that are no number are kept as rows that need a closer look. The cells of such rows are read
from the text again, so that a million rows are held as arrays and not as texts.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter, sub
from typing import Any

from kvplace.errors import UnitError
from kvplace.formats.diagnostics import Report
from kvplace.formats.tables.model_rows import NUMBER
from kvplace.formats.text.cells import plain_cell
from kvplace.formats.validation.csv_rows import Header, csv_faults, filled, is_blank, raw_rows
from kvplace.units import GIB, MAX_BYTES, parse_bytes

_AT_ONCE = 50_000
"""Rows whose cells are held as texts at the same time."""
_MANY = 10_000
"""Cells from which a library that parses numbers sooner pays for its import."""
_PLAIN = re.compile(r"[-+.,0-9]*")
_DIGITS = re.compile(r"[0-9,]*")
_NEARLY_HALF = 0.499
"""Part of a byte from which the exact number decides how to round."""


class CSVColumns:
    """The columns of a CSV text.

    Parameters
    ----------
    text
        A table with a header.
    header
        What it may hold.
    report
        Where faults of the table itself go; they are raised at once.

    Attributes
    ----------
    names
        Columns, in the order of the header.
    rows
        Number of rows.
    """

    def __init__(self, text: str, header: Header, report: Report) -> None:
        self._text, self._header, self._report = text, header, report
        self.names, line = next(raw_rows(text, header, report))
        self.rows = 0
        self.uneven: dict[int, int] = {}
        self._lines: dict[int, int] = {}
        self._texts: dict[str, list[str | None]] = {
            name: [] for name in self.names if name in header.texts
        }
        self._numbers: dict[str, array[Any]] = {
            name: array("q" if name.endswith("_gib") or name in header.whole else "d")
            for name in self.names
            if name not in self._texts
        }
        self._bad: dict[str, list[int]] = {name: [] for name in self._numbers}
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        with csv_faults(reader, report):
            while reader.line_num < line:
                next(reader)
            while chunk := list(islice(reader, _AT_ONCE)):
                self._take(chunk)
        if not self.rows:
            report.stop((), "the table has no rows", 1)

    def line_of(self, row: int) -> int | None:
        """Return the line of a row's end."""
        if row not in self._lines:
            for _ in self.cells([row]):
                pass
        return self._lines.get(row)

    def texts(self, column: str) -> list[str | None]:
        """Return a column of texts; None where a cell is empty."""
        return self._texts[column]

    def coded(self, column: str) -> tuple[Sequence[str], array[int]]:
        """Return the different texts of a column, and the position of each row's; -1 for none."""
        known: dict[str, int] = {}
        at = array("q", [
            -1 if text is None else known.setdefault(text, len(known))
            for text in self._texts[column]
        ])  # fmt: skip
        return list(known), at

    def numbers(self, column: str) -> tuple[array[Any], list[int]]:
        """Return a column of numbers, and the rows that hold none.

        GiB are in bytes. Empty cells are NaN, or -1 in columns of GiB and of whole numbers.
        """
        return self._numbers[column], self._bad[column]

    sizes = whole = numbers

    def cells(self, rows: Iterable[int]) -> Iterator[dict[str, str]]:
        """Yield the filled cells of some rows, which ascend, from the text."""
        wanted = iter(rows)
        row = next(wanted, None)
        numbered = enumerate(raw_rows(self._text, self._header, self._report), -1)
        for number, (cells, line) in numbered:
            if row is None:
                return
            if number == row:
                self._lines[row] = line
                yield filled(self.names, cells)
                row = next(wanted, None)

    def _take(self, chunk: list[list[str]]) -> None:
        """Add rows to the columns."""
        width = len(self.names)
        rows = list(filter(None, chunk))  # without blank lines
        if set(map(len, rows)) != {width} or not all(map(str.strip, map(itemgetter(0), rows))):
            rows = [cells for cells in rows if not is_blank(cells)]
        for at, cells in enumerate(rows) if set(map(len, rows)) != {width} else ():
            if len(cells) != width:
                self.uneven[self.rows + at] = len(cells)
                rows[at] = (cells + [""] * width)[:width]
        first, self.rows = self.rows, self.rows + len(rows)
        for name, column in zip(self.names, zip(*rows, strict=True), strict=bool(rows)):
            if name in self._texts:
                texts: list[str | None] = list(map(str.strip, column))
                if "" in texts or "'" in "".join(column):
                    texts = [plain_cell(cell or "") or None for cell in texts]
                if name != self._header.texts[0]:  # the same ones recur: each is kept once
                    texts = [sys.intern(cell) if cell else None for cell in texts]
                self._texts[name] += texts
                continue
            read = wholes_of if self._numbers[name].typecode == "q" else floats_of
            found, bad = (sizes_of if name.endswith("_gib") else read)(column)
            self._numbers[name].extend(found)
            self._bad[name] += [first + at for at in bad]


def _read(
    column: Sequence[str],
    together: Callable[[Sequence[str]], array[Any] | None],
    alone: Callable[[str], float],
) -> tuple[array[Any], list[int]]:
    """Return the numbers of a column, and the positions of cells that hold none.

    Parameters
    ----------
    column
        Cells.
    together
        Reads plain cells at once; returns None where one of them is not plain.
    alone
        Reads a cell.
    """
    plain = together(column)
    if plain is not None:
        return plain, []
    code = "d" if alone is _float else "q"
    known, refused = dict[str, float](), set[str]()
    for cell in set(column):  # each text is read once
        try:  # an array refuses numbers that are too large for it
            (known[cell],) = array(code, [alone(plain_cell(cell.strip()))])
        except (ValueError, OverflowError, UnitError):
            known[cell] = -1
            refused.add(cell)
    bad = [at for at, cell in enumerate(column) if cell in refused] if refused else []
    return array(code, map(known.__getitem__, column)), bad


def _floats(column: Sequence[str]) -> array[float] | None:
    """Return plain numbers; None where a cell is something else."""
    text = ",".join(column)
    try:
        if len(column) >= _MANY and "true" not in text and "false" not in text:
            from pydantic_core import from_json  # noqa: PLC0415 - only of many

            return array("d", from_json(f"[{text}]", allow_inf_nan=False))
    except (ValueError, TypeError):
        pass  # such as 007, which is a number here
    try:
        return array("d", map(float, column)) if _PLAIN.fullmatch(text) else None
    except ValueError:
        return None


def _wholes(column: Sequence[str]) -> array[int] | None:
    """Return whole numbers; None where a cell is something else."""
    digits = _DIGITS.fullmatch(",".join(column))
    try:
        return array("q", map(int, column)) if digits else None
    except (ValueError, OverflowError):
        return None


def _sizes(column: Sequence[str]) -> array[int] | None:
    """Return GiB in bytes; None where a cell is something else.

    Those nearly half-way between two bytes are read one by one, from their exact digits.
    """
    numbers = _floats(column)
    if numbers is None:
        return None
    amounts = [number * GIB for number in numbers]
    if amounts and not (min(amounts) >= 0 and max(amounts) <= MAX_BYTES):
        return None
    sizes = array("q", map(round, amounts))
    off = list(map(sub, amounts, sizes))
    far = max(map(abs, off), default=0) > _NEARLY_HALF
    for at in [at for at, part in enumerate(off if far else ()) if abs(part) > _NEARLY_HALF]:
        try:
            sizes[at] = _size(plain_cell(column[at].strip()))
        except (ValueError, UnitError):
            return None
    return sizes


def _float(cell: str) -> float:
    """Return the number in a cell; NaN where it is empty."""
    if NUMBER.fullmatch(cell):
        return float(cell)
    if cell:
        raise ValueError
    return math.nan


def _whole(cell: str) -> int:
    """Return the whole number in a cell; -1 where it is empty."""
    if cell.isascii() and cell.isdecimal():
        return int(cell)
    if cell:
        raise ValueError
    return -1


def _size(cell: str) -> int:
    """Return the bytes of the GiB in a cell; -1 where it is empty."""
    amount = _float(cell) * GIB
    if math.isnan(amount):
        return -1
    if not 0 <= amount <= MAX_BYTES:
        raise ValueError
    size = round(amount)
    return parse_bytes(f"{cell}GiB") if abs(amount - size) > _NEARLY_HALF else size


floats_of = partial(_read, together=_floats, alone=_float)
"""Returns cells as numbers, NaN for empty ones, and the positions of those that hold none."""
wholes_of = partial(_read, together=_wholes, alone=_whole)
"""Returns cells as whole numbers, -1 for empty ones, and where there is none."""
sizes_of = partial(_read, together=_sizes, alone=_size)
"""Returns cells of GiB in bytes, -1 for empty ones, and the positions that hold none."""
