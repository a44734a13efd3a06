"""The fleets of the evidence: drawn ones, public ones, and ones whose demand is a public log's.

Drawn fleets are those of `kvplace.bench.adrs_like`: 32 dense models on 8 H100s with heavy-tailed
rates. Seeds 7001 to 7012 were fixed before anything was run on them. openrouter-47 and -60 are
public fleets as they are; in -60 the planner chooses copies and degrees. lmsys-16 does not state
the shapes of its models: they are taken from their sizes, and the plans say so.

No log says which models answered on what, so sizes, KV bytes per token and objectives are drawn as
in `kvplace.bench.adrs_like` (dense models, 8 H100s, 85 % of the memory in weights). What is taken
from the logs is how unevenly models are asked, and how long prompts and outputs are:

arena27    1,500 requests of 27 models in 600 s (Multi-LLM/prism-research, Apache-2.0)
servegen   the 32 clients of alibaba/ServeGen's "m-large" that ask most (Apache-2.0), each one taken
           for a model of its own
azure, mooncake  lengths of 24 equal stretches of Azure's 2023 conversations (CC-BY 4.0) and of
           Mooncake's (Apache-2.0); the rates are ServeGen's, since these logs have one model

Rates are scaled to 6 requests/s in all: the factor that a placement serves is what is asked.
"""

import csv
import dataclasses
import gzip
import statistics
from collections import defaultdict

import kvplace
from kvplace.bench.adrs_like import adrs_like
from kvplace.forecast.share_timing import ShareTiming

TOTAL = 6.0
LONGEST = 8192  # tokens of a mean prompt: longer ones need other objectives than those drawn

DRAWN = {str(seed): seed for seed in range(7001, 7013)}
FILES = {"openrouter-47": 1, "openrouter-60": 2, "lmsys-16": 3}
LOGS = {"arena27": 11, "servegen": 12, "azure": 13, "mooncake": 14}
NAMES = (*DRAWN, *FILES, *LOGS)
"""Every fleet; the number beside it is the seed of whatever is drawn for it."""

BROKEN = tuple(DRAWN)[:6]
"""The drawn fleets on which assumptions are broken; of the others, all."""

SEEDS = DRAWN | FILES | LOGS


def fleet(name, data):
    """Return a fleet by its name; seeds of drawn ones other than those above are allowed."""
    if name.isdecimal():
        return adrs_like(int(name))
    if name in LOGS:
        return _of_log(name, data)
    found = kvplace.read(str(data / f"fleets/{name}.yaml"))
    # A shape that is not in the file is taken from the size of the model.
    return dataclasses.replace(found, timing=ShareTiming(guess=True)) if name[0] == "l" else found


def seed_of(name):
    """Return the seed of whatever is drawn for a fleet."""
    return SEEDS[name] if name in SEEDS else int(name)


def _of_log(name, data):
    rows = globals()[f"_{name}"](data / "traces")
    scale = TOTAL / sum(rate for rate, _, _ in rows)
    demands = [
        (rate * scale, min(LONGEST, max(8.0, prompt)), max(2.0, output))
        for rate, prompt, output in rows
    ]
    return adrs_like(LOGS[name], models=len(demands), demands=demands)


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
    ]


def _clients(folder):
    """Return the clients of ServeGen that ask most, with their requests and lengths."""
    rows = [
        row for row in _rows(folder / "servegen_client_summary.csv") if row["service"] == "m-large"
    ]
    return sorted(rows, key=lambda row: -float(row["requests"]))[:32]


def _servegen(folder):
    return [
        (float(row["requests"]), float(row["in_mean"]), float(row["out_mean"]))
        for row in _clients(folder)
    ]


def _stretches(folder, log):
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
    pairs = zip(_clients(folder), means, strict=False)
    return [(float(row["requests"]), *mean) for row, mean in pairs]


def _azure(folder):
    return _stretches(folder, "azure_llm_2023_requests.csv.gz")


def _mooncake(folder):
    return _stretches(folder, "mooncake_conversation_requests.csv.gz")
