"""The simulation given the step times of a real engine, held against it request by request.

    python benchmarks/real_engine_compare.py benchmarks/results/real_engine.json

The simulation gets the same requests, and step times as a line in what a step contains, fitted to
the steps of the same run: their wall time where one engine runs alone, and their processor time
where several share the core, whose waiting for each other is what is to be found. So the rules and
the law of sharing are compared, and not the speed of the machine that day.
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Pool, Rules
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate_traffic
from kvplace.simulate.traffic import ModelTraffic, Traffic

HEAD = (
    "run", "engine", "requests", "TPOT", "simulated", "error", "TTFT", "simulated", "error",
    "preempted", "simulated", "forecast TPOT",
)  # fmt: skip


def steps_of(order, answer, *, processor=False):
    """Return of each step: sequences decoded, prompt tokens, cached tokens, pairs, seconds.

    Who was in a step follows from when tokens came; a prompt counts in the step of its first token.
    """
    rows = []
    for begin, end, cpu, _ in answer["steps"]:
        decoded = cached = prompts = pairs = 0
        for r, first in enumerate(answer["first"]):
            if first is None:
                continue
            if abs(first - end) < 1e-9:
                prompts += order["prompts"][r]
                pairs += order["prompts"][r] ** 2 / 2
            elif first < end and answer["last"][r] >= end - 1e-9:
                decoded += 1
                age = (end - first) / max(1e-9, answer["last"][r] - first)
                cached += order["prompts"][r] + age * answer["given"][r]
        if decoded or prompts:
            rows.append((decoded, prompts, cached, pairs, cpu if processor else end - begin))
    return rows


def fit(rows):
    """Return step times by least squares on relative errors, no coefficient below 0."""
    a = np.array([[1.0, d + p, d, c, pairs] for d, p, c, pairs, _ in rows])
    y = np.array([row[-1] for row in rows])
    keep = list(range(a.shape[1]))
    while True:
        x = np.zeros(a.shape[1])
        x[keep] = np.linalg.lstsq(a[:, keep] / y[:, None], np.ones(len(y)), rcond=None)[0]
        if (x >= 0).all():
            break
        keep = [at for at in keep if x[at] > 0]
    # Relative errors favour short steps; the sum of all steps is what the runs took.
    fixed, token, sequence, kv, pair = (float(v) for v in x * (y.sum() / (a @ x).sum()))
    return StepTime(
        fixed_seconds=fixed, dense_seconds=0.0, experts_seconds=0.0, expert_share=0.0,
        token_seconds=token, kv_token_seconds=kv, sequence_seconds=sequence,
        attention_seconds=pair, sharpness=1.0,
    )  # fmt: skip


def simulated(result, one, times):
    """Simulate the requests of one run; return the answers by engine, and the forecast."""
    names, block = list(one["orders"]), result["block"]
    models, pools = [], []
    for name in names:
        order, rate = one["orders"][name], 0.0
        if order["arrivals"]:
            rate = len(order["arrivals"]) / order["arrivals"][-1]
        demand = Demand(
            rate, statistics.fmean(order["prompts"]), statistics.fmean(order["outputs"])
        )
        pools.append((result["pool_blocks"][name] - 1) * block)  # vLLM keeps one block empty
        made = Model(name, 1, demand, SLO(1e3, 1e3), kv_bytes_per_token=1, overhead_bytes=0)
        models.append(replace(made, min_kv_bytes=pools[-1]))
    core = GPU("n/0", "core", sum(pools) + len(names))
    fleet = Problem(tuple(models), Fleet((Node("n", (core,)),)))
    placement = Placement.single(dict.fromkeys(names, "n/0"))
    traffic = Traffic(
        [
            ModelTraffic(
                np.array(o["arrivals"]), np.array(o["prompts"]), np.array(o["outputs"]),
                np.full(len(o["arrivals"]), -1), np.zeros(len(o["arrivals"]), np.int64),
            )
            for o in one["orders"].values()
        ],
        max(o["seconds"] for o in one["orders"].values()),
    )  # fmt: skip
    # These engines have pools of their own: together they are what the GPU has.
    rules = Rules(
        pool=Pool.STATIC, max_sequences=result["sequences"], block_tokens=block,
        batched_tokens=result["batched_tokens"], host_seconds=0, host_seconds_per_sequence=0,
        slice_loss=0,
    )  # fmt: skip
    measured = StepTimes({(name, ""): times[name] for name in names})
    answers, _ = simulate_traffic(fleet, placement, traffic, rules=rules, times=measured)
    return answers, forecast(fleet, placement, rules=rules, times=measured)


def rows_of(result):
    """Return a row per run and engine, and the errors."""
    rows, errors = [], {"tpot": [], "ttft": []}
    for one in result["runs"]:
        together = len(one["orders"]) > 1
        own = {
            name: fit(steps_of(order, one["answers"][name], processor=together))
            for name, order in one["orders"].items()
        }
        answers, expected = simulated(result, one, own)
        for at, (name, order) in enumerate(one["orders"].items()):
            real, played = one["answers"][name], answers[at]
            done = [
                r
                for r, wanted in enumerate(order["outputs"])
                if real["given"][r] == wanted and played.finish[r] <= order["seconds"]
            ]
            if not done:
                continue
            first, last = np.array(real["first"], float)[done], np.array(real["last"], float)[done]
            tokens = np.array(order["outputs"])[done] - 1
            tpot = [
                float(np.mean((last - first) / tokens)),
                float(played.tpot_seconds[done].mean()),
            ]
            arrived = np.array(order["arrivals"])[done]
            ttft = [float(np.mean(first - arrived)), float(played.ttft_seconds[done].mean())]
            off = [found / real_ - 1 for real_, found in (tpot, ttft)]
            errors["tpot"].append(off[0])
            errors["ttft"].append(off[1])
            shown = []
            for pair, error in zip((tpot, ttft), off, strict=True):
                shown += [*(f"{1e3 * value:.0f} ms" for value in pair), f"{error:+.0%}"]
            rows.append(
                [one["label"], name, f"{len(done)} of {len(order['arrivals'])}", *shown,
                 str(real["preempted"]), str(int(played.preempted.sum())),
                 f"{1e3 * expected.models[at].tpot_seconds:.0f} ms"]
            )  # fmt: skip
    return rows, errors


def main():
    result = json.loads(Path(sys.argv[1]).read_text())
    rows, errors = rows_of(result)
    for row in (HEAD, ["---"] * len(HEAD), *rows):
        print(f"| {' | '.join(row)} |")
    for name, found in errors.items():
        middle = statistics.median(abs(error) for error in found)
        print(f"\n{name}: median error {middle:.0%} over {len(found)} engines in runs")


if __name__ == "__main__":
    main()
