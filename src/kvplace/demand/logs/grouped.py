"""A log of any size, read and grouped by DuckDB: memory grows with models times windows.

All names and paths in its SQL are quoted by `quoted` and `text` (S608).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvplace.demand.logs.clock import TimeFacts
from kvplace.demand.logs.columns import Columns
from kvplace.demand.logs.database import number, one_line, open_database, quoted, reader, text
from kvplace.errors import InputError

_FARTHEST_SECONDS = 1e11
"""The year 5138: a time beyond it is in another unit, or none."""
_OBJECTS_LOOKED_AT = 20_480
"""First objects of a log whose fields become its columns, as many as DuckDB looks at."""
_WRONG = (
    "m IS NULL",
    f"(t IS NULL OR NOT abs(t) <= {_FARTHEST_SECONDS!r})",
    *(f"({name} IS NULL OR NOT isfinite({name}) OR {name} < 0)" for name in ("n", "p", "o")),
)
"""What makes the value of a row unusable: its model, time, requests, prompt and output tokens."""
_BAD = f"({' OR '.join(_WRONG)})"


class DatabaseLog:
    """A log opened in a database; `define` makes the view ``log`` of plain numbers over it.

    Parameters
    ----------
    file
        A CSV, TSV, JSON, JSON-lines or Parquet file.

    Raises
    ------
    InputError
        It cannot be read.
    MissingExtraError
        DuckDB is not installed.
    """

    def __init__(self, file: Path, *, skip_bad: bool = False) -> None:
        self.file = file
        self._database = open_database(file)
        try:
            self._source = reader(file, skip_bad=skip_bad)
            self.names = self._columns()
            if self.names == ["json"] and self._source.startswith("read_ndjson("):
                self._source = self._objects(skip_bad=skip_bad)
                self.names = self._columns()
        except BaseException:
            self._database.close()
            raise
        self._end = False

    def _columns(self) -> list[str]:
        """Return the names of the columns of the source."""
        described = self._ask(f"DESCRIBE SELECT * FROM {self._source}").fetchall()  # noqa: S608 - names and paths are quoted
        return [str(row[0]) for row in described]

    def _objects(self, *, skip_bad: bool) -> str:
        """Return the source for JSON lines of which one of the first is no object.

        Such a line is a row of nulls. The columns are the fields of the first objects.
        """
        if not skip_bad:
            message = "not every line is a JSON object; --skip-bad leaves such lines out"
            raise InputError(message, str(self.file))
        lines = reader(self.file, skip_bad=True).replace("(", "_objects(", 1)
        (fields,) = self._ask(
            f"SELECT json_group_structure(json) FROM (SELECT json FROM {lines} "  # noqa: S608 - paths are quoted
            f"WHERE json_type(json) = 'OBJECT' LIMIT {_OBJECTS_LOOKED_AT})"
        ).fetchone()
        if fields is None:
            raise InputError("no line of it is a JSON object", str(self.file))
        fields = re.sub(r'"U?BIGINT"', '"DOUBLE"', str(fields))  # later ones may have a fraction
        return f"(SELECT unnest(json_transform(json, {text(fields)})) FROM {lines})"  # noqa: S608 - paths are quoted

    def _ask(self, query: str) -> Any:
        """Run a query; what DuckDB says about the file becomes one line."""
        try:
            return self._database.execute(query)
        except Exception as error:
            if not type(error).__module__.startswith(("duckdb", "_duckdb")):
                raise
            told = one_line(error).rstrip(".")
            way = "; --skip-bad leaves such lines out" if told.startswith("Malformed JSON") else ""
            raise InputError(f"{told}{way}", str(self.file)) from error

    def time_facts(self, column: str) -> TimeFacts:
        """Say what the values of a time column look like."""
        name = quoted(column)
        given = f"{self._source} WHERE {name} IS NOT NULL AND trim(CAST({name} AS VARCHAR)) <> ''"
        row = self._ask(
            f"SELECT CAST({name} AS VARCHAR), typeof({name}) FROM {given} LIMIT 1"  # noqa: S608 - names and paths are quoted
        ).fetchone()
        if row is None:
            raise InputError(f"the column {column!r} is empty", str(self.file))
        value, kind = row
        if str(kind).startswith(("TIMESTAMP", "DATE")):
            return TimeFacts(numeric=False)
        double = number(column)
        low, high, rows, whole, first = self._ask(
            f"SELECT min(d), max(d), count(d), bool_and(d = floor(d)), first(d) "  # noqa: S608 - names and paths are quoted
            f"FROM (SELECT {double} AS d FROM {given})"
        ).fetchone()
        if first is None:
            return TimeFacts(numeric=False)
        return TimeFacts(
            numeric=True, low=low, high=high, rows=rows, whole=bool(whole), example=str(value)[:40]
        )

    def define(self, columns: Columns, model: str, scale: float | None) -> None:
        """Define the columns m (model), t (seconds), n (requests), p and o (tokens)."""
        named = " || '/' || ".join(
            f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '')" for name in columns.model
        )

        def time(name: str) -> str:
            if scale is None:
                return f"epoch(TRY_CAST({quoted(name)} AS TIMESTAMPTZ))"
            return f"{number(name)} * {scale!r}"

        parts = [
            f"{named or text(model)} AS m",
            f"{time(columns.time)} AS t",
            f"{number(columns.count) if columns.count else '1.0'} AS n",
            f"{number(columns.prompt) if columns.prompt else '0.0'} AS p",
            f"{number(columns.output) if columns.output else '0.0'} AS o",
        ]
        if columns.end is not None:
            self._end = True
            parts.append(f"{time(columns.end)} AS e")
        self._ask(f"CREATE TEMP VIEW log AS SELECT {', '.join(parts)} FROM {self._source}")  # noqa: S608 - names and paths are quoted

    def bad_rows(self, most: int) -> list[tuple[int, Sequence[bool]]]:
        """Return the first rows with an unusable value: their number, and which it is."""
        rows = self._ask(
            f"SELECT i, {', '.join(_WRONG)} FROM "  # noqa: S608 - names and paths are quoted
            f"(SELECT row_number() OVER () AS i, * FROM log) WHERE {_BAD} ORDER BY i "
            f"LIMIT {int(most)}"
        ).fetchall()
        return [(row, wrong) for row, *wrong in rows]

    def grouped(self, step: float) -> tuple[dict[str, Any], int]:
        """Return one row per model and window of the usable rows, and how many are not usable."""
        found = self._ask(
            f"""
            SELECT m, TRY_CAST(floor(t / {step!r}) AS BIGINT) AS w, sum(n) AS n, sum(p) AS p,
                   sum(o) AS o, min(t) AS first, max(t) AS last
            FROM log WHERE NOT {_BAD} GROUP BY m, w ORDER BY m, w
            """  # noqa: S608 - names and paths are quoted
        ).fetchnumpy()
        bad = self._ask(f"SELECT count(*) FROM log WHERE {_BAD}").fetchone()[0]  # noqa: S608 - names and paths are quoted
        return found, int(bad)

    def requests(self) -> tuple[dict[str, Any], int]:
        """Return the usable rows in the order of time, and how many are not usable."""
        found = self._ask(f"SELECT m, t, p, o FROM log WHERE NOT {_BAD} ORDER BY t").fetchnumpy()  # noqa: S608 - names and paths are quoted
        bad = self._ask(f"SELECT count(*) FROM log WHERE {_BAD}").fetchone()[0]  # noqa: S608 - names and paths are quoted
        return found, int(bad)

    def own_step(self) -> float | None:
        """Return the length of the windows that a log of counts has; None where it is not told."""
        if self._end:
            row = self._ask("SELECT min(e - t) FROM log WHERE isfinite(e - t)").fetchone()
            if row is not None and row[0] is not None and row[0] > 0:
                return float(row[0])
        row = self._ask(
            "SELECT min(d) FROM (SELECT t - lag(t) OVER (ORDER BY t) AS d "  # noqa: S608 - names and paths are quoted
            f"FROM (SELECT DISTINCT t FROM log WHERE abs(t) <= {_FARTHEST_SECONDS!r}))"
        ).fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def close(self) -> None:
        """Close the database."""
        self._database.close()
