"""Measure re-planning and write benchmarks/results/replan.

    python benchmarks/replan.py frontier --data ../shared/data   # a day's demand, another's plan
    python benchmarks/replan.py churn --data ../shared/data --windows 2016
    python benchmarks/replan.py scale

Each part writes a file of its own. Times are CPU seconds of the process, and wall time
beside them. The demand of ``churn`` is that of the busiest clients of ServeGen's m-large, each
taken for a model of its own, with drawn sizes and objectives: a modelling choice.
"""

import argparse
import csv
import gzip
import json
import time
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np

from kvplace.bench.environment import environment
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.formats.read import read
from kvplace.replan.history.backtest import Plan, Way, backtest
from kvplace.replan.history.demands import Demands
from kvplace.replan.history.trigger import Policy
from kvplace.replan.outcome import Budget
from kvplace.replan.replan import replan
from kvplace.report.answers.replanned import knee
from kvplace.solver.solve import solve
from kvplace.workers import Workers

RESULTS = Path(__file__).parent / "results" / "replan"
GIB = 2**30
FIRST, LATER = "2026-07-30", "2026-08-06"
MODELS, GPUS, SEED = 48, 16, 0
MOVES = 3


def of_day(problem, rows, day):
    """Scale the fleet's rates by what a day asked of each model, against its mean day."""
    models = []
    for m in problem.models:
        mine = rows.get(m.name, {})
        mean = sum(mine.values()) / max(1, len(mine))
        factor = mine[day] / mean if mean and day in mine else 1.0
        rate = m.demand.requests_per_second * factor
        models.append(replace(m, demand=replace(m.demand, requests_per_second=rate)))
    return replace(problem, models=tuple(models))


