"""Single requests from logs, for those who replay them."""

from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from kvplace.demand.logs.columns import Named
from kvplace.demand.logs.traces import define_columns, opened_log, refuse_rows
from kvplace.errors import InputError

Requests = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def read_requests(
    path: str | Path,
    *,
    model: str | None = None,
    skip_bad: bool = False,
    **named: Unpack[Named],
) -> dict[str, Requests]:
    """Read a log of requests, one row each.

    Parameters
    ----------
    path, model, skip_bad, named
        As in `kvplace.demand.logs.traces.read_trace`.

    Returns
    -------
    dict
        By model: seconds since the log's first request, prompt tokens and output tokens.

    Raises
    ------
    InputError
        The file cannot be read, counts requests instead of listing them, lacks token counts, or
        has a row without a usable value.
    MissingExtraError
        The log is large or Parquet, and DuckDB is not installed.
    """
    file = Path(path)
    with opened_log(file, named, skip_bad=skip_bad) as (log, columns):
        if columns.count:
            raise InputError("it counts requests; a replay needs one row per request", str(file))
        pairs = (("prompt", columns.prompt), ("output", columns.output))
        missing = [name for name, column in pairs if column is None]
        if missing:
            raise InputError(f"it has no {' nor '.join(missing)} tokens to replay", str(file))
        unit = named.get("time_unit")
        define_columns(log, columns, model or file.name.partition(".")[0], unit, file)
        rows, bad = log.requests()
        if bad and not skip_bad:
            refuse_rows(log, columns, bad, file)
    if not len(rows["t"]):
        raise InputError("there is no usable row in it", str(file))
    names, of_name = np.unique(np.asarray(rows["m"]).astype(str), return_inverse=True)
    values = {name: np.asarray(rows[name], np.float64) for name in "tpo"}
    times = values["t"] - values["t"].min()
    return {
        str(name): (
            times[of_name == at],
            np.rint(values["p"][of_name == at]).astype(np.int64),
            np.rint(values["o"][of_name == at]).astype(np.int64),
        )
        for at, name in enumerate(names)
    }
