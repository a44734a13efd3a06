"""Published runs replayed by the simulation: figures of others beside ours.

    python benchmarks/published_runs.py          # the table
    python benchmarks/published_runs.py --fit    # the constants of `BASIS` (needs kvplace[fit])

`published/runs.csv` holds one published measurement a line: what ran where, how many requests were
under way, and the times that were reported. Its sources:

dynamo    NVIDIA Dynamo, "Interpreting GPU Sharing Results" and the guides beside it (Apache-2.0):
          a Qwen3-4B on an A100-40GB, two on time slices (HAMi), two with half of the
          multiprocessors each (MPS)
hami      Project-HAMi/gpu-sharing-benchmarks e9b205b, results/2026-11-a100-sharing (HAMi is
          Apache-2.0): the same model on the same type of GPU, measured by others
gpustack  gpustack/gpustack 47277d7, docs/performance-lab (Apache-2.0): `vllm bench serve` on vLLM
          0.11.0, all requests at once
aiconfigurator  accuracy samples of aiconfigurator (Apache-2.0): vLLM 0.12.0 with NVLink. The
          constants of kvplace's step times were fitted to the times per token of such rows

Only figures were taken. Many runs keep a number of requests under way: a new one is sent when one
ends. Their arrivals are found by repeating the simulation until arrivals and ends agree.

Step times are those that kvplace computes from shape and data sheet. Two things of a run are not in
a data sheet: how long a request travels before the engine has it, and how fast prompts are computed
there. For Qwen3-4B on the A100 they are fitted to the lines marked `basis`, runs of one engine, and
to no other line; the other sources have no such lines, and no wait.

Requests of one length that begin together end together, and their prompts queue in every round;
where lengths differ they spread. No source says which client it had. aiconfigurator's lines on two
GPUs, marked `basis`, are told by lengths that differ and its others were held out; NVIDIA's fit
requests in step. How much lengths differ hardly matters: 10 and 30 % were tried.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.facts.catalogue.known_facts import facts_of
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.memory.overhead import EngineLimits, overhead
from kvplace.forecast.rules import Pool, Rules, Sharing
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate_traffic
from kvplace.simulate.traffic import ModelTraffic, Traffic
from kvplace.units import GIB

RUNS = Path(__file__).with_name("published") / "runs.csv"
TPOT, TTFT = 0.10, 0.20
"""Errors up to which a replay counts as right."""

BASIS = {"dynamo": (0.97, 0.025), "hami": (0.97, 0.025)}
"""Factor on the times of computing, and seconds before a request is at the engine (`--fit`)."""

LENGTHS = {"aiconfigurator": 0.1}
"""Relative deviation of output lengths of a source; those of other sources are all as stated."""

SPREAD = 0.5
"""Part of those seconds by which a single one is more or less."""


def runs(path=RUNS):
    """Return the lines of a table of runs."""
    whole = ("degree", "engines", "under_way", "requests", "prompt", "output", "batched_tokens",
             "sequences")  # fmt: skip
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update({name: int(row[name]) for name in whole})
        row["engine_gib"] = float(row["engine_gib"])
        for name in ("ttft_ms", "tpot_ms"):
            row[name] = float(row[name]) if row[name] else None
    return rows


def fleet(run):
    """Return the problem and the placement of a run: its engines side by side on its GPUs."""
    facts = facts_of(known_model(run["model"]))
    shape, degree = facts.shape, run["degree"]
    limits = EngineLimits(run["batched_tokens"], run["sequences"])
    taken = overhead(shape, degree, limits).total
    names = [f"engine {at}" for at in range(run["engines"])]
    pool = round(run["engine_gib"] * GIB) - facts.weights_bytes.value // degree - taken
    models = tuple(
        Model(
            name, facts.weights_bytes.value, Demand(1.0, run["prompt"], run["output"]),
            SLO(1e6, 1e6), kv_bytes_per_token=facts.layout.bytes_per_token(1),
            kv_heads=shape.kv_heads, tensor_parallel=(degree,), overhead_bytes=taken,
            architecture=shape, min_kv_bytes=pool,
        )
        for name in names
    )  # fmt: skip
    each = facts.weights_bytes.value // degree + taken + pool
    gpus = [GPU(f"n/{at}", run["gpu"], len(names) * each + 2**20) for at in range(degree)]
    placement = Placement(tuple(Replica(name, 0, tuple(gpu.id for gpu in gpus)) for name in names))
    return Problem(models, Fleet((Node("n", tuple(gpus)),))), placement


def slower(run, computing):
    """Return the step times of a run, what computes taking so many times as long."""
    problem, _ = fleet(run)
    model, gpu = problem.models[0], problem.fleet.gpus[0]
    one = StepTimes().of(model, gpu.type, gpu.memory_bytes, run["degree"]).times
    token, attention = (computing * v for v in (one.token_seconds, one.attention_seconds))
    found = one._replace(token_seconds=token, attention_seconds=attention)
    return StepTimes({(model.name, ""): found for model in problem.models})


def replay(run, computing=1.0, wait=0.0):
    """Return the simulated TTFT and time per token of a run, in ms.

    Parameters
    ----------
    run
        A line of the table.
    computing
        Factor on the times of computing.
    wait
        Mean seconds between the end of a request, or the start, and the next one's arrival at the
        engine; they count in its TTFT.
    """
    problem, placement = fleet(run)
    sharing = Sharing.SLICE if run["sharing"] == "none" else Sharing(run["sharing"])
    rules = Rules(
        sharing, pool=Pool.STATIC, max_sequences=run["sequences"],
        batched_tokens=run["batched_tokens"],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    waits = wait * rng.uniform(1 - SPREAD, 1 + SPREAD, (len(problem.models), run["requests"]))
    at_once = run["under_way"] or run["requests"]
    arrivals = [one[:at_once] for one in waits]
    times = slower(run, computing)
    while True:
        orders = [np.argsort(one, kind="stable") for one in arrivals]
        traffic = Traffic([requests(run, np.sort(one)) for one in arrivals], 1.0)
        answers, _ = simulate_traffic(problem, placement, traffic, rules=rules, times=times)
        later = [following(run, a.finish, own) for a, own in zip(answers, waits, strict=True)]
        if all(map(np.array_equal, later, arrivals)):
            break
        arrivals = later
    middle = statistics.median if run["statistic"] == "median" else statistics.fmean
    travelled = [own[: len(order)][order] for own, order in zip(waits, orders, strict=True)]
    ttft = [one.ttft_seconds + own for one, own in zip(answers, travelled, strict=True)]
    tpot = [one.tpot_seconds for one in answers]
    return 1e3 * middle(np.concatenate(ttft)), 1e3 * middle(np.concatenate(tpot))


def requests(run, arrivals):
    """Return requests that arrive at certain times, of the lengths of a run."""
    count = len(arrivals)
    prompt, output, none, no_tokens = (
        np.full(count, value, np.int64) for value in (run["prompt"], run["output"], -1, 0)
    )
    varies = LENGTHS.get(run["source"], 0.0) * 3**0.5
    if varies:
        parts = np.random.default_rng(5).uniform(1 - varies, 1 + varies, count)
        output = np.maximum(1, np.rint(output * parts)).astype(np.int64)
    return ModelTraffic(arrivals, prompt, output, none, no_tokens)


def following(run, ends, waits):
    """Return when requests arrive if those before end as given: each end brings the next one.

    What has happened by a time decides what arrives until then, so repeating this with the ends
    that follow comes to the one schedule that agrees with itself.
    """
    at_once = run["under_way"] or run["requests"]
    started = np.concatenate([np.zeros(at_once), np.sort(ends)])[: run["requests"]]
    return started + waits[: len(started)]


def errors(run, found):
    """Return the errors of TTFT and time per token, None where nothing was reported."""
    pairs = zip(found, (run["ttft_ms"], run["tpot_ms"]), strict=True)
    return tuple(None if real is None else ours / real - 1 for ours, real in pairs)


def fit(rows):
    """Return factor and wait that fit the basis of a source best."""
    from scipy.optimize import least_squares  # noqa: PLC0415 - the table is shown without it

    def off(values):
        found = (errors(run, replay(run, np.exp(values[0]), abs(values[1]))) for run in rows)
        return [np.log1p(one) for pair in found for one in pair if one is not None]

    best = least_squares(off, [0.1, 0.02], diff_step=0.05, max_nfev=15).x
    return float(np.exp(best[0])), float(abs(best[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--source", help="the lines of one source alone")
    parser.add_argument("--fit", action="store_true", help="fit to the lines marked basis")
    args = parser.parse_args()
    rows = [run for run in runs() if args.source in (None, run["source"])]
    if args.fit:
        print(fit([run for run in rows if run["basis"] and run["source"] in BASIS]))
        return
    head = ("source", "model", "GPU", "engines", "under way", "prompt / output", "TTFT",
            "simulated", "error", "TPOT", "simulated", "error", "")  # fmt: skip
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    right, counted = 0, 0
    for run in rows:
        found = replay(run, *BASIS.get(run["source"], (1.0, 0.0)))
        off = errors(run, found)
        sharing = "" if run["engines"] == 1 else f" {run['sharing']}"
        degree = "" if run["degree"] == 1 else f" x {run['degree']}"
        cells = [run["source"], run["model"].split("/")[1], run["gpu"] + degree,
                 f"{run['engines']}{sharing}", str(run["under_way"] or f"all {run['requests']}"),
                 f"{run['prompt']} / {run['output']}"]  # fmt: skip
        for real, ours, one in zip((run["ttft_ms"], run["tpot_ms"]), found, off, strict=True):
            cells += [f"{real:,.1f} ms" if real else "", f"{ours:,.1f} ms",
                      "" if one is None else f"{one:+.0%}"]  # fmt: skip
        within = off[0] is not None and abs(off[0]) <= TTFT and abs(off[1]) <= TPOT
        if not run["basis"]:
            counted += off[0] is not None
            right += within
        mark = "basis" if run["basis"] else "right" if within else ""
        print(f"| {' | '.join(cells)} | {mark} |", flush=True)
    print(f"\n{right} of {counted} within {TPOT:.0%} (time per token) and {TTFT:.0%} (TTFT)")


if __name__ == "__main__":
    main()
