"""Columnar files: Parquet in and out, big CSV in. The one file that knows the library for it."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kvplace.errors import Fault, InputError
from kvplace.extras import missing_extra
from kvplace.formats.diagnostics import Report
from kvplace.formats.files import is_parquet
from kvplace.formats.text.cells import RISKY
from kvplace.formats.validation.csv_rows import Header, check_header
from kvplace.units import GIB, MAX_BYTES

__all__ = [
    "ArrowColumns",
    "Columns",
    "read_columns",
    "write_parquet",
]

Columns = Any
"""A table of the library, which ships no types."""

_TEXTS = frozenset(("string", "large_string", "string_view"))
"""Kinds of text that the library knows."""
_NAMES = frozenset(("name", "model", "node", "gpu"))
"""Columns of text that people choose."""


def read_columns(path: str | os.PathLike[str]) -> Columns:
    """Read a Parquet file whole; or a CSV, all cells of it as text and empty ones as missing.

    Raises
    ------
    InputError
        The file is missing, cannot be read, or is not what its name says.
    MissingExtraError
        The library is not installed.
    """
    arrow = _arrow()
    name = os.fspath(path)
    if os.path.isdir(name):  # noqa: PTH112 - any text, also what is no path
        raise InputError("this is a directory; name a file in it", name)
    try:
        if is_parquet(name):
            return _plain(arrow.parquet.read_table(name), name)
        header = arrow.csv.open_csv(name).schema.names
        text = arrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, arrow.string()), strings_can_be_null=True
        )
        return _unescaped(arrow.csv.read_csv(name, convert_options=text))
    except FileNotFoundError:
        raise InputError("there is no such file", name) from None
    except (OSError, arrow.ArrowException, ValueError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"this file cannot be read: {reason}", name) from None


def _plain(table: Columns, source: str) -> Columns:
    """Return a table whose columns are texts, or whole or floating-point numbers of 64 bits.

    Raises
    ------
    InputError
        A column is of another kind: all of them at once.
    """
    arrow = _arrow()
    kinds = arrow.types
    faults: list[Fault] = []
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if kinds.is_dictionary(kind):
            if kinds.is_string(kind.value_type) and name in _NAMES:
                columns.append(column)  # as they are: a million names are few different ones
                continue
            kind = kind.value_type
        if kinds.is_null(kind) or str(kind) in _TEXTS:
            target = arrow.string()
        elif kinds.is_integer(kind) and not kinds.is_uint64(kind):
            target = arrow.int64()
        elif kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
            target = arrow.float64()
        else:
            faults.append(Fault(f"it holds {str(kind)[:60]}, neither numbers nor text", name))
            continue
        columns.append(column.cast(target, safe=False))
    if faults:
        raise InputError(faults, source)
    plain = arrow.table(columns, names=table.column_names)
    return plain.replace_schema_metadata(table.schema.metadata)


def _unescaped(table: Columns) -> Columns:
    """Return a table without the marks that keep spreadsheets from running its cells."""
    replaced = _arrow().compute.replace_substring_regex
    for at, name in enumerate(table.column_names):
        if name in _NAMES:
            plain = replaced(table.column(at), f"^'([{RISKY}'])", r"\1")
            table = table.set_column(at, name, plain)
    return table


def write_parquet(columns: dict[str, object], metadata: dict[str, str]) -> bytes:
    """Return the bytes of a Parquet file.

    Parameters
    ----------
    columns
        Arrays of the standard library, lists of text, or pairs of positions and the texts that
        they stand for.
    metadata
        What the file states besides.
    """
    arrow = _arrow()
    arrays = {name: _written(arrow, column) for name, column in columns.items()}
    table = arrow.table(arrays).replace_schema_metadata(metadata)
    sink = arrow.BufferOutputStream()
    arrow.parquet.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _written(arrow: Any, column: Any) -> Any:
    """Return a column as an array of the library, without a copy where there can be none."""
    if isinstance(column, array):
        kind = {"q": arrow.int64(), "i": arrow.int32(), "d": arrow.float64()}[column.typecode]
        return arrow.Array.from_buffers(kind, len(column), [None, arrow.py_buffer(column)])
    if isinstance(column, tuple):
        positions, values = column
        pair = arrow.DictionaryArray.from_arrays(_written(arrow, positions), arrow.array(values))
        return pair.dictionary_decode()  # the file keeps pairs anyway, and is read as plain text
    return arrow.array(column, arrow.string())


class ArrowColumns:
    """The columns of a table, as `kvplace.formats.tables.csv_columns` has them."""

    def __init__(self, table: Columns, header: Header, report: Report) -> None:
        self._table = table
        self.names: list[str] = list(table.column_names)
        self.rows = int(table.num_rows)
        self.uneven: dict[int, int] = {}
        check_header(self.names, header, report)
        if not self.rows:
            report.stop((), "the table has no rows")

    def line_of(self, row: int) -> int | None:  # noqa: ARG002 - columns have no lines
        """Return None: a row is named by its number alone."""
        return None

    def texts(self, column: str) -> list[str | None]:
        """Return a column of texts, None where one is missing; numbers as they are printed."""
        found = self._table[column].to_pylist()
        return [value if value is None else str(value) for value in found]

    def coded(self, column: str) -> tuple[Sequence[str], array[int]]:
        """Return the different texts of a column, and the position of each row's; -1 for none."""
        arrow, held = _arrow(), self._table[column]
        compute = arrow.compute
        if not arrow.types.is_dictionary(held.type):
            held = compute.dictionary_encode(compute.cast(held, arrow.string()))
        one = held.unify_dictionaries().combine_chunks()
        one = one.chunk(0) if hasattr(one, "chunk") else one
        indices = compute.fill_null(compute.cast(one.indices, arrow.int64()), -1)
        return one.dictionary.to_pylist(), _taken(indices, "q")

    def sizes(self, column: str) -> tuple[array[int], list[int]]:
        """Return a column of GiB in bytes, -1 where missing, and the rows that hold none."""
        values, bad = self.numbers(column, GIB)
        found: array[int] = array("q", bytes(8 * len(values)))
        for row, value in enumerate(values):
            if 0 <= value <= MAX_BYTES:
                found[row] = round(value)
            else:
                found[row] = -1
                if not math.isnan(value):
                    bad.append(row)
        return found, bad

    def whole(self, column: str) -> tuple[array[int], list[int]]:
        """Return a column of whole numbers, -1 where missing, and the rows that hold none."""
        arrow, held = _arrow(), self._table[column]
        compute = arrow.compute
        if arrow.types.is_int64(held.type) and not held.null_count:
            return _taken(held, "q"), _where(compute.less(held, 0))
        numeric, bad = self.numbers(column)
        floats = _written(arrow, numeric)
        missing = compute.is_nan(floats)
        sound = compute.and_(
            compute.equal(compute.floor(floats), floats), compute.greater_equal(floats, 0)
        )
        sound = compute.and_(sound, compute.less(floats, 2.0**62))
        bad = sorted({*bad, *_where(compute.and_not(compute.invert(sound), missing))})
        kept = compute.if_else(sound, floats, -1.0)
        return _taken(compute.cast(kept, arrow.int64(), safe=False), "q"), bad

    def numbers(self, column: str, scale: float = 1.0) -> tuple[array[float], list[int]]:
        """Return a column of numbers times a scale, NaN where missing, and the rows without one."""
        arrow, held = _arrow(), self._table[column]
        compute = arrow.compute
        kind, bad = held.type, []
        if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
            plain = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$"
            sound = compute.fill_null(compute.match_substring_regex(held, plain), fill_value=True)
            bad = _where(compute.invert(sound))
            held = compute.if_else(sound, held, None)
        elif not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind)):
            bad = list(range(min(len(held), 1)))
            held = arrow.nulls(len(held))
        floats = compute.cast(held, arrow.float64(), safe=False)
        if scale != 1.0:
            floats = compute.multiply(floats, scale)
        return _taken(compute.fill_null(floats, float("nan")), "d"), bad

    def cells(self, rows: Iterable[int]) -> Iterator[dict[str, str]]:
        """Yield rows as the filled cells that a table in text would have."""
        for row in self._table.take(list(rows)).to_pylist():
            yield {
                column: _cell(column, value)
                for column, value in row.items()
                if value is not None and value != ""
            }


