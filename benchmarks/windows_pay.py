"""How many GPUs does planning by the hour save against planning every model at its own peak?

    python benchmarks/windows_pay.py --output benchmarks/results/windows_pay.json
    python benchmarks/windows_pay.py --show benchmarks/results/windows_pay.json

Fixed before the first run, except for what is said to have come later. Two fleets of models with a
demand for each hour of the day (UTC):

- ``servegen``: the 40 clients of ServeGen's m-large service with most requests in 14 days; each
  counts as a model. Its demand in an hour is the mean over the 14 days, its tokens are those of the
  client.
- ``arena27``: the 27 models of a log of 600 s, with their own rates and tokens. The log has no day;
  each model gets the day of the m-large client of its rank, shifted by 0, 8 or 16 hours in turn, as
  if the users of three continents had one model each. Rates are 100 times those of the log, which
  is a test load for a few GPUs.

What runs is the same for both, by one of two rules: ``four sizes`` is by rank of demand Llama 3.1
8B, Qwen3 14B, Qwen3 8B and Qwen3 32B in turn; ``8B`` is a Llama 3.1 8B of its own for everybody,
added after the first rule was seen to leave most GPUs to a single model of 32B. In 16 bits, in as
many copies as pay up to 8, on H100s. Objectives are 2 s to the first token
and 50 ms per token; the target is a pressure of 0.8. ``peak`` plans for one window in which every
model has the demand of its own busiest hour. ``hours`` plans for the 24 hours. Both are sized by
`kvplace size`; the lower bound says how few GPUs no plan by the hour can do with.
"""

import argparse
import csv
import gzip
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

from kvplace.facts.catalogue.models import known_model
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.formats.fleet.shape import shape_data
from kvplace.formats.read import parse_fleet
from kvplace.size.size import size_fleet
from kvplace.size.stock import stock_of

SMALL = "meta-llama/Llama-3.1-8B-Instruct"
RULES = {"four sizes": (SMALL, "Qwen/Qwen3-14B", "Qwen/Qwen3-8B", "Qwen/Qwen3-32B"), "8B": (SMALL,)}
CLIENTS, TARGET, COPIES = 40, 0.8, 8
GPU = "H100-SXM-80GB"
HOUR, STEP = 3600.0, 600.0


