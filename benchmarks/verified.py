"""How many claimed optima of small and middle fleets `check` verifies, and what that takes.

    python benchmarks/verified.py --cases 20 --seed 1
    python benchmarks/verified.py --cases 20 --only "pressure options"

Case i of a seed and kind is always the same problem. Time is that of the processor, and so is the
limit; a line of JSON per kind says how many plans are optimal or infeasible, how many of these are
verified, the time of all searches and checks, the largest ratio of the two, and the largest plan.
Exits with 1 where a plan is found wrong.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kvplace.checking.check import check
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.together import Together
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.solver.solve import solve
from kvplace.units import GIB
from timings import PowerTiming


def fleet(nodes, gpus, kinds=(80,)):
    """Return nodes of GPUs, whose memory in GiB is that of the kinds in turn."""
    found = []
    for i in range(nodes):
        memory = kinds[i % len(kinds)]
        held = (GPU(f"n{i}/{g}", f"t{memory}", memory * GIB) for g in range(gpus))
        found.append(Node(f"n{i}", tuple(held), {"zone": "ab"[i % 2]}))
    return Fleet(tuple(found))


def models(draw, count, total, split=False, tail=False):
    """Return models of so many GiB in all; some split or copied, or with heavy-tailed rates."""
    parts = [draw.uniform(0.4, 1.6) for _ in range(count)]
    found = []
    for j, part in enumerate(parts):
        rate = round(draw.paretovariate(1.3) * 3 + 1) if tail else draw.randint(1, 9)
        found.append(
            Model(
                f"m{j}",
                max(1, int(part * total / sum(parts))) * GIB,
                Demand(float(rate), 1.0, 0.0),
                SLO(1.0, 1.0, float(draw.randint(2, 9))),
                kv_bytes_per_token=GIB,
                overhead_bytes=0,
                tensor_parallel=draw.choice([(1,), (1,), (2,), (1, 2)]) if split else (1,),
                replicas=Replicas(1, draw.choice([1, 1, 2]) if split else 1),
            )
        )
    return found


def plain(draw, fill=0.8):
    """8 to 20 GPUs, 2 to 2.5 undivided models each."""
    gpus = draw.choice([8, 10, 14, 20])
    count = int(gpus * draw.choice([2, 2.5]))
    return Problem(tuple(models(draw, count, 80 * gpus * fill)), fleet(1, gpus), Objective.REQUESTS)


def full(draw):
    """So full that many cannot be packed."""
    return plain(draw, draw.choice([0.96, 0.98, 0.99]))


def options(draw):
    """2 to 4 nodes of 4, degrees and copies to choose."""
    nodes = draw.choice([2, 3, 4])
    count = int(4 * nodes * draw.choice([1.2, 1.6]))
    drawn = models(draw, count, 320 * nodes * 0.6, split=True)
    return Problem(tuple(drawn), fleet(nodes, 4), Objective.REQUESTS)


def ruled(draw, soft=None):
    """2 to 4 nodes of 4, with two rules."""
    nodes = draw.choice([2, 3, 4])
    drawn = models(draw, int(4 * nodes * draw.choice([1.5, 2])), 320 * nodes * 0.65)
    rules = []
    for _ in range(2):
        some = tuple(draw.sample([model.name for model in drawn], 3))
        kinds = (
            Apart(some, soft, "node"),
            Together(some[:2], soft, "node"),
            replace(Limit(some, soft, "gpu"), most=1),
            Pin(some[:1], soft, Places(nodes=("n0",))),
        )
        rules.append(draw.choice(kinds))
    return Problem(tuple(drawn), fleet(nodes, 4), Objective.REQUESTS, tuple(rules))


def pressed(draw, windows=1, split=False, kinds=(80,)):
    """6 or 8 GPUs under pressure, 2 to 4 models each, in one window or several."""
    gpus = draw.choice([6, 8])
    of = fleet(2, gpus // 2, kinds)
    total = sum(gpu.usable_bytes for gpu in of.gpus) // GIB
    count = int(gpus * (1.5 if split else draw.choice([2, 3, 4])))
    names, works, found = ("night", "noon", "peak")[:windows], {}, []
    for model in models(draw, count, total * 0.75, split, tail=True):
        works[model.name] = draw.uniform(0, 0.03)
        rate = model.demand.requests_per_second
        rates = {n: Demand(rate * draw.choice([0.5, 1, 1, 2]), 1.0, 0.0) for n in names}
        found.append(replace(model, windows=rates) if windows > 1 else model)
    speeds = {gpu.type: draw.choice([1.0, 0.7, 1.5]) for gpu in of.gpus}
    timing = PowerTiming(works, speeds, 0.8)
    return Problem(tuple(found), of, Objective.PRESSURE, timing=timing)


KINDS = {
    "plain": plain,
    "full": full,
    "options": options,
    "hard rules": ruled,
    "soft rules": lambda draw: ruled(draw, 1),
    "pressure": pressed,
    "pressure, three windows": lambda draw: pressed(draw, 3),
    "pressure, two GPU types": lambda draw: pressed(draw, kinds=(80, 40)),
    "pressure, options": lambda draw: pressed(draw, split=True),
}


def measure(kind, seed, cases, limit):
    """Return what became of the cases of a kind."""
    counts, searched, checked, ratios, size = Counter(), 0.0, 0.0, [0.0], 0
    for number in range(cases):
        problem = KINDS[kind](random.Random(f"{kind}/{seed}/{number}"))
        began = time.process_time()
        result = solve(problem, seed=number, time_limit=limit)
        solving = time.process_time() - began
        text = write_plan(plan_of(result))
        began = time.process_time()
        found = check(problem, parse_plan(text))
        checking = time.process_time() - began
        status = str(result.status)
        counts[status] += 1
        counts["wrong"] += not found.agrees
        counts["verified"] += status in {"optimal", "infeasible"} and found.holds
        searched, checked, size = searched + solving, checked + checking, max(size, len(text))
        ratios.append(checking / solving)
    return {
        "kind": kind, "cases": cases, **counts, "solve_cpu_seconds": round(searched, 1),
        "check_cpu_seconds": round(checked, 1), "worst_ratio": round(max(ratios), 1),
        "largest_plan_bytes": size,
    }  # fmt: skip


def main(arguments=None):
    """Measure every kind."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=2.5, help="processor seconds per case")
    parser.add_argument("--only", choices=sorted(KINDS))
    asked = parser.parse_args(arguments)
    time.perf_counter = time.process_time  # the limit is one of processor time
    wrong = 0
    for kind in [asked.only] if asked.only else KINDS:
        found = measure(kind, asked.seed, asked.cases, asked.limit)
        wrong += found["wrong"]
        print(json.dumps(found), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
