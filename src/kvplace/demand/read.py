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
        How the source is read: what `kvplace.demand.logs.traces.read_trace` takes of a log, and
        `kvplace.demand.prometheus.prometheus.read_prometheus` of a server, whose window ends now.

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
