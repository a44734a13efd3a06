"""Demand from a log or a server in one call."""

import time
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from kvplace.demand.summary import DemandSummary, summarise


def demand(
    source: str | PathLike[str],
    *,
    quantile: float = 0.95,
    only: Sequence[str] = (),
    **reading: Any,
) -> DemandSummary:
    """Read what is asked of every model from a request log or from Prometheus.

    Parameters
    ----------
    source
        A log, CSV, JSON or Parquet; or the URL of a Prometheus server.
    quantile
        Plan for the rate that this share of the windows does not exceed; 1.0 is the peak.
    only
        Only these models; all where it is empty.
    reading
        How the source is read. Of a log: ``step_seconds`` (length of a window), ``model`` (that of
        a log without a model column), ``skip_bad``, ``time_column``, ``model_columns``,
        ``prompt_column``, ``output_column``, ``count_column`` and ``time_unit``, as in
        `kvplace.demand.logs.traces.read_trace`. Of a server: ``end`` (seconds since 1970; now where
        it is not given), ``window_seconds``, ``step_seconds``, ``matchers``, ``latency_quantile``
        and ``access``, as in `kvplace.demand.prometheus.prometheus.read_prometheus`.

    Raises
    ------
    InputError
        The source cannot be read, or a figure is missing.
    MissingExtraError
        An optional library is not installed.
    """
    name = fspath(source)
    if name.startswith(("http://", "https://")):
        from kvplace.demand.prometheus.prometheus import read_prometheus  # noqa: PLC0415 - an optional extra

        reading.setdefault("end", time.time())
        return summarise(read_prometheus(name, models=only, **reading), quantile)
    from kvplace.demand.logs.traces import read_trace  # noqa: PLC0415 - an optional extra

    series = read_trace(name, **reading)
    return summarise(series.only(only) if only else series, quantile)
