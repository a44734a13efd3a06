"""Demand from logs: CSV, JSON or Parquet, of requests or of counts per window."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np

from kvplace.demand.logs.clock import TIME_UNITS, TimeFacts, time_unit
from kvplace.demand.logs.columns import Columns, Named, find_columns
from kvplace.demand.series import Array, DemandSeries, check_cells
from kvplace.errors import Fault, InputError, MissingExtraError

DEFAULT_STEP_SECONDS = 60.0
"""Length of a window for logs of requests; logs of counts keep their own windows."""

_KINDS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
_SMALL = 16 * 2**20
"""Bytes up to which a log is read without the database; what both read says the same."""
_SMALL_WITHOUT = 64 * 2**20  # the same where no database is installed
_SHOWN_FAULTS = 5
_ENOUGH_WINDOWS = 12  # below that, a model that seems late may just be rare
_LONGEST_REQUEST = 4e6
"""Tokens: no model reads as much, so rows of more on average are sums of several requests."""


class _Log(Protocol):
    """A log that can say what its columns hold and group them into windows."""

    names: list[str]

    def time_facts(self, column: str) -> TimeFacts: ...

    def define(self, columns: Columns, model: str, scale: float | None) -> None: ...

    def bad_rows(self, most: int) -> list[tuple[int, Sequence[bool]]]: ...

    def grouped(self, step: float) -> tuple[dict[str, Any], int]: ...

    def requests(self) -> tuple[dict[str, Any], int]: ...

    def own_step(self) -> float | None: ...

    def close(self) -> None: ...


def read_trace(
    path: str | Path,
    *,
    step_seconds: float | None = None,
    model: str | None = None,
    skip_bad: bool = False,
    **named: Unpack[Named],
) -> DemandSeries:
    """Read a log and count it into windows.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv``, ``.json``, ``.jsonl``, ``.ndjson`` (each also with ``.gz``) or
        ``.parquet`` file; of a pipe the content tells which.
    step_seconds
        Length of a window. None for a minute, or for the log's own windows if it has counts.
    model
        Name for the requests of a log without a model column; None for the file's name.
    skip_bad
        Leave rows without a usable value out, and say how many, instead of refusing the log.
    named
        ``time_column``, ``model_columns``, ``prompt_column``, ``output_column`` and
        ``count_column``, where their names do not tell; and ``time_unit``, one of ``s``, ``ms``,
        ``us`` and ``ns``, for a numeric time whose unit nothing tells.

    Raises
    ------
    InputError
        The file cannot be read, a column is missing, or a row has no usable value.
    MissingExtraError
        The log is large or Parquet, and DuckDB is not installed.
    """
    file = Path(path)
    name = model or file.name.partition(".")[0]
    with opened_log(file, named, skip_bad=skip_bad) as (log, columns):
        notes = define_columns(log, columns, name, named.get("time_unit"), file)
        own = _own_step(log, file) if columns.count else None
        step = step_seconds or own or DEFAULT_STEP_SECONDS
        if own and step % own:
            raise InputError(
                f"the log counts windows of {own:g} s; --step must be a multiple of that, "
                f"not {step:g} s",
                str(file),
            )
        grouped, bad = log.grouped(step)
        if bad and not skip_bad:
            refuse_rows(log, columns, bad, file)
    if bad:
        were = "row without a usable value was" if bad == 1 else "rows without a usable value were"
        notes.insert(0, f"{bad:,} {were} left out")
    if not len(grouped["n"]):
        raise InputError("there is no usable row in it", str(file))
    series = _assemble({k: np.asarray(v) for k, v in grouped.items()}, columns, step, own, file)
    _refuse_sums(series, columns, str(file))
    notes += _absent(columns, name) + _late(series)
    return replace(series, notes=tuple(notes))


@contextmanager
def opened_log(file: Path, named: Named, *, skip_bad: bool) -> Iterator[tuple[_Log, Columns]]:
    """Open a log for a while, and tell which of its columns means what."""
    log = _open_log(file, skip_bad=skip_bad)
    try:
        yield log, find_columns(log.names, str(file), **named)
    finally:
        log.close()


def _open_log(file: Path, *, skip_bad: bool) -> _Log:
    """Open a log: a small one here, any other in the database."""
    suffix = Path(file.name.removesuffix(".gz")).suffix.casefold()
    if not os.path.exists(file):  # noqa: PTH110 - Path raises where a name is too long
        raise InputError("there is no such file", str(file))
    if file.is_dir():
        raise InputError("this is a directory; name a file in it", str(file))
    piped = not suffix and (not file.is_file() or file.parts[:2] == ("/", "dev"))
    if (not piped and suffix not in _KINDS) or (suffix == ".parquet" and file.name.endswith(".gz")):
        raise InputError(
            f"{file.suffix or 'no suffix'!r} is no kind of log; known are {', '.join(_KINDS)}, "
            "and all but .parquet with .gz",
            str(file),
        )
    size = file.stat().st_size if file.is_file() else 0
    if file.is_file() and not size:
        raise InputError("this file is empty", str(file))
    from kvplace.demand.logs.plain import PlainLog  # noqa: PLC0415 - one of the two is loaded

    if piped or suffix == ".json" or (suffix != ".parquet" and size <= _SMALL):
        return PlainLog(file, skip_bad=skip_bad)
    try:
        from kvplace.demand.logs.grouped import DatabaseLog  # noqa: PLC0415 - an optional extra

        return DatabaseLog(file, skip_bad=skip_bad)
    except MissingExtraError:
        if suffix == ".parquet" or size > _SMALL_WITHOUT:
            raise
        return PlainLog(file, skip_bad=skip_bad)


def define_columns(
    log: _Log, columns: Columns, model: str, asked: str | None, file: Path
) -> list[str]:
    """Tell the log what its columns mean; return what was concluded about its times."""
    facts = log.time_facts(columns.time)
    if not facts.numeric:
        log.define(columns, model, None)
        return []
    unit, note = time_unit(columns.time, log.names, facts, asked, str(file))
    log.define(columns, model, TIME_UNITS[unit])
    return [note] if note else []


def _own_step(log: _Log, file: Path) -> float:
    """Return the length of the windows that a log of counts has."""
    step = log.own_step()
    if step is None:
        raise InputError(
            "it counts one window only, so the window's length is not known", str(file)
        )
    return step


def refuse_rows(log: _Log, columns: Columns, bad: int, file: Path) -> None:
    """Raise with the first rows that have no usable value."""
    names = (
        "/".join(columns.model) or "model",
        columns.time,
        columns.count or "requests",
        columns.prompt or "prompt tokens",
        columns.output or "output tokens",
    )
    faults = []
    for row, wrong in log.bad_rows(_SHOWN_FAULTS):
        told = ", ".join(name for name, is_wrong in zip(names, wrong, strict=True) if is_wrong)
        faults.append(Fault(f"no usable value in {told}", f"row {row}"))
    if bad > len(faults):
        faults.append(Fault(f"and {bad - len(faults):,} more rows without a usable value"))
    last, forms = faults.pop(), ""
    shown = list(log.bad_rows(_SHOWN_FAULTS))
    if shown[0][0] == 1 and all(wrong[1] for _, wrong in shown):
        forms = "; times are read as 2026-06-01T08:00:00Z or as numbers"
    faults.append(Fault(f"{last.message}{forms}; --skip-bad leaves such rows out", last.path))
    raise InputError(faults, str(file))


def _refuse_sums(series: DemandSeries, columns: Columns, source: str) -> None:
    """Refuse a log whose rows hold more tokens than one request can have."""
    if columns.count is not None or series.prompt_tokens is None:
        return
    mean = float(series.prompt_tokens.sum() / series.requests.sum())
    if mean > _LONGEST_REQUEST:
        raise InputError(
            f"a row has {mean:,.0f} prompt tokens on average, more than any request has, so rows "
            "are sums over several requests; name the column that counts them with --count-column",
            source,
        )


def _assemble(
    grouped: dict[str, Any], columns: Columns, step: float, own: float | None, file: Path
) -> DemandSeries:
    """Turn groups into arrays of all windows from the first to the last."""
    names = grouped["m"]  # ascending, so a model's rows are one run
    begins = np.flatnonzero(np.concatenate(([True], names[1:] != names[:-1])))
    models = tuple(str(name) for name in names[begins])
    row = np.repeat(np.arange(len(models)), np.diff(np.append(begins, len(names))))
    windows = grouped["w"].astype(np.int64)
    first, last = float(grouped["first"].min()), float(grouped["last"].max()) + (own or 0.0)
    low = int(windows.min())
    count = int(windows.max()) - low + 1
    check_cells(len(models), count, step, str(file))
    starts: Array = (low + np.arange(count, dtype=np.float64)) * step
    covered = np.minimum(starts + step, last) - np.maximum(starts, first)

    def dense(name: str) -> Array:
        cells: Array = np.zeros((len(models), count))
        cells[row, windows - low] = grouped[name]
        return cells

    return DemandSeries(
        models=models,
        starts=starts,
        covered_seconds=np.maximum(covered, 0.0),
        step_seconds=step,
        requests=dense("n"),
        prompt_tokens=dense("p") if columns.prompt else None,
        output_tokens=dense("o") if columns.output else None,
        origin=file.name,
    )


def _absent(columns: Columns, model: str) -> list[str]:
    """Return notes on the columns that were not found."""
    notes = []
    if not columns.model:
        notes.append(f"no model column: all requests are {model!r}")
    if [name.lower() for name in columns.model] == ["service"]:
        notes.append("no model column: every value of 'service' is taken for a model")
    absent = [
        kind
        for found, kind in ((columns.prompt, "prompt"), (columns.output, "output"))
        if found is None
    ]
    if absent:
        options = " and ".join(f"--{kind}-column" for kind in absent)
        names = "name them" if len(absent) > 1 else "names it"
        notes.append(f"no column of {' and '.join(absent)} tokens was found; {options} {names}")
    for name in columns.unread:
        if "cache" in name.casefold():
            notes.append(f"{name!r} is not added to the prompt tokens, which may leave them out")
        else:
            notes.append(f"{name!r} is not looked at: requests that failed count as any other")
    return notes


def _late(series: DemandSeries) -> list[str]:
    """Return a note on models that came late or left early."""
    seen = series.requests > 0
    windows = seen.shape[1]
    span = windows - seen.argmax(axis=1) - seen[:, ::-1].argmax(axis=1)
    # A rare model is not one that came late.
    busy = (span >= _ENOUGH_WINDOWS) & (2 * seen.sum(axis=1) > span)
    late = busy & (2 * span < windows)
    short = [name for name, is_late in zip(series.models, late, strict=True) if is_late]
    if not short:
        return []
    shown = ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
    return [f"seen in less than half of the time, and counted as idle in the rest: {shown}"]
