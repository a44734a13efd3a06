"""Columnar files: Parquet in and out. The one file that knows the library for it."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kvplace.errors import Fault, InputError
from kvplace.extras import missing_extra
from kvplace.files import MAX_ROWS_BYTES, is_csv, read_text
from kvplace.formats.diagnostics import Report
from kvplace.formats.tables.csv_columns import CSVColumns, floats_of, sizes_of, wholes_of
from kvplace.formats.validation.csv_rows import Header, check_header
from kvplace.units import GIB, MAX_BYTES

_TEXTS = frozenset(("string", "large_string", "string_view"))
"""Kinds of text that the library knows."""
_LARGEST = 2.0**62
"""Number from which on a floating-point one is none of these whole ones."""
_NAMES = frozenset(("name", "model", "node", "gpu"))
"""Columns of text that people choose."""
_MOST_ROWS, _MOST_CELLS, _MOST_BYTES = 10_000_000, 300_000_000, 2 * GIB
"""Rows and cells of a file, and bytes of a column of texts, that are unpacked: a kilobyte may hold
any number."""


def _read(arrow: Any, name: str, header: Header) -> Any:
    """Return the table of a Parquet file, which is read whole.

    Raises
    ------
    InputError
        The file is missing, cannot be read, has other columns than a header names, or no rows.
    """
    if os.path.isdir(name):  # noqa: PTH112 - any text, also what is no path
        raise InputError("this is a directory; name a file in it", name)
    try:
        held = arrow.parquet.ParquetFile(name)
        rows, schema = held.metadata.num_rows, held.schema_arrow
        if rows > _MOST_ROWS or rows * len(schema) > _MOST_CELLS:
            most = f"at most {_MOST_ROWS:,} and {_MOST_CELLS:,} cells are read"
            raise InputError(f"it has {rows:,} rows of {len(schema)} columns; {most}", name)
        report = Report(name)
        check_header(schema.names, header, report)
        if not rows:
            report.stop((), "the table has no rows")
        targets = {at: _target(arrow, of.name, of.type) for at, of in enumerate(schema)}
        faults = [
            Fault(f"it holds {str(of.type)[:60]}, neither numbers nor text", of.name)
            for at, of in enumerate(schema)
            if targets[at] is None
        ]
        if faults:
            raise InputError(faults, name)
        # Each text once, so that their lengths are known before they are unpacked.
        texts = [of.name for of in schema if str(of.type) in _TEXTS]
        table = arrow.parquet.ParquetFile(name, read_dictionary=texts).read()
        return _plain(arrow, table, targets, name)
    except FileNotFoundError:
        raise InputError("there is no such file", name) from None
    except (OSError, arrow.ArrowException, ValueError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"this file cannot be read: {reason}", name) from None


def _target(arrow: Any, name: str, kind: Any) -> Any:
    """Return the kind that a column is turned into: text, or numbers of 64 bits; None for none."""
    kinds = arrow.types
    if kinds.is_dictionary(kind):
        if kinds.is_string(kind.value_type) and name in _NAMES:
            return kind  # as they are: a million names are few different ones
        kind = kind.value_type
    if kinds.is_null(kind) or kinds.is_boolean(kind) or str(kind) in _TEXTS:
        return arrow.string()
    if kinds.is_integer(kind) and not kinds.is_uint64(kind):
        return arrow.int64()
    numeric = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
    return arrow.float64() if numeric else None


def _plain(arrow: Any, table: Any, targets: dict[int, Any], source: str) -> Any:
    """Return a table whose columns are of the kinds that they are to be turned into.

    Raises
    ------
    InputError
        The texts of a column take too much memory, or are none: all such columns at once.
    """
    kinds, faults, columns = arrow.types, [], []
    for at, column in enumerate(table.columns):
        try:
            column.validate(full=True)
        except arrow.ArrowInvalid:
            faults.append(Fault("it holds text that is not UTF-8", table.column_names[at]))
            continue
        coded = kinds.is_dictionary(column.type) and kinds.is_string(column.type.value_type)
        texts = (chunk.dictionary for chunk in (column.chunks if coded else ()))
        lengths = map(arrow.compute.max, map(arrow.compute.binary_length, texts))
        longest = max((length.as_py() or 0 for length in lengths), default=0)
        if longest * len(column) > _MOST_BYTES:
            message = f"a text of {longest:,} B in {len(column):,} rows is too much to unpack"
            faults.append(Fault(message, table.column_names[at]))
        elif kinds.is_dictionary(targets[at]):
            columns.append(column)
        else:
            columns.append(column.cast(targets[at], safe=False))
    if faults:
        raise InputError(faults, source)
    plain = arrow.table(columns, names=table.column_names)
    return plain.replace_schema_metadata(table.schema.metadata)


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
    """The columns of a Parquet file, as `kvplace.formats.tables.csv_columns` has them.

    Parameters
    ----------
    source
        Name of the file.
    header
        What it may hold.

    Attributes
    ----------
    metadata
        What the file states besides.

    Raises
    ------
    InputError
        The file is missing, cannot be read, has other columns than a header names, or no rows.
    MissingExtraError
        The library is not installed.
    """

    def __init__(self, source: str, header: Header) -> None:
        self._table = table = _read(_arrow(), source, header)
        self.names: list[str] = list(table.column_names)
        self.rows = int(table.num_rows)
        self.uneven: dict[int, int] = {}
        self.metadata: dict[bytes, bytes] = table.schema.metadata or {}

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
        if self._is_text(column):
            return sizes_of(self._filled(column))
        values = [value * GIB for value in self.numbers(column)[0]]
        found = [round(value) if 0 <= value <= MAX_BYTES else -1 for value in values]
        return _with_bad(found, values)

    def whole(self, column: str) -> tuple[array[int], list[int]]:
        """Return a column of whole numbers, -1 where missing, and the rows that hold none."""
        if self._is_text(column):
            return wholes_of(self._filled(column))
        held = self._table[column]
        if _arrow().types.is_int64(held.type) and not held.null_count:
            found = _taken(held, "q")
            return found, [row for row, value in enumerate(found) if value < 0]
        values = self.numbers(column)[0]
        sound = (value.is_integer() and 0 <= value < _LARGEST for value in values)
        whole = [int(value) if good else -1 for value, good in zip(values, sound, strict=True)]
        return _with_bad(whole, values)

    def numbers(self, column: str) -> tuple[array[float], list[int]]:
        """Return a column of numbers, NaN where missing, and the rows that hold none."""
        if self._is_text(column):
            return floats_of(self._filled(column))
        compute, kind = _arrow().compute, _arrow().float64()
        floats = compute.cast(self._table[column], kind, safe=False)
        return _taken(compute.fill_null(floats, math.nan), "d"), []

    def _is_text(self, column: str) -> bool:
        """Whether numbers are written as text."""
        return bool(_arrow().types.is_string(self._table[column].type))

    def _filled(self, column: str) -> list[str]:
        """Return a column of texts, empty where one is missing."""
        return [text or "" for text in self.texts(column)]

    def cells(self, rows: Iterable[int]) -> Iterator[dict[str, str]]:
        """Yield rows as the filled cells that a table in text would have."""
        for row in self._table.take(list(rows)).to_pylist():
            yield {
                column: _cell(column, value)
                for column, value in row.items()
                if value is not None and value != ""
            }


Columns = ArrowColumns | CSVColumns
"""The columns of a table, whatever its file."""


def read_table(source: str, header: Header, report: Report) -> Columns:
    """Read a table, CSV or else Parquet.

    Parameters
    ----------
    source, header
        Name of the file, and what it may hold.
    report
        Where faults of the table itself go; they are raised at once.
    """
    if is_csv(source):
        return CSVColumns(read_text(source, MAX_ROWS_BYTES), header, report)
    return ArrowColumns(source, header)


def _with_bad(found: list[int], values: Sequence[float]) -> tuple[array[int], list[int]]:
    """Return a column, and the rows where it is -1 though there is a value."""
    bad = [row for row, one in enumerate(found) if one < 0 and not math.isnan(values[row])]
    return array("q", found), bad


def _cell(column: str, value: Any) -> str:
    """Return an entry as a cell of text."""
    whole_float = isinstance(value, float) and value.is_integer() and column in _WHOLE
    return str(int(value) if whole_float else value)


_WHOLE = ("kv_bytes_per_token", "tensor_parallel", "replicas")


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
        import pyarrow.compute  # noqa: PLC0415 - an optional extra
        import pyarrow.parquet  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise missing_extra("a Parquet file", "columns") from error
    return library
