"""The database that reads logs: DuckDB, in memory and within bounds."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kvplace.errors import InputError
from kvplace.extras import missing_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "1GB"
"""What DuckDB may use before it spills to disk."""

_READERS = {
    ".csv": "read_csv({file}, header = true, all_varchar = true)",
    ".tsv": "read_csv({file}, header = true, all_varchar = true, delim = '\\t')",
    ".json": "read_json({file})",
    ".jsonl": "read_ndjson({file})",
    ".ndjson": "read_ndjson({file})",
    ".parquet": "read_parquet({file})",
}


_SQL = re.compile(r"\s*\n?LINE \d+: ")
"""Where DuckDB begins to quote the query, which a person did not write."""
_KIND = re.compile(r"^(\w+ )+Error: ")
"""DuckDB's name for the kind of a failure."""


def open_database(file: Path) -> "DuckDBPyConnection":
    """Open a database in memory that spills to disk; the file must exist.

    Raises
    ------
    InputError
        There is no such file.
    MissingExtraError
        DuckDB is not installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise missing_extra("reading this log", "logs") from error
    if file.is_dir():
        raise InputError("this is a directory; name a file in it", str(file))
    if not file.exists():
        raise InputError("there is no such file", str(file))
    if file.is_file() and not file.stat().st_size:
        raise InputError("this file is empty", str(file))
    database = duckdb.connect(config={"memory_limit": MEMORY_LIMIT})
    database.execute("SET TimeZone = 'UTC'")
    database.execute("SET enable_progress_bar = false")  # it would go to stdout, among the data
    return database


def reader(file: Path, *, skip_bad: bool = False) -> str:
    """Return the table function that reads a file, by its suffix.

    With `skip_bad`, a line of JSON lines that is no object is a row of nulls.

    Raises
    ------
    InputError
        The suffix is unknown.
    """
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS or (suffix == ".parquet" and file.suffix == ".gz"):
        raise InputError(
            f"{file.suffix or 'no suffix'!r} is no kind of log; known are "
            f"{', '.join(_READERS)}, and all but .parquet with .gz",
            str(file),
        )
    # DuckDB takes * ? [ for patterns; a bracket expression makes each of them literal.
    literal = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(file))
    found = _READERS[suffix].format(file=text(literal))
    if skip_bad and found.startswith("read_ndjson("):
        found = f"{found[:-1]}, ignore_errors = true)"
    return found


def quoted(name: str) -> str:
    """Return a column's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text for SQL."""
    return "'" + value.replace("'", "''") + "'"


def number(name: str) -> str:
    """Return the expression for a column as a number, null where it is none."""
    return f"TRY_CAST({quoted(name)} AS DOUBLE)"


def one_line(error: Exception) -> str:
    """Return the part of DuckDB's message that a person needs."""
    told = _SQL.split(str(error))[0]
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return _KIND.sub("", " ".join(lines[:2])) or type(error).__name__
