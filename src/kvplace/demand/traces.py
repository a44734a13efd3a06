"""Demand from logs: CSV, JSON lines or Parquet, of requests or of counts per window.

DuckDB reads and groups them, streaming: memory grows with models times windows, not with rows.
All names and paths in its SQL are quoted by `quoted` and `text` (S608).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kvplace.demand.columns import TIME_UNITS, Columns, find_columns
from kvplace.demand.database import is_number, number, one_line, open_database, quoted, reader, text
from kvplace.demand.series import Array, DemandSeries, check_cells
from kvplace.errors import Fault, InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["DEFAULT_STEP_SECONDS", "read_trace"]

DEFAULT_STEP_SECONDS = 60.0
"""Length of a window for logs of requests; logs of counts keep their own windows."""

_SHOWN_FAULTS = 5
_ENOUGH_WINDOWS = 12  # below that, a model that seems late may just be rare


def read_trace(
    path: str | Path,
    *,
    step_seconds: float | None = None,
    model: str | None = None,
    time_column: str | None = None,
    model_columns: Sequence[str] = (),
    prompt_column: str | None = None,
    output_column: str | None = None,
    time_unit: str | None = None,
    skip_bad: bool = False,
) -> DemandSeries:
    """Read a log and count it into windows.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` (each also with ``.gz``) or ``.parquet``
        file.
    step_seconds
        Length of a window. None for a minute, or for the log's own windows if it has counts.
    model
        Name for the requests of a log without a model column; None for the file's name.
    time_column, model_columns, prompt_column, output_column
        Columns, where their names do not tell.
    time_unit
        One of ``s``, ``ms``, ``us``, ``ns`` for a numeric time whose name does not tell.
    skip_bad
        Leave rows without a usable value out, and say how many, instead of refusing the log.

    Raises
    ------
    InputError
        The file cannot be read, a column is missing, or a row has no usable value.
    MissingExtraError
        DuckDB is not installed.
    """
    file = Path(path)
    database = open_database(file)
    source = reader(file)
    try:
        described = database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
        names = [str(row[0]) for row in described]
        columns = find_columns(
            names,
            str(file),
            time=time_column,
            model=model_columns,
            prompt=prompt_column,
            output=output_column,
            time_unit=time_unit,
        )
        log = _Log(database, source, columns, file, model or file.name.partition(".")[0], skip_bad)
        log.prepare()
        return log.series(step_seconds)
    except Exception as error:
        if isinstance(error, InputError) or not type(error).__module__.startswith(
            ("duckdb", "_duckdb")
        ):
            raise
        raise InputError(one_line(error), str(file)) from error
    finally:
        database.close()


@dataclass(slots=True)
class _Log:
    """A log opened in a database; `prepare` makes the view ``log`` of plain numbers over it."""

    database: "DuckDBPyConnection"
    source: str
    columns: Columns
    file: Path
    model: str
    skip_bad: bool = False
    skipped: int = 0

    def prepare(self) -> None:
        """Define the columns m (model), t (seconds), n (requests), p and o (tokens)."""
        columns = self.columns
        model = " || '/' || ".join(
            f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '')" for name in columns.model
        )
        parts = [
            f"{model or text(self.model)} AS m",
            f"{self._time()} AS t",
            f"{number(columns.count) if columns.count else '1.0'} AS n",
            f"{number(columns.prompt) if columns.prompt else '0.0'} AS p",
            f"{number(columns.output) if columns.output else '0.0'} AS o",
        ]
        self.database.execute(
            f"CREATE TEMP VIEW log AS SELECT {', '.join(parts)} FROM {self.source}"  # noqa: S608
        )

    def _time(self) -> str:
        """Return the expression for a time in seconds: of a number, a date or a timestamp."""
        name = quoted(self.columns.time)
        row = self.database.execute(
            f"SELECT {name}, typeof({name}) FROM {self.source} WHERE {name} IS NOT NULL LIMIT 1"  # noqa: S608
        ).fetchone()
        if row is None:
            raise InputError(f"the column {self.columns.time!r} is empty", str(self.file))
        value, kind = row
        if str(kind).startswith(("TIMESTAMP", "DATE")):
            return f"epoch(CAST({name} AS TIMESTAMPTZ))"
        if not is_number(value):
            return f"epoch(TRY_CAST({name} AS TIMESTAMPTZ))"
        if self.columns.time_unit is None:
            raise InputError(
                f"the times in {self.columns.time!r} are numbers such as {value}, and the name "
                "does not tell their unit; pass --time-unit s, ms, us or ns",
                str(self.file),
            )
        return f"TRY_CAST({name} AS DOUBLE) * {TIME_UNITS[self.columns.time_unit]!r}"

    def series(self, step_seconds: float | None) -> DemandSeries:
        """Group the log into windows."""
        own = self._own_step() if self.columns.count else None
        step = step_seconds or own or DEFAULT_STEP_SECONDS
        if own and step % own:
            raise InputError(
                f"the log counts windows of {own:g} s; --step must be a multiple of that, "
                f"not {step:g} s",
                str(self.file),
            )
        grouped = self._grouped(step, "log")
        bad = int(grouped["bad"].sum())
        if bad and not self.skip_bad:
            self._refuse(bad)
        if bad:
            self.skipped += bad
            self.database.execute(f"CREATE TEMP VIEW good AS SELECT * FROM log WHERE NOT {_BAD}")  # noqa: S608
            grouped = self._grouped(step, "good")
        if not len(grouped["bad"]):
            raise InputError("there is no usable row in it", str(self.file))
        return self._assemble({k: np.asarray(v) for k, v in grouped.items()}, step, own)

    def _grouped(self, step: float, view: str) -> dict[str, Any]:
        """Return one row per model and window, models ascending."""
        return self.database.execute(
            f"""
            SELECT m, TRY_CAST(floor(t / {step!r}) AS BIGINT) AS w, sum(n) AS n, sum(p) AS p,
                   sum(o) AS o, min(t) AS first, max(t) AS last,
                   count(*) FILTER ({_BAD}) AS bad
            FROM {view} GROUP BY m, w ORDER BY m, w
            """  # noqa: S608
        ).fetchnumpy()

    def _own_step(self) -> float:
        """Return the length of the windows that a log of counts has: the smallest step in it."""
        row = self.database.execute(
            "SELECT min(d) FROM (SELECT t - lag(t) OVER (ORDER BY t) AS d "
            "FROM (SELECT DISTINCT t FROM log))"
        ).fetchone()
        if row is None or row[0] is None:
            raise InputError(
                "it counts one window only, so the window's length is not known", str(self.file)
            )
        return float(row[0])

    def _refuse(self, bad: int) -> None:
        """Raise with the first rows that have no usable value."""
        rows = self.database.execute(
            f"SELECT i, {', '.join(_WRONG)} FROM "  # noqa: S608
            f"(SELECT row_number() OVER () AS i, * FROM log) WHERE {_BAD} LIMIT {_SHOWN_FAULTS}"
        ).fetchall()
        names = (
            "/".join(self.columns.model) or "model",
            self.columns.time,
            self.columns.count or "requests",
            self.columns.prompt or "prompt tokens",
            self.columns.output or "output tokens",
        )
        faults = []
        for row, *wrong in rows:
            told = ", ".join(name for name, is_wrong in zip(names, wrong, strict=True) if is_wrong)
            faults.append(Fault(f"no usable value in {told}", f"row {row}"))
        if bad > len(faults):
            faults.append(Fault(f"and {bad - len(faults):,} more rows without a usable value"))
        raise InputError(faults, str(self.file))

    def _assemble(self, grouped: dict[str, Any], step: float, own: float | None) -> DemandSeries:
        """Turn groups into arrays of all windows from the first to the last."""
        names = grouped["m"]  # ascending, so a model's rows are one run
        begins = np.flatnonzero(np.concatenate(([True], names[1:] != names[:-1])))
        models = tuple(str(name) for name in names[begins])
        row = np.repeat(np.arange(len(models)), np.diff(np.append(begins, len(names))))
        windows = grouped["w"].astype(np.int64)
        first, last = float(grouped["first"].min()), float(grouped["last"].max()) + (own or 0.0)
        low = int(windows.min())
        count = int(windows.max()) - low + 1
        check_cells(len(models), count, step, str(self.file))
        starts: Array = (low + np.arange(count, dtype=np.float64)) * step
        covered = np.minimum(starts + step, last) - np.maximum(starts, first)

        def dense(name: str) -> Array:
            cells: Array = np.zeros((len(models), count))
            cells[row, windows - low] = grouped[name]
            return cells

        requests = dense("n")
        return DemandSeries(
            models=models,
            starts=starts,
            covered_seconds=np.maximum(covered, 0.0),
            step_seconds=step,
            requests=requests,
            prompt_tokens=dense("p") if self.columns.prompt else None,
            output_tokens=dense("o") if self.columns.output else None,
            origin=self.file.name,
            notes=self._notes(models, requests),
        )

    def _notes(self, models: tuple[str, ...], requests: Array) -> tuple[str, ...]:
        """Return what a reader of the figures should know."""
        notes = []
        if self.skipped:
            notes.append(f"{self.skipped:,} rows without a usable value were left out")
        if not self.columns.model:
            notes.append(f"no model column: all requests are {self.model!r}")
        if [name.lower() for name in self.columns.model] == ["service"]:
            notes.append("no model column: every value of 'service' is taken for a model")
        seen = requests > 0
        windows = seen.shape[1]
        span = windows - seen.argmax(axis=1) - seen[:, ::-1].argmax(axis=1)
        # A rare model is not one that came late.
        busy = (span >= _ENOUGH_WINDOWS) & (2 * seen.sum(axis=1) > span)
        late = busy & (2 * span < windows)
        short = [name for name, is_late in zip(models, late, strict=True) if is_late]
        if short:
            shown = ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
            notes.append(
                f"seen in less than half of the time, and counted as idle in the rest: {shown}"
            )
        return tuple(notes)


_FARTHEST_SECONDS = 1e11
"""The year 5138: a time beyond it is in another unit, or none."""
_WRONG = (
    "m IS NULL",
    f"(t IS NULL OR NOT abs(t) <= {_FARTHEST_SECONDS!r})",
    *(f"({name} IS NULL OR NOT isfinite({name}) OR {name} < 0)" for name in ("n", "p", "o")),
)
"""What makes the value of a row unusable: its model, time, requests, prompt and output tokens."""
_BAD = f"({' OR '.join(_WRONG)})"
