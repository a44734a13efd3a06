"""Rates over time, drawn: which models peak, and when."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kvplace.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from kvplace.demand.series import DemandSeries

__all__ = ["draw_demand"]

_SHOWN = 8
"""Models drawn each by itself; the others are one band."""
_SUFFIXES = (".png", ".svg", ".pdf")


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
    if not path.lower().endswith(_SUFFIXES):
        raise InputError(f"a plot ends in {', '.join(_SUFFIXES)}", path)
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtraError(
            "a plot needs the extra 'plots': pip install 'kvplace[plots]'"
        ) from error
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes: Any = figure.add_subplot()
    rates = series.requests / series.step_seconds
    order = np.argsort(-rates.sum(axis=1), kind="stable")
    shown, rest = order[:_SHOWN], order[_SHOWN:]
    bands = [rates[index] for index in shown]
    labels = [series.models[index] for index in shown]
    if len(rest):
        bands.append(rates[rest].sum(axis=0))
        labels.append(f"{len(rest)} more")
    hours = (series.starts - series.starts[0]) / 3600
    edges = np.append(hours, hours[-1] + series.step_seconds / 3600)
    floor = np.zeros(len(hours))
    for band, label in zip(bands, labels, strict=True):
        axes.stairs(floor + band, edges, baseline=floor, fill=True, label=label)
        floor += band
    axes.set_xlabel("hours")
    axes.set_ylabel("requests/s")
    axes.set_title(f"{series.origin}, windows of {series.step_seconds:g} s", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    try:
        figure.savefig(path)
    except OSError as error:
        raise InputError(f"it cannot be written: {error.strerror}", path) from error
