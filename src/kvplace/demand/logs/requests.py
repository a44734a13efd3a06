"""Single requests from logs, for those who replay them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvplace.demand.logs.columns import find_columns
from kvplace.demand.logs.traces import define_columns, open_log, refuse_rows
from kvplace.errors import InputError

__all__ = ["read_requests"]

Requests = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def read_requests(
    path: str | Path,
    *,
    model: str | None = None,
    time_column: str | None = None,
    model_columns: Sequence[str] = (),
    prompt_column: str | None = None,
    output_column: str | None = None,
    time_unit: str | None = None,
    skip_bad: bool = False,
) -> dict[str, Requests]:
    """Read a log of requests, one row each.

    Parameters
    ----------
    path, model, time_column, model_columns, prompt_column, output_column, time_unit, skip_bad
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
    log = open_log(file)
    try:
        columns = find_columns(
            log.names,
            str(file),
            time=time_column,
            model=model_columns,
            prompt=prompt_column,
            output=output_column,
            count=None,
        )
        if columns.count:
            raise InputError("it counts requests; a replay needs one row per request", str(file))
        pairs = (("prompt", columns.prompt), ("output", columns.output))
        missing = [name for name, column in pairs if column is None]
        if missing:
            raise InputError(f"it has no {' nor '.join(missing)} tokens to replay", str(file))
        define_columns(log, columns, model or file.name.partition(".")[0], time_unit, file)
        rows, bad = log.requests()
        if bad and not skip_bad:
            refuse_rows(log, columns, bad, file)
    finally:
        log.close()
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
