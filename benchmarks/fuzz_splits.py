"""Tiny fleets with tensor parallel, copies, rules and capacities against brute force.

    python benchmarks/fuzz_splits.py --cases 20000 --seed 1
    python benchmarks/fuzz_splits.py --cases 20000 --seed 1 --objective pressure

What solve returns must be the best there is, its bound never above it, and infeasible exactly
what brute force says is; every plan is written, read and checked. Under pressure, certificates are
damaged, and must then be rejected or still claim what is so. What is said to clash where
nothing can be placed must do so, and must be placeable without any one of its members. Case
number i of seed s is always the same problem; a failure prints the command that repeats it.
Exits 1 where anything failed.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from judge_splits import clash_faults, damage_faults, faults
from kvplace.core.certificates.certificate import Certificate
from kvplace.core.models.objective import Objective
from kvplace.explain.clash import find_clash
from kvplace.formats.fleet.write import write_fleet
from kvplace.solver.solve import solve
from oracle_splits import solve_by_force
from splits import OBJECTIVES, random_split_problem


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="processor seconds")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--models", type=int, default=5, help="models at most")
    parser.add_argument("--objective", choices=list(Objective), help="the only one drawn")
    parser.add_argument("--limit", type=float, help="seconds per case; none by default")
    parser.add_argument(
        "--clashes",
        type=int,
        default=1,
        help="look for the clash of one impossible case in so many",
    )
    parser.add_argument("--show", action="store_true", help="print the fleet file of a failure")
    options = parser.parse_args(arguments)
    drawn = (Objective(options.objective),) if options.objective else OBJECTIVES
    counts, failures, slowest = Counter(), 0, (0.0, 0)
    start = shown = time.perf_counter()
    end = time.process_time() + options.seconds
    for number in range(options.first, options.first + options.cases):
        draw = random.Random(f"{options.seed}/{number}")
        problem = random_split_problem(draw, options.models, drawn)
        began = time.process_time()
        found = run_case(problem, number, options.limit, counts, options.clashes)
        slowest = max(slowest, (time.process_time() - began, number))
        if found:
            failures += 1
            report(options, number, problem, found)
        done = number + 1 - options.first
        if time.perf_counter() - shown > 30:
            shown = time.perf_counter()
            print(f"{done} cases, {failures} failed", file=sys.stderr)
        if time.process_time() > end:
            break
    rate = done / (time.perf_counter() - start)
    print(f"{done} cases, {rate:.0f}/s; {failures} failed")
    print("; ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(f"slowest: case {slowest[1]}, {slowest[0]:.3f} s of processor time")
    return 1 if failures else 0


def run_case(problem, number, limit, counts, clashes=1):
    """Return what is wrong with one case, as sentences."""
    try:
        truth = solve_by_force(problem)
        result = solve(problem, seed=number, time_limit=limit)
        found = list(faults(problem, result, truth))
        proof = result.proof.certificate
        if isinstance(proof, Certificate) and proof.weights:
            draw = random.Random(number)
            found += damage_faults(problem, proof, truth, draw, counts)
        if not truth.feasible and number % clashes == 0:
            clash = find_clash(problem)
            found += clash_faults(problem, clash, lambda part: solve_by_force(part).feasible)
            counts["smallest clashes"] += clash is not None and clash.smallest
    except Exception:  # noqa: BLE001 - any exception is what is looked for
        return [traceback.format_exc()]
    counts[str(result.status)] += 1
    counts[f"proof by {result.proof.method}"] += 1
    counts["ruled"] += bool(problem.rules)
    counts["proved"] += result.status in {"optimal", "infeasible"}
    counts["soft rules broken"] += any(truth.breaches) and truth.feasible
    return found


def report(options, number, problem, found):
    """Print a failure with what repeats it."""
    print(f"FAILED case {number}:")
    for fault in found:
        print(f"  {fault}")
    command = f"python benchmarks/fuzz_splits.py --cases 1 --first {number} --seed {options.seed}"
    objective = f" --objective {options.objective}" if options.objective else ""
    print(f"  {command} --models {options.models}{objective} --show")
    if options.show:
        print(write_fleet(problem))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
