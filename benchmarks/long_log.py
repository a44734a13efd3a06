"""A request log of any length as Parquet, and what reading it costs.

    python benchmarks/long_log.py --rows 50000000

The rows are arithmetic, so the same on every machine: 200 models with a share that falls with
their rank, one week, tokens that follow from the row's number.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import duckdb

from kvplace.demand.logs.traces import read_trace
from kvplace.demand.summary import summarise

MODELS, SECONDS = 200, 7 * 86400


def write(path: Path, rows: int) -> None:
    """Write the log."""
    database = duckdb.connect(config={"memory_limit": "2GB"})
    database.execute("SET enable_progress_bar = false")  # the figures go to stdout
    # A square gives model 0 about 7 % of the requests and model 199 about 0.25 %.
    database.execute(
        f"COPY (SELECT i * {SECONDS}.0 / {rows} AS t_s, "
        f"'model-' || CAST(floor(pow((hash(i) % 1000003) / 1000003.0, 2) * {MODELS}) AS INT) "
        "AS model, CAST(hash(i + 1) % 4000 AS INT) AS prompt_tokens, "
        "CAST(hash(i + 2) % 800 AS INT) AS output_tokens "
        f"FROM range({rows}) r(i)) TO '{path}' (FORMAT parquet)"
    )


def main() -> None:
    """Write the log if it is not there, read it, print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--file", type=Path, default=None)
    options = parser.parse_args()
    path = options.file or Path(tempfile.gettempdir()) / f"log-{options.rows}.parquet"
    if not path.exists():
        # In a process of its own, so that the peak memory below is the reader's alone.
        child = multiprocessing.get_context("spawn").Process(
            target=write, args=(path, options.rows)
        )
        child.start()
        child.join()
    begin = time.perf_counter()
    summary = summarise(read_trace(path, step_seconds=600))
    figures = {
        "rows": options.rows,
        "file_mb": round(path.stat().st_size / 1e6),
        "models": len(summary.models),
        "seconds": round(time.perf_counter() - begin, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "mean_requests_per_second": sum(model.mean_rate for model in summary.models),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
