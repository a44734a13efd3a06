"""A small log, held as columns of numbers and grouped into windows without a database."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kvplace.demand.logs.clock import TimeFacts
from kvplace.demand.logs.columns import Columns
from kvplace.demand.logs.rows import Row, read_rows
from kvplace.demand.series import Array
from kvplace.errors import InputError
from kvplace.units import parse_number

_FARTHEST_SECONDS = 1e11
"""The year 5138: a time beyond it is in another unit, or none."""
_SLASHED = re.compile(r"\d{4}/")


class PlainLog:
    """A log read row by row.

    Parameters
    ----------
    file
        A CSV, TSV, JSON or JSON-lines file, plain or compressed.
    skip_bad
        Whether a line that is no JSON object is a row without a value.

    Raises
    ------
    InputError
        It cannot be read, or has no row.
    """

    def __init__(self, file: Path, *, skip_bad: bool = False) -> None:
        self.file = file
        self._rows: list[Row] = list(read_rows(file, skip_bad=skip_bad))
        if not self._rows:
            raise InputError("there is no row in it", str(file))
        self.names = list(dict.fromkeys(name for row in self._rows for name in row))
        self._models: list[str | None] = []
        self._numbers: dict[str, Array] = {}

    def time_facts(self, column: str) -> TimeFacts:
        """Say what the values of a time column look like."""
        values = [row.get(column) for row in self._rows]
        given = [value for value in values if value is not None and str(value).strip()]
        if not given:
            raise InputError(f"the column {column!r} is empty", str(self.file))
        if _number(given[0]) is None:
            return TimeFacts(numeric=False)
        numbers = [n for n in map(_number, given) if n is not None]
        return TimeFacts(
            numeric=True,
            low=min(numbers),
            high=max(numbers),
            rows=len(numbers),
            whole=all(number.is_integer() for number in numbers),
            example=str(given[0])[:40],
        )

    def define(self, columns: Columns, model: str, scale: float | None) -> None:
        """Take the columns apart into numbers; times are dates where `scale` is None."""

        def time(value: Any) -> float | None:
            if scale is None:
                return _date(value)
            number = _number(value)
            return None if number is None else number * scale

        def filled(name: str | None, read: Callable[[Any], float | None], absent: float) -> Array:
            if name is None:
                return np.full(len(self._rows), absent)
            values = [read(row.get(name)) for row in self._rows]
            return np.array([math.nan if v is None else v for v in values], dtype=np.float64)

        self._models = [_model(row, columns.model, model) for row in self._rows]
        self._numbers = {
            "t": filled(columns.time, time, 0.0),
            "n": filled(columns.count, _number, 1.0),
            "p": filled(columns.prompt, _number, 0.0),
            "o": filled(columns.output, _number, 0.0),
        }
        if columns.end is not None:
            self._numbers["e"] = filled(columns.end, time, 0.0)

    def wrong(self) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
        """Return which values of each row are unusable: model, time, requests and tokens."""
        flags = [np.array([name is None for name in self._models], dtype=bool)]
        time = self._numbers["t"]
        with np.errstate(invalid="ignore"):
            flags.append(~(np.abs(time) <= _FARTHEST_SECONDS))
            for name in ("n", "p", "o"):
                values = self._numbers[name]
                flags.append(~(np.isfinite(values) & (values >= 0)))
        found: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = np.array(flags).T
        return found

    def bad_rows(self, most: int) -> list[tuple[int, Sequence[bool]]]:
        """Return the first rows with an unusable value: their number, and which it is."""
        wrong = self.wrong()
        places = np.flatnonzero(wrong.any(axis=1))[:most]
        return [(int(place) + 1, [bool(flag) for flag in wrong[place]]) for place in places]

    def grouped(self, step: float) -> tuple[dict[str, Any], int]:
        """Return one row per model and window of the usable rows, and how many are not usable."""
        wrong = self.wrong().any(axis=1)
        usable = np.flatnonzero(~wrong)
        models = np.array([self._models[place] for place in usable], dtype=object)
        times: Array = self._numbers["t"][usable]
        windows = np.floor(times / step).astype(np.int64)
        names, model_of = np.unique(models.astype(str), return_inverse=True)
        keys = np.stack([model_of, windows]) if len(usable) else np.zeros((2, 0), dtype=np.int64)
        groups, group_of = np.unique(keys, axis=1, return_inverse=True)
        group_of = group_of.reshape(-1)
        count = groups.shape[1]

        def total(name: str) -> Array:
            sums: Array = np.zeros(count)
            np.add.at(sums, group_of, self._numbers[name][usable])
            return sums

        first: Array = np.full(count, np.inf)
        last: Array = np.full(count, -np.inf)
        np.minimum.at(first, group_of, times)
        np.maximum.at(last, group_of, times)
        return (
            {
                "m": names[groups[0]] if count else np.array([], dtype=str),
                "w": groups[1],
                "n": total("n"),
                "p": total("p"),
                "o": total("o"),
                "first": first,
                "last": last,
            },
            int(wrong.sum()),
        )

    def requests(self) -> tuple[dict[str, Any], int]:
        """Return the usable rows in the order of time, and how many are not usable."""
        wrong = self.wrong().any(axis=1)
        usable = np.flatnonzero(~wrong)
        order = usable[np.argsort(self._numbers["t"][usable], kind="stable")]
        found: dict[str, Any] = {name: self._numbers[name][order] for name in "tpo"}
        found["m"] = np.array([self._models[place] for place in order], dtype=str)
        return found, int(wrong.sum())

    def own_step(self) -> float | None:
        """Return the length of the windows that a log of counts has; None where it is not told."""
        times = self._numbers["t"]
        if "e" in self._numbers:
            lengths = (self._numbers["e"] - times)[np.isfinite(self._numbers["e"] - times)]
            if len(lengths) and lengths.min() > 0:
                return float(lengths.min())
        distinct = np.unique(times[np.abs(times) <= _FARTHEST_SECONDS])
        return float(np.diff(distinct).min()) if len(distinct) > 1 else None

    def close(self) -> None:
        """Let go of the rows."""
        self._rows = []


def _model(row: Row, columns: Sequence[str], otherwise: str) -> str | None:
    """Return the model of a row; None where a part of its name is missing."""
    if not columns:
        return otherwise
    parts = [str(row[name]).strip() if row.get(name) is not None else "" for name in columns]
    return "/".join(parts) if all(parts) else None


def _number(value: Any) -> float | None:
    """Return a value as a number, or None."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return parse_number(str(value))


def _date(value: Any) -> float | None:
    """Return a date or timestamp in seconds since 1970, in UTC where it names no zone."""
    text = str(value).strip().removesuffix(" UTC")
    if _SLASHED.match(text):
        text = text.replace("/", "-", 2)
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