def _cell(column: str, value: Any) -> str:
    """Return an entry as a cell of text."""
    whole_float = isinstance(value, float) and value.is_integer() and column in _WHOLE
    return str(int(value) if whole_float else value)


_WHOLE = ("kv_bytes_per_token", "tensor_parallel", "replicas")


def _where(mask: Any) -> list[int]:
    """Return the rows of a mask that are set."""
    rows: list[int] = _arrow().compute.indices_nonzero(mask).to_pylist()
    return rows


def _taken(column: Any, code: str) -> Any:
    """Return a column without missing entries as an array of the standard library."""
    taken: Any = array(code)
    for chunk in column.chunks if hasattr(column, "chunks") else [column]:
        first, end = 8 * chunk.offset, 8 * (chunk.offset + len(chunk))
        taken.frombytes(memoryview(chunk.buffers()[1])[first:end])
    return taken


def _arrow() -> Any:
    """Return the library."""
    try:
        import pyarrow as library  # noqa: ICN001, PLC0415 - an optional extra
        import pyarrow.compute  # noqa: PLC0415 - same
        import pyarrow.csv  # noqa: PLC0415 - same
        import pyarrow.parquet  # noqa: PLC0415 - same
    except ImportError as error:
        raise missing_extra("a Parquet file, or a table beyond 64 MiB,", "columns") from error
    return library