def servegen(data):
    """Return per client its requests/s in each hour of the day, and its tokens."""
    with (data / "servegen_client_summary.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["service"] == "m-large"]
    rows = sorted(rows, key=lambda row: -float(row["requests"]))[:CLIENTS]
    tokens = {row["client"]: (float(row["in_mean"]), float(row["out_mean"])) for row in rows}
    counts = defaultdict(lambda: [0.0] * 24)
    last = 0.0
    with gzip.open(data / "servegen_client_10min.csv.gz", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["service"] == "m-large":
                at = float(row["t"])
                last = max(last, at)
                if row["client"] in tokens:
                    counts[row["client"]][int(at % 86400 // HOUR)] += float(row["requests"])
    days = round((last + STEP) / 86400)
    return {
        f"client-{name}": ([count / days / HOUR for count in counts[name]], *tokens[name])
        for name in tokens
    }


def arena27(data):
    """Return per model its requests/s in each hour of a shifted day, and its tokens."""
    requests = defaultdict(list)
    with (data / "arena27_requests.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            requests[row["model"]].append((float(row["input_tokens"]), float(row["output_tokens"])))
    days = servegen(data)
    found = {}
    ranked = sorted(requests, key=lambda name: (-len(requests[name]), name))
    for rank, (name, (day, _, _)) in enumerate(zip(ranked, days.values(), strict=False)):
        mine, shift, mean = requests[name], 8 * (rank % 3), sum(day) / 24
        hours = [len(mine) / 600.0 * day[(at + shift) % 24] / mean for at in range(24)]
        means = (sum(one[side] for one in mine) / len(mine) for side in (0, 1))
        found[name] = (hours, *means)
    return found


def fleet(demands, *, by_hour, factor=1.0, runs=RULES["four sizes"]):
    """Return the problem of a fleet, on one GPU: how many are enough is to be found out."""
    models = []
    ranked = sorted(demands, key=lambda name: -max(demands[name][0]))
    for rank, name in enumerate(ranked):
        hours, prompt, output = demands[name]
        known = known_model(runs[rank % len(runs)])

        def demand(rate, prompt=prompt, output=output):
            return {
                "requests_per_second": rate * factor, "prompt_tokens": prompt,
                "output_tokens": output,
            }  # fmt: skip

        models.append({
            "name": name,
            "weights": f"{known.weights_bytes}B",
            "kv_bytes_per_token": known.kv_bytes_per_token,
            "kv_heads": known.kv_units,
            "architecture": shape_of(known.name),
            "replicas": {"min": 1, "max": COPIES},
            "slo": {"ttft": "2s", "tpot": "50ms"},
            "demand": [{"window": f"{at:02d}h", **demand(rate)} for at, rate in enumerate(hours)]
            if by_hour else demand(max(hours)),
        })  # fmt: skip
    nodes = [{"name": "gpu", "count": 1, "gpus": 1, "gpu": {"type": GPU}}]
    data = {
        "schema": "kvplace.fleet/v1", "objective": "pressure", "nodes": nodes, "models": models,
    }  # fmt: skip
    return parse_fleet(json.dumps(data), "made.json")


def shape_of(name):
    """Return the shape of a known model as a fleet file states it."""
    return shape_data(known_shape(name))


def run(name, rule, demands, seconds, factor):
    """Return how many GPUs each way of planning takes, with what is proved."""
    found = {"fleet": name, "rule": rule, "models": len(demands), "factor": factor}
    for way in ("peak", "hours"):
        started = time.process_time()
        problem = fleet(demands, by_hour=way == "hours", factor=factor, runs=RULES[rule])
        size = size_fleet(stock_of(problem), TARGET, time_limit=seconds).sizes[0]
        result = size.result
        found[way] = {
            "gpus": None if size.mix is None else sum(size.mix),
            "least": round(size.least_cost),
            "value": None if result is None else result.value,
            "copies": None if result is None else len(result.placement),
            "cpu_seconds": round(time.process_time() - started, 1),
        }
        sys.stderr.write(f"{name} {way}: {found[way]}\n")
    return found


def table(result):
    """Return the table as Markdown."""
    head = (
        "fleet", "what runs", "models", "GPUs, each model at its own peak", "GPUs, by the hour",
        "proved least by the hour", "fewer",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in result["fleets"]:
        peak, hours = one["peak"], one["hours"]
        fewer = f"{100 * (1 - hours['gpus'] / peak['gpus']):.0f} %"
        cells = [one["fleet"], one["rule"], one["models"], peak["gpus"], hours["gpus"]]
        cells += [hours["least"], fewer]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/traces"))
    parser.add_argument("--only", choices=("servegen", "arena27"))
    parser.add_argument("--rule", choices=tuple(RULES))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each size")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--show", type=Path)
    args = parser.parse_args()
    if args.show:
        print(table(json.loads(args.show.read_text("utf-8"))))
        return
    result = {"target": TARGET, "gpu": GPU, "fleets": []}
    if args.output and args.output.exists() and (args.only or args.rule):
        result = json.loads(args.output.read_text("utf-8"))
    for name, load, factor in (("servegen", servegen, 1.0), ("arena27", arena27, 100.0)):
        for rule in RULES:
            if args.only not in (None, name) or args.rule not in (None, rule):
                continue
            found = run(name, rule, load(args.data), args.seconds, factor)
            others = [f for f in result["fleets"] if (f["fleet"], f["rule"]) != (name, rule)]
            result["fleets"] = [*others, found]
            if args.output:
                args.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
