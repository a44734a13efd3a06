"""Fleets from public logs: who asks for what is the log's; shapes and objectives are drawn.

No log says which models answered on what, so sizes, KV bytes per token and objectives are drawn as
in `kvplace.bench.adrs_like` (dense models, 8 H100s, 85 % of the memory in weights). What is taken
from the logs is how unevenly models are asked, and how long prompts and outputs are:

arena27    1,500 requests of 27 models in 600 s (Multi-LLM/prism-research, Apache-2.0)
servegen   the 32 clients of alibaba/ServeGen's "m-large" that ask most (Apache-2.0), each one taken
           for a model of its own, its burstiness too
azure, mooncake  lengths of 24 equal stretches of Azure's 2023 conversations (CC-BY 4.0) and of
           Mooncake's (Apache-2.0); the rates are ServeGen's, since these logs have one model

Rates are scaled to 6 requests/s in all: the factor that a placement serves is what is asked.
"""

import csv
import gzip
import statistics
from collections import defaultdict

from kvplace.bench.adrs_like import adrs_like

TOTAL = 6.0
LONGEST = 8192  # tokens of a mean prompt: longer ones need other objectives than those drawn
FAMILIES = {"arena27": 11, "servegen": 12, "azure": 13, "mooncake": 14}


def log_fleet(name, data):
    """Return one fleet and the mean burstiness of its log (coefficient of variation of gaps)."""
    rows, burst = globals()[f"_{name}"](data / "traces")
    scale = TOTAL / sum(rate for rate, _, _ in rows)
    demands = [
        (rate * scale, min(LONGEST, max(8.0, prompt)), max(2.0, output))
        for rate, prompt, output in rows
    ]
    return adrs_like(FAMILIES[name], models=len(demands), demands=demands), burst


def _rows(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from csv.DictReader(file)


def _arena27(folder):
    of = defaultdict(list)
    for row in _rows(folder / "arena27_requests.csv"):
        of[row["model"]].append((float(row["input_tokens"]), float(row["output_tokens"])))
    return [
        (len(found) / 600, *map(statistics.fmean, zip(*found, strict=True)))
        for _, found in sorted(of.items())
    ], 1.0


def _clients(folder):
    """Return the busiest clients of ServeGen with their requests, lengths and burstiness."""
    rows = [
        row for row in _rows(folder / "servegen_client_summary.csv") if row["service"] == "m-large"
    ]
    rows.sort(key=lambda row: -float(row["requests"]))
    kept = rows[:32]
    names = {row["client"] for row in kept}
    cvs = [
        float(row["cv"]) for row in _rows(folder / "servegen_client_10min.csv.gz")
        if row["service"] == "m-large" and row["client"] in names and row["cv"]
    ]  # fmt: skip
    return kept, statistics.median(cvs)


def _servegen(folder):
    kept, burst = _clients(folder)
    return [
        (float(row["requests"]), float(row["in_mean"]), float(row["out_mean"])) for row in kept
    ], burst


def _stretches(folder, log):
    kept, burst = _clients(folder)
    lengths = [
        (float(row["input_tokens"]), float(row["output_tokens"])) for row in _rows(folder / log)
        if row.get("service", "conv") == "conv"
    ]  # fmt: skip
    count = 24
    size = len(lengths) // count
    means = [
        tuple(map(statistics.fmean, zip(*lengths[at * size : (at + 1) * size], strict=True)))
        for at in range(count)
    ]
    return [(float(row["requests"]), *mean) for row, mean in zip(kept, means, strict=False)], burst


def _azure(folder):
    return _stretches(folder, "azure_llm_2023_requests.csv.gz")


def _mooncake(folder):
    return _stretches(folder, "mooncake_conversation_requests.csv.gz")
