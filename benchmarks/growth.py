"""Measure ``auto`` from a thousand models to a million and write benchmarks/results/growth.json.

    python benchmarks/growth.py                              # all shapes and sizes
    python benchmarks/growth.py scale-3 --sizes 1k 10k       # some of them
    python benchmarks/growth.py --one scale-3 10k            # one, as a line of JSON

Every fleet has a process of its own, so that its peak memory is its own; kernels are loaded
before the clock starts. Times are CPU seconds of the process, all threads together, because wall
time says more about the neighbours than about kvplace on a shared machine; wall time is recorded
as well, and so is what `numpy.argsort` of as many floats takes in the same process.
Then: python benchmarks/page.py
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from kvplace.bench.environment import environment
from kvplace.bench.scale import SHAPES, SIZES, scale_problem
from kvplace.core.certificates.certificate import check_certificate
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve

RESULTS = Path(__file__).parent / "results"
GAPS = (1e-2, 4e-3, 1e-3, 5e-4, 2e-4, 1e-4)
MARKS = (0.5, 2.0, 4.0, 10.0)
PLOTTED = 1e-3


def one(shape, size):
    """Return what one fleet shows."""
    solve(scale_problem(shape, 3000, 1), iterations=1)  # loads the kernels
    problem = scale_problem(shape, SIZES[size], 0)
    floats = np.random.RandomState(0).uniform(size=SIZES[size])
    sorting = min(timed(lambda: np.argsort(floats)) for _ in range(3))
    trace, start = [], time.process_time()

    def hear(progress):
        trace.append((time.process_time() - start, progress.gap))

    result = solve(problem, watch=Watch(None, hear))
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    value, rest = audited(problem, result.placement)
    failure = check_certificate(problem, result.proof.certificate)
    assert not failure, failure
    assert math.isclose(value, result.value, rel_tol=1e-12), (value, result.value)
    return {
        "shape": shape, "models": len(problem.models), "gpus": len(problem.fleet.gpus),
        "status": result.status.value, "stop": result.stop.value, "value": result.value,
        "bound": result.bound, "gap": result.gap, "method": result.proof.method, "rest": rest,
        "cpu_seconds": spent, "seconds": result.seconds, "argsort_seconds": sorting,
        "peak_bytes": peak,
        "cpu_seconds_to_gap": {str(gap): reached(trace, gap) for gap in GAPS},
        "gap_at_cpu_seconds": {str(mark): at(trace, mark) for mark in MARKS},
    }  # fmt: skip


def audited(problem, placement):
    """Evaluate anew with numpy; return the maximum, and the spread of GPUs of two models or more.

    The spread is that of the KVPR of those that could share: the highest over the mean.
    """
    gpus = problem.fleet.gpus
    position = {gpu.id: at for at, gpu in enumerate(gpus)}
    on = {replica.model: position[replica.gpus[0]] for replica in placement}
    gpu_of = np.array([on[name] for name in problem.names])
    assert len(gpu_of) == len(problem.models)
    assert gpu_of.min() >= 0
    assert gpu_of.max() < len(gpus)
    memory = np.array([gpu.usable_bytes for gpu in gpus])
    weights = np.zeros(len(gpus), dtype=np.int64)
    np.add.at(weights, gpu_of, np.array(problem.undivided_bytes))
    loads = np.bincount(gpu_of, weights=np.array(problem.loads), minlength=len(gpus))
    free = (memory - weights) / problem.goal.memory_unit_bytes
    assert (free > 0).all()
    kvpr = loads / free
    shared = kvpr[np.bincount(gpu_of, minlength=len(gpus)) > 1]
    return float(kvpr.max()), float(shared.max() / shared.mean() - 1)


def timed(action):
    start = time.process_time()
    action()
    return time.process_time() - start


def reached(trace, gap):
    """Return when a gap was reached; None where it was not."""
    return next((round(seconds, 4) for seconds, now in trace if now <= gap), None)


def at(trace, mark):
    """Return the gap at a time; None before the first."""
    gaps = [gap for seconds, gap in trace if seconds <= mark and math.isfinite(gap)]
    return min(gaps, default=None)


def exponent(rows):
    """Return the exponent of the growth of the time to `PLOTTED` from 10,000 models on."""
    points = [
        (row["models"], row["cpu_seconds_to_gap"][str(PLOTTED)]) for row in rows
        if row["models"] >= SIZES["10k"] and row["cpu_seconds_to_gap"][str(PLOTTED)]
    ]  # fmt: skip
    if len(points) < 2:
        return None
    n, seconds = np.log(np.array(points)).T
    return float(np.polyfit(n, seconds, 1)[0])


def draw(rows, path):
    """Plot time, memory and gap over the number of models."""
    mpl.use("Agg")

    panels = (
        ("CPU seconds to a gap of 0.1 %", lambda row: row["cpu_seconds_to_gap"][str(PLOTTED)]),
        ("peak memory, GiB", lambda row: row["peak_bytes"] / 2**30),
        ("gap at the end, % (drawn from 0.0001)", lambda row: max(100 * row["gap"], 1e-4)),
    )
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, (title, of) in zip(axes, panels, strict=True):
        for shape in SHAPES:
            points = [(row["models"], of(row)) for row in rows if row["shape"] == shape]
            points = [(n, y) for n, y in points if y is not None]
            if points:
                axis.loglog(*zip(*points, strict=True), marker="o", markersize=4, label=shape)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("models")
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=8)
    with mpl.rc_context({"svg.hashsalt": "kvplace", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("shapes", nargs="*", choices=[[], *SHAPES], help="all by default")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "SIZE"), help="one fleet, here")
    parser.add_argument("--to", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    place, rows = environment(), []
    for size in options.sizes:
        for shape in options.shapes or SHAPES:
            command = [sys.executable, __file__, "--one", shape, size]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
            print(f"{shape}-{size}: gap {rows[-1]['gap']:.2e}", file=sys.stderr, flush=True)
    growth = {s: exponent([row for row in rows if row["shape"] == s]) for s in SHAPES}
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    head = f'{{\n "environment": {json.dumps(place)},\n "exponents": {json.dumps(growth)},\n'
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "growth.json").write_text(f'{head} "rows": [\n{lines}\n ]\n}}\n', "utf-8")
    draw(rows, options.to / "growth.svg")


if __name__ == "__main__":
    main()
