"""Rows of named columns as a table for people, as Markdown, as CSV and as JSON."""

import csv
import io
import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence

from kvplace.formats.text.cells import safe_cell
from kvplace.report.text import Paint, fit

Cell = str | int | float | None


def rows_table(
    rows: Sequence[Mapping[str, str]], *, colour: bool = False, width: int | None = None
) -> str:
    """Return rows of ready text under their headings, all columns but the first to the right.

    Where that is too wide, headings stand in several lines; where that is too wide as well, each
    row is a block of its own.

    Parameters
    ----------
    rows
        At least one; all with the same keys, which are the headings.
    colour
        Whether escape sequences are welcome.
    width
        Columns of the terminal; None where lines may have any length.
    """
    names = list(rows[0])
    heads = {name: [name] for name in names}
    widths = _widths(rows, heads)
    if width is not None and _total(widths) > width:
        heads = {name: name.replace("_", "_ ").split(" ") for name in names}
        widths = _widths(rows, heads)
        if _total(widths) > width:
            return _blocks(rows, width, Paint(colour))
    tall = max(map(len, heads.values()))
    lines = [
        {name: ([""] * tall + heads[name])[-tall:][at] for name in names} for at in range(tall)
    ]

    def line(cells: Mapping[str, str]) -> str:
        parts = [fit(cells[name], widths[name], right=at > 0) for at, name in enumerate(names)]
        return "  ".join(parts).rstrip()

    paint = Paint(colour)
    return "\n".join([*(paint(line(head), "bold") for head in lines), *(line(row) for row in rows)])


def _widths(
    rows: Sequence[Mapping[str, str]], heads: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Return the width of each column."""
    return {
        name: max(*map(len, head), *(len(row[name]) for row in rows))
        for name, head in heads.items()
    }


def _total(widths: Mapping[str, int]) -> int:
    """Return the width of a table with two blanks between columns."""
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _blocks(rows: Sequence[Mapping[str, str]], width: int, paint: Paint) -> str:
    """Return each row as its first cell, and the others below it with their headings."""
    blocks = []
    for row in rows:
        (_, first), *rest = row.items()
        told = ((name, cell.replace(" %", "\0%")) for name, cell in rest)
        words = ", ".join(f"{name}\0{cell}" for name, cell in told if cell not in ("", "-", "?"))
        lines = textwrap.wrap(words, max(width - 2, 20), break_on_hyphens=False)
        blocks += [paint(first, "bold"), *(f"  {line}".replace("\0", " ") for line in lines)]
    return "\n".join(blocks)


def rows_markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of ready text as a table in Markdown, all columns but the first to the right.

    Parameters
    ----------
    rows
        As in `rows_table`.
    """
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(map(_escaped, cells))} |" for cells in lines)


def _escaped(cell: str) -> str:
    """Return a cell without what Markdown would read as its own."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", cell) if cell.strip("-:") else cell


def fenced(text: str) -> str:
    """Return text as a block of Markdown that keeps its columns."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}\n"


def rows_csv(rows: Sequence[Mapping[str, Cell]]) -> str:
    """Return rows as CSV; a number that is not finite becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Cell) -> object:
    """Return a cell without what a spreadsheet would run, and without numbers that CSV lacks."""
    return safe_cell(value) if isinstance(value, str) else _finite(value)


def rows_json(document: Mapping[str, object]) -> str:
    """Return a document as JSON; a number that is not finite becomes null."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """Return the value without numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _finite(value)


def _finite(value: object) -> object:
    """Return None for a float that is not finite, and the value otherwise."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
