"""A row of the models table: numbers in the units that the column names say."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

from kvplace.core.models.architecture import Architecture
from kvplace.core.models.model_table import DemandColumns
from kvplace.core.models.window import mean_demand
from kvplace.formats.diagnostics import Path, Report, path_text, shown
from kvplace.formats.validation.csv_rows import Header
from kvplace.formats.validation.values import MAX_BYTES_PER_TOKEN, MAX_RATE, MAX_TOKENS
from kvplace.units import parse_number

SHAPE = tuple(field.name for field in fields(Architecture))
"""Columns of a model's shape, each a key of ``architecture``."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "name": ("name",),
    "weights_gib": ("weights",),
    "requests_per_second": ("demand", "requests_per_second"),
    "slo_seconds": ("slo", "latency"),
    "overhead_gib": ("overhead",),
    "min_kv_gib": ("min_kv",),
    "kv_bytes_per_token": ("kv_bytes_per_token",),
    "prompt_tokens": ("demand", "prompt_tokens"),
    "output_tokens": ("demand", "output_tokens"),
    "ttft_seconds": ("slo", "ttft"),
    "tpot_seconds": ("slo", "tpot"),
    "tensor_parallel": ("tensor_parallel",),
    "replicas": ("replicas",),
    **{name: ("architecture", name) for name in SHAPE},
}
"""Each column and the key of a fleet file that it stands for."""

REQUIRED = ("name", "weights_gib", "requests_per_second")
BY_WINDOW = ("requests_per_second", "prompt_tokens", "output_tokens")
"""Columns of which there may be one for each window, such as ``requests_per_second@day``."""
HEADER = Header(
    REQUIRED,
    tuple(column for column in COLUMNS if column not in REQUIRED),
    texts=("name", "tensor_parallel", "replicas", *SHAPE),
    whole=("kv_bytes_per_token",),
    by_window=BY_WINDOW,
)
MOST = {
    "requests_per_second": MAX_RATE,
    "prompt_tokens": MAX_TOKENS,
    "output_tokens": MAX_TOKENS,
    "slo_seconds": 365 * 86400.0,
    "ttft_seconds": 365 * 86400.0,
    "tpot_seconds": 365 * 86400.0,
    "kv_bytes_per_token": MAX_BYTES_PER_TOKEN,
}
"""Largest number of each column that is accepted without a closer look."""
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_EXACT = 2**53


def column_text(path: Path) -> str:
    """Return a path with the name of the column in place of the keys of a fleet file."""
    column = next((name for name, keys in COLUMNS.items() if keys == path[2:]), None)
    if column is not None:
        return path_text((*path[:2], column))
    return str(path[0]) if len(path) == 1 else path_text(path)


def windows_of(columns: Iterable[str]) -> list[str]:
    """Return the windows that columns name, in their order."""
    named = (column.partition("@") for column in columns)
    return list(dict.fromkeys(window for base, _, window in named if window and base in BY_WINDOW))


def row_model(
    cells: dict[str, str], index: int, report: Report, windows: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a row as a model of a fleet file; a cell that is no number is noted, and 0.

    Parameters
    ----------
    cells
        The filled cells by column.
    index
        Number of the row.
    report
        Where faults go.
    windows
        Those that the columns of the table name.
    """
    model: dict[str, Any] = {"demand": {}, "slo": {}, "architecture": {}}
    for column, keys in COLUMNS.items():
        needed = column in REQUIRED and not (windows and column in BY_WINDOW)
        empty = "is empty" if needed else ""
        value = _stated(cells, column, ("models", index, *keys), empty, report)
        if value is not None:
            (model[keys[0]] if len(keys) > 1 else model)[keys[-1]] = value
    if not model["architecture"]:
        del model["architecture"]
    for window in windows:
        asked = model["demand"] | {"window": window}
        for base in BY_WINDOW:
            column = f"{base}@{window}"
            empty = "is empty; write 0 where nothing is asked" if base in REQUIRED else ""
            value = _stated(cells, column, ("models", index, column), empty, report)
            if value is not None or empty or column in cells:
                asked[base] = value or 0.0
        model.setdefault("windows", []).append(asked)
    model["demand"] = model.pop("windows", model["demand"])
    return model


def _stated(cells: dict[str, str], column: str, place: Path, empty: str, report: Report) -> object:
    """Return what a cell states; None, and a fault, where it is no number or wrongly empty."""
    try:
        if column in cells:
            return cell_value(column.partition("@")[0], cells[column])
    except ValueError as error:
        report.add(place, str(error))
    else:
        if empty and not report.covers(place[:2]):
            report.add(place, empty)
    return None


def shape_value(cell: str) -> object:
    """Return a cell of a column of `SHAPE` as a fleet file would write it."""
    if cell.casefold() in ("true", "false"):
        return cell.casefold() == "true"
    if not NUMBER.fullmatch(cell):
        return cell
    number = float(cell)
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def cell_value(column: str, cell: str) -> object:
    """Return a cell as a fleet file would write it."""
    if column in SHAPE:
        return shape_value(cell)
    if column in _OTHERS:
        return _OTHERS[column](cell)
    number = parse_number(cell) if NUMBER.fullmatch(cell) else None
    if number is None:
        raise ValueError(f"{shown(cell)} is not a number; the column names the unit")
    unit = {"gib": "GiB", "seconds": "s"}.get(column.rpartition("_")[2])
    return f"{cell}{unit}" if unit else number


def _degrees(cell: str) -> list[int]:
    wanted = "a degree such as 2, or degrees such as 1 2 4"
    return [_whole(degree, wanted) for degree in cell.split()]


def _whole(cell: str, wanted: str) -> int:
    if not _WHOLE.fullmatch(cell):
        raise ValueError(f"{shown(cell)} is not {wanted}")
    return int(cell)


_OTHERS: dict[str, Callable[[str], object]] = {
    "name": str,
    "kv_bytes_per_token": lambda cell: _whole(cell, "a whole number of bytes"),
    "tensor_parallel": _degrees,
    "replicas": str,
}
"""Columns whose cells are not plain numbers with the unit of the column."""


def window_means(
    windows: Sequence[DemandColumns],
) -> tuple[array[float], array[float], array[float]]:
    """Return the mean rate and token counts over windows of each row, as `mean_demand` has them."""
    found = (array("d"), array("d"), array("d"))
    weights = [1.0] * len(windows)
    for row in range(len(windows[0].requests_per_second)):
        mean = mean_demand([window[row] for window in windows], weights)
        values = (mean.requests_per_second, mean.prompt_tokens, mean.output_tokens)
        for column, value in zip(found, values, strict=True):
            column.append(math.nan if value is None else value)
    return found