def frontier(data):
    problem = read(data / "fleets" / "openrouter-60.yaml")
    rows = {}
    with gzip.open(data / "traces" / "openrouter_model_day.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            days = rows.setdefault(row["hf_id"], {})
            days[row["date"]] = days.get(row["date"], 0) + int(row["requests"] or 0)
    running = solve(of_day(problem, rows, FIRST), gap=0.02, time_limit=10)
    today = of_day(problem, rows, LATER)
    began, cpu = time.perf_counter(), time.process_time()
    found = replan(today, running.placement, budget=Budget(), frontier=True)
    values = {}
    for point in found.frontier:
        values[point.moves] = (point.value, point.bound)
    best = knee(found.frontier)
    return {
        "plan_of": FIRST,
        "demand_of": LATER,
        "value_now": found.before.value,
        "points": [
            {"changes": moves, "value": value, "bound": bound}
            for moves, (value, bound) in sorted(values.items())
        ],
        "knee": {"changes": best.moves, "value": best.value} if best else None,
        "fresh_plan": {"value": found.fresh[0], "changes": found.fresh[1]},
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - began,
    }


def clients(data, windows):
    """The busiest clients of m-large: requests per second by window of ten minutes."""
    counts = {}
    with gzip.open(data / "traces" / "servegen_client_10min.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            if row["service"] == "m-large":
                mine = counts.setdefault(row["client"], {})
                mine[int(float(row["t"]) // 600)] = float(row["requests"])
    busiest = sorted(counts, key=lambda c: -sum(counts[c].values()))[:MODELS]
    span = range(min(windows, 1 + max(max(counts[c]) for c in busiest)))
    return {f"client-{c}": [counts[c].get(w, 0.0) / 600 for w in span] for c in busiest}


def churn(data, windows):
    rates = clients(data, windows)
    random = np.random.RandomState(SEED)
    sizes = random.uniform(0.4, 1.6, MODELS)
    sizes = np.maximum(1, np.round(sizes * 0.7 * 80 * GPUS / sizes.sum()))
    latency = random.randint(2, 10, MODELS)
    models = tuple(
        Model(name, int(size) * GIB, Demand(0.0), SLO(latency_seconds=float(slo)), overhead_bytes=0)
        for name, size, slo in zip(rates, sizes, latency, strict=True)
    )
    gpus = tuple(GPU(f"n/{at}", "X", 80 * GIB) for at in range(GPUS))
    problem = Problem(models, Fleet((Node("n", gpus),)), Objective.REQUESTS)
    plans = [
        Plan(Way.NEVER),
        Plan(Way.PEAK),
        Plan(Way.SCRATCH),
        Plan(Way.BUDGET, moves=MOVES, gain=0.02),
        Plan(Way.THRESHOLD, moves=MOVES, gain=0.02, policy=Policy(gain=0.1, cooldown_seconds=1800)),
    ]
    began = time.perf_counter()
    tracks = backtest(problem, Demands(rates, 600.0), plans, workers=Workers(2))
    scratch = next(t for t in tracks if t.way == "scratch")
    target = scratch.mean * 1.5
    return {
        "windows": len(scratch.values),
        "models": MODELS,
        "gpus": GPUS,
        "target": target,
        "policies": [
            {
                "policy": t.way,
                "mean": t.mean,
                "peak": t.peak,
                "changes": sum(t.moves),
                "loaded_tib": sum(t.loaded_bytes) / 2**40,
                "hours_over_target": t.seconds_over(target) / 3600,
                "mean_to_scratch": t.mean / scratch.mean,
                "changes_to_scratch": sum(t.moves) / max(1, sum(scratch.moves)),
            }
            for t in tracks
        ],
        "seconds": time.perf_counter() - began,
    }


def large(gpus, models, moves):
    """Drift by a lognormal factor (0.3) on fleets of undivided models, 81 % of memory weights."""
    random = np.random.RandomState(SEED)
    gib = random.uniform(0.4, 1.6, models)
    gib = np.maximum(1, np.round(gib * 0.81 * 80 * gpus / gib.sum()))
    rate = np.minimum(np.round(random.pareto(1.3, models) * 3 + 1), 25.0)
    latency = random.randint(2, 10, models).astype(float)
    drift = random.lognormal(0, 0.3, models)

    def table(rates):
        none, zero = array("d"), array("q", bytes(8 * models))
        whole = array("q", (gib * GIB).astype(np.int64).tolist())
        return ModelTable(
            [f"m{j}" for j in range(models)], whole, zero, zero, array("d", rates.tolist()),
            array("d", latency.tolist()), none, none, none, none, array("q"),
        )  # fmt: skip

    nodes = tuple(
        Node(f"n{i}", tuple(GPU(f"n{i}/{k}", "X", 80 * GIB) for k in range(8)))
        for i in range(gpus // 8)
    )
    before = Problem(table(rate), Fleet(nodes), Objective.REQUESTS)
    running = solve(before, gap=0.02, time_limit=20).placement
    after = replace(before, models=table(rate * drift))
    began, cpu = time.perf_counter(), time.process_time()
    found = replan(after, running, budget=Budget(moves=moves), compare=False)
    return {
        "gpus": gpus,
        "models": models,
        "moves_allowed": moves,
        "changes": len(found.changes),
        "before": found.before.value,
        "after": found.after.value,
        "bound": found.bound,
        "order_found": found.schedule.found,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - began,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["frontier", "churn", "scale"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--windows", type=int, default=2016)
    parser.add_argument("--largest", action="store_true", help="only 100,000 GPUs")
    args = parser.parse_args()
    if args.part == "frontier":
        found = frontier(args.data)
    elif args.part == "churn":
        found = churn(args.data, args.windows)
    else:
        sizes = [(1_000, 5_000, 20), (100_000, 1_000_000, 1_000)]
        found = [large(*size) for size in (sizes[1:] if args.largest else sizes)]
    RESULTS.mkdir(exist_ok=True)
    whole = {"environment": environment(), "found": found}
    (RESULTS / f"{args.part}.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
