"""Rates over time, drawn: which models peak, and when."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from kvplace.report.plots.canvas import canvas, legend_text
from kvplace.report.text import clean

if TYPE_CHECKING:
    from kvplace.demand.series import DemandSeries

_SHOWN = 8
"""Models drawn each by itself; the others are one band."""
_REST = "#b8bec6"
_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_FEWEST_UNITS = 3
"""A span is told in the longest unit of which it has at least so many."""
_UNIX_SECONDS = 1e8
"""Starts above this (1973) are seconds since 1970; a trace that begins at 0 stays below."""


def draw_demand(series: "DemandSeries", path: str) -> None:
    """Draw requests per second over time, the busiest models stacked, into a file.

    Parameters
    ----------
    series
        What to draw.
    path
        A ``.png``, ``.svg`` or ``.pdf`` file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, or the file cannot be written.
    """
    rates = series.requests / series.step_seconds
    order = np.argsort(-rates.sum(axis=1), kind="stable")
    shown, rest = order[:_SHOWN], order[_SHOWN:]
    bands = [
        (rates[index], legend_text(series.models[index]), f"C{place}")
        for place, index in enumerate(shown)
    ]
    if len(rest):
        bands.append((rates[rest].sum(axis=0), f"{len(rest)} more", _REST))
    begin = float(series.starts[0])
    edges = np.append(series.starts, series.starts[-1] + series.step_seconds) - begin
    unit, seconds = _unit(float(edges[-1]))
    with canvas(path, 10, 5) as figure:
        axes: Any = figure.add_subplot()
        floor = np.zeros(len(series.starts))
        for band, label, colour in bands:
            axes.stairs(
                floor + band, edges / seconds, baseline=floor, fill=True, label=label, color=colour
            )
            floor += band
        axes.set_xlabel(unit + _since(begin))
        axes.set_ylabel("requests/s")
        axes.set_title(f"{clean(series.origin)}, windows of {series.step_seconds:g} s", fontsize=10)
        axes.margins(x=0)
        # From top to bottom as the bands lie.
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, reverse=True)


def _unit(span_seconds: float) -> tuple[str, float]:
    """Return the unit in which a span reads best, and its seconds."""
    fitting = (unit for unit in _UNITS if span_seconds >= _FEWEST_UNITS * unit[1])
    return next(fitting, _UNITS[-1])


def _since(begin: float) -> str:
    """Return the instant from which time is counted, where it is one of a calendar."""
    if begin < _UNIX_SECONDS:
        return ""
    return f" since {datetime.fromtimestamp(begin, UTC):%Y-%m-%d %H:%M} UTC"
