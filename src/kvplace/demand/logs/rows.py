"""Rows of small logs: CSV, TSV, JSON lines and JSON, plain or compressed, without any extra."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

from kvplace.errors import InputError

Row = Mapping[str, Any]

_PAGES = ("data", "results", "rows", "items", "logs", "requests", "records", "activity")
"""Fields that hold the rows of an answer of a usage API, or of a window."""
_DEPTH = 3
_LONGEST_TEXT = 256 * 2**20


def read_rows(file: Path, *, skip_bad: bool = False) -> Iterator[Row]:
    """Yield the rows of a log, nested fields by their path, such as ``usage.prompt_tokens``.

    With `skip_bad`, a line of JSON lines that is no object is a row without a value.

    Raises
    ------
    InputError
        The file cannot be read as what its name says it is.
    """
    suffix = Path(file.name.removesuffix(".gz")).suffix.casefold()
    try:
        with _opened(file) as stream:
            if not suffix:
                suffix, stream = _sniffed(stream)  # noqa: PLW2901 - the same content
            if suffix in (".csv", ".tsv"):
                yield from _table(stream, suffix)
            elif suffix == ".json":
                yield from _documents(json.loads(stream.read(_LONGEST_TEXT)))
            else:
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        yield from _parsed(line, number, file, skip_bad=skip_bad)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or f"damaged: {error}"
        raise InputError(reason, str(file)) from error
    except UnicodeDecodeError as error:
        raise InputError("it is not UTF-8; save it as UTF-8", str(file)) from error
    except (csv.Error, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"it cannot be read: {error}", str(file)) from error


def _sniffed(stream: IO[str]) -> tuple[str, IO[str]]:
    """Return the kind of what comes through a pipe, and its content to read."""
    text = stream.read(_LONGEST_TEXT + 1)
    if len(text) > _LONGEST_TEXT:
        raise ValueError("it is more than 256 MiB; write it to a file")
    begin = text.lstrip()[:1]
    if begin == "[":
        return ".json", StringIO(text)
    return (".jsonl" if begin == "{" else ".csv"), StringIO(text)


def _opened(file: Path) -> IO[str]:
    """Open a log as text."""
    if file.name.endswith(".gz"):
        with gzip.open(file) as packed:
            data = packed.read(_LONGEST_TEXT + 1)
        if len(data) > _LONGEST_TEXT:
            raise ValueError("it is more than 256 MiB when unpacked; unpack it, or split it")
        return TextIOWrapper(BytesIO(data), encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _table(stream: IO[str], suffix: str) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file; the header says what separates its cells."""
    head = stream.readline()
    if not head.strip():
        raise ValueError("it has no header")
    marks = "\t" if suffix == ".tsv" else max(",;\t", key=head.count)
    names = next(csv.reader([head], delimiter=marks))
    named = [name for name in names if name.strip()]
    if len(set(named)) < len(named):
        twice = next(name for at, name in enumerate(named) if name in named[:at])
        raise ValueError(f"two columns are named {twice!r}; rename or leave out one")
    reader = csv.reader(stream, delimiter=marks)
    for cells in reader:
        if not cells:
            continue
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            raise ValueError(
                f"line {reader.line_num + 1} has {len(cells)} cells, its header {len(names)}"
            )
        yield dict(zip(names, cells, strict=False))


def _parsed(line: str, number: int, file: Path, *, skip_bad: bool) -> Iterator[Row]:
    """Yield the rows of one line of JSON."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        if skip_bad:
            yield {}
            return
        raise InputError(f"line {number}: it is not JSON: {error}", str(file)) from error
    if isinstance(document, dict):
        yield from _rows(document, 0)
    elif skip_bad:
        yield {}
    else:
        raise InputError(f"line {number}: it must be a JSON object", str(file))


def _documents(document: Any) -> Iterator[Row]:
    """Yield the rows of a JSON file: of a list, or of an object that holds one."""
    for entry in document if isinstance(document, list) else [document]:
        if not isinstance(entry, dict):
            raise ValueError("it must be a list of JSON objects")  # noqa: TRY004 - told alike
        yield from _rows(entry, 0)


def _rows(entry: Mapping[str, Any], depth: int) -> Iterator[Row]:
    """Yield an object as a row, or the rows of the list in it, each with what is beside it."""
    for name in _PAGES:
        inner = entry.get(name)
        if isinstance(inner, list) and all(isinstance(row, dict) for row in inner):
            if depth >= _DEPTH:
                raise ValueError("its rows are nested too deeply")
            beside = {key: value for key, value in entry.items() if key != name}
            for row in inner:
                yield from _rows({**beside, **row}, depth + 1)
            return
    yield _flat(entry, "", 0)


def _flat(entry: Mapping[str, Any], prefix: str, depth: int) -> dict[str, Any]:
    """Return an object with nested fields by their path."""
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict) and depth < _DEPTH:
            flat.update(_flat(value, f"{prefix}{key}.", depth + 1))
        elif not isinstance(value, (list, dict)):
            flat[f"{prefix}{key}"] = value
    return flat
